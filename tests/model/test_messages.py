"""Every finding is made from one registry of texts."""

import ast
import re
from functools import cache
from pathlib import Path
from string import Formatter

import pytest

import bbolt_reader
import drydock
from drydock.model import messages
from drydock.model.findings import FindingCode, Place, Severity
from drydock.model.messages import Message, bolt_damage
from drydock.model.names import RawPath

MESSAGES = {name: each for name, each in vars(messages).items() if isinstance(each, Message)}
PLACE = Place(RawPath(b"/store/meta.db"))


@cache
def sources():
    """Each file of the program, parsed; not before a test needs it, as every worker imports this."""
    return [
        (path, ast.parse(path.read_text()))
        for package in (drydock, bbolt_reader)
        for path in sorted(Path(package.__file__).parent.rglob("*.py"))
    ]


def parameters(message):
    """The words that a text and its remedy have in braces."""
    return {name for text in (message.text, message.remedy) for _, name, _, _ in Formatter().parse(text) if name}


def used(tree):
    """Each use of a message in a source: its name, and the names of what it is given (None: it is not called)."""
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "messages":
            call = calls.get(id(node))
            yield node.attr, None if call is None else {each.arg for each in call.keywords}


def test_each_message_is_given_what_it_asks_for():
    """No call leaves a parameter out or gives one too many: a damaged store must not end in a KeyError."""
    uses = [(path, *use) for path, tree in sources() for use in used(tree) if use[0] in MESSAGES]
    assert len(uses) > 80
    wrong = [
        (str(path), name) for path, name, given in uses if given is not None and given != parameters(MESSAGES[name])
    ]
    assert wrong == []
    assert {name for _, name, _ in uses} == set(MESSAGES)


def test_messages_that_are_chosen_by_the_context_ask_for_the_same():
    """Where a function or a table picks one of several messages and calls it later, they have the same parameters."""
    chosen = []
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.Assign)):
                names = [name for name, given in used(node) if given is None and name in MESSAGES]
                chosen += [names] if len(names) > 1 else []
    assert len(chosen) > 4
    for names in chosen:
        assert len({frozenset(parameters(MESSAGES[name])) for name in names}) == 1, names


def test_nothing_else_makes_a_finding():
    """Outside of the registry no source makes a Finding, or names a code by its text."""
    codes, registry = set(map(str, FindingCode)), ("findings.py", "messages.py")
    others = {"unreadable"}  # bbolt_reader and the completeness of an image have states of that name
    made = []
    for path, tree in sources():
        for node in ast.walk(tree):
            if path.parent.name == "model" and path.name in registry:
                continue
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                made.append((path.name, node.lineno))
            if isinstance(node, ast.Constant) and node.value in codes - others:
                made.append((path.name, node.lineno))
    assert made == []


def test_every_code_has_a_message():
    """No code is left over that nothing can say; those of bbolt_reader's damage share one text."""
    said = {each.code for each in MESSAGES.values()}
    assert {code for code in FindingCode if code not in said} == {
        code for code in FindingCode if code.startswith("bolt-")
    }


def test_each_kind_of_damage_in_a_bbolt_file_is_a_code():
    """What the readers of bbolt files can find is in the registry, and nothing more."""
    kinds = set()
    for name in ("verify.py", "checking.py"):
        source = Path(bbolt_reader.__file__).with_name(name).read_text()
        kinds |= set(re.findall(r'(?:Damage\(|damage_of\(\w+,)\s*"([a-z-]+)"', source))
        kinds |= set(re.findall(r'"([a-z]+)"', "".join(re.findall(r"code = \{.*", source))))
    assert {bolt_damage(kind).code for kind in kinds} == {code for code in FindingCode if code.startswith("bolt-")}


def test_a_remedy_that_begins_with_a_command_is_one():
    """Whoever copies such a line from ``what to do:`` must be able to run it; what explains begins with a verb."""
    remedies = {each.remedy for each in MESSAGES.values() if each.remedy} | {bolt_damage("gap").remedy}
    plain = {each for each in remedies if each.startswith("drydock ")}
    assert plain == {"drydock bolt check {file}", "drydock bolt trust {file}", "drydock verify --data"}


def test_names_are_escaped_in_a_message_and_quoted_in_a_remedy():
    """Bytes reach no terminal as they are, and a remedy can be copied into a shell."""
    file = b"/a b/\x1b[31m'meta.db"
    found = messages.UNREADABLE_DATABASE(file=file, problem="not a bbolt file").at(PLACE, file)
    assert found.message == "/a b/\\x1b[31m'meta.db: not a bbolt file"
    assert found.subject == "/a b/\\x1b[31m'meta.db"
    assert found.remedy == "drydock bolt check $'/a b/\\x1b[31m\\'meta.db'"


def test_a_name_with_braces_is_a_name():
    """A name is put in once: what looks like a parameter in it stays."""
    found = messages.IMAGE_WITHOUT_TARGET(image=b"{image}{0}").at(PLACE)
    assert found.message == "image {image}{0} has no target"


def test_only_the_severities_of_its_code_are_possible():
    """The usual one if nothing is said; one that the code does not have is a mistake of the program."""
    text = messages.MISSING_BLOB(id=b"sha256:0", problem="gone")
    assert text.at(PLACE).severity is Severity.DAMAGE
    assert text.at(PLACE, severity=Severity.NOTE, remedy="").remedy == ""
    with pytest.raises(AssertionError):
        text.at(PLACE, severity=Severity.BLIND)


def test_every_code_is_made_by_a_test():
    """Each code is named by some test that reads a store: one that no test asks for may never be made.

    Findings that tests make by hand, for reports, do not count.
    """
    by_hand = {"test_plan_text.py", "test_pulls.py", "test_schemas.py", "scans.py", Path(__file__).name}
    words = set()
    for path in Path(__file__).parents[1].rglob("*.py"):
        if path.name not in by_hand and path.parent.name != "model":
            words |= {
                node.value.partition(":")[0]
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
    assert [code for code in FindingCode if code not in words] == []

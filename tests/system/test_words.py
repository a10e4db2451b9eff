"""Names of images, clients and files: never raw on a terminal, in a pipe or a document, and they come back."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from tests.support.hostile import NOW, WORDS, lay_out, orphans
from tests.support.trees import tree

from drydock.model.text import shown, unshown

pytestmark = pytest.mark.root

PAGE = re.compile(r"<!doctype html>.*?</html>", re.DOTALL | re.IGNORECASE)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
UNFIT = {"Cc", "Cf", "Cs", "Zl", "Zp"}
LISTED = ("images", "containers", "snapshots", "leases", "content", "ingests")
PROGRESS = re.compile(r"\x1b\[A|\r")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store that is only looked at, below a folder with such a name itself."""
    root = tmp_path_factory.mktemp("words") / "\x1b[35mro\not\u202e"
    root.mkdir()
    lay_out(root)
    return root


def argument(word):
    """A word as an argument of a command: its bytes."""
    return os.fsencode(word) if not isinstance(word, bytes) else word


def commands(store, words):
    """Each command and each format, by what it is called, and those that are given one of the words."""
    now = ("--now", NOW)
    meta = next(store.glob("*/meta.db"))
    plain = [
        ("scan", *now, store),
        ("scan", *now, "--format", "json", store),
        ("scan", *now, "--format", "jsonl", store),
        ("scan", *now, "--measure", "disk", "--verify", "digest", store),
        ("pulls", *now, store),
        ("pulls", *now, "--format", "json", store),
        ("plan", *now, "--end-leases", "temporary", "-o", "-", store),
        ("clean", *now, store),
        ("clean", *now, "--end-leases", "temporary", store),
        *(("scan", *now, "--format", form, store) for form in ("tree", "csv", "markdown", "html")),
        *(("ls", kind, *now, store) for kind in LISTED),
        *(("ls", kind, *now, "--format", "json", store) for kind in LISTED),
        ("verify", *now, "--data", "--state", "/nowhere", store),
        ("repair", *now, store),
        ("bolt", "salvage", meta),
        ("bolt", "info", meta),
        ("bolt", "check", meta),
        ("bolt", "buckets", meta),
        ("bolt", "buckets", meta, "v1"),
        ("bolt", "keys", meta, "v1"),
        ("bolt", "keys", meta, "v1", shown(b"ns\x1b[32m"), "images"),
        ("bolt", "keys", meta, "v1", shown(b"ns\x1b[32m"), "labels"),
        ("bolt", "dump", meta),
        ("bolt", "pages", meta),
    ]
    for word in words:
        name = shown(word)
        plain += [
            ("explain", *now, "--", name, store),
            ("explain", *now, "--", word, store),
            ("clean", *now, f"--keep={name}", store),
            ("clean", *now, f"--end-lease={name}", store),
            ("bolt", "get", meta, "v1", shown(b"ns\x1b[32m"), "labels", shown(word + b".label")),
            ("export", "image", "-o", "-", "--", word, store),
            ("export", "container", "-o", "/dev/null", "--", word, store),
            ("diff", "container", "--", word, store),
            ("diff", "container", "--format", "json", "--", word, store),
            ("repair", *now, b"--accept-loss=" + word, store),
            ("ls", word, store),
            # What is wrong is said, and with it the word.
            ("explain", *now, "--", b"no " + word, store),
            ("scan", b"/no/" + word),
            ("apply", b"/no/" + word),
            ("undo", b"/no/" + word),
            ("scan", *now, b"--format=" + word, store),
            ("scan", *now, store, word, word),
            ("scan", b"--no-" + word),
            (b"no-" + word,),
            ("bolt", "info", b"/no/" + word),
            ("bolt", "get", meta, "v1", b"no " + word),
            ("clean", b"--end-lease=no" + word, *now, store),
            ("clean", b"--keep=no" + word, *now, store),
            ("clean", b"--older-than=" + word, *now, store),
            ("scan", b"--now=" + word, store),
        ]
    return plain


# One process for many commands: a start takes longer than most of them.
DRIVER = """
import json, os, sys
from drydock.cli import main
for line in open(int(sys.argv[1])):
    arguments = [os.fsdecode(bytes.fromhex(each)) for each in json.loads(line)]
    try:
        main(arguments)
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        if end.code == 64:
            print("FAULT", arguments, file=sys.stderr)
"""


def drive(wanted, terminal):
    """Run commands, and give all they wrote to stdout and stderr, together."""
    lines = "".join(json.dumps([argument(each).hex() for each in command]) + "\n" for command in wanted)
    asked = os.memfd_create("commands")
    os.write(asked, lines.encode())
    os.lseek(asked, 0, os.SEEK_SET)
    ours, theirs = pty.openpty() if terminal else os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(asked)], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        pass_fds=[asked], env={**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1"},
    )  # fmt: skip
    os.close(theirs)
    os.close(asked)
    said = b""
    while select.select([ours], [], [], 300)[0]:
        try:
            more = os.read(ours, 1 << 16)
        except OSError:  # what a terminal says when nobody writes to it any more
            more = b""
        if not more:
            break
        said += more
    child.wait()
    os.close(ours)
    return said


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_raw_is_written(store, terminal):
    """Of every command, in every format: text of printable characters, besides rich's colours and tqdm's lines."""
    before = tree(store)
    # A pipe differs by its lines and colours alone, not by the word.
    said = drive(commands(store, WORDS if terminal else WORDS[::3]), terminal)
    text = said.decode("utf-8")
    assert "FAULT" not in text
    assert "Traceback" not in text
    assert "\x1b[31mred" not in text
    assert "<script>alert" not in PAGE.search(text).group()
    if terminal:
        text = PROGRESS.sub("", COLOURS.sub("", text))
    assert "line\nbreak" not in text.replace("\r\n", "\n")
    assert "tab\tbell" not in text
    text = text.replace("\r\n", "\n").replace("\t", " ")  # as CSV ends its lines, and what bolt puts between columns
    strange = {char for char in text if char != "\n" and unicodedata.category(char) in UNFIT}
    where = [text.index(char) for char in strange]
    assert not strange, [text[max(at - 300, 0) : at + 60] for at in where]
    assert len(text) > 100_000
    assert tree(store) == before


def test_documents_are_whole(store):
    """JSON that parses, in UTF-8, in which every name is there as it can be typed back."""
    for command in (("scan", "--format", "json"), ("pulls", "--format", "json")):
        said = drive([(*command, "--now", NOW, store)], terminal=False)
        document = json.loads(said)
        ids = {unshown(each["id"]) for root in document["roots"] for each in root.get("leases", [])}
        assert not ids or ids == set(WORDS)
        assert unshown(document["roots"][0]["path"]) == os.fsencode(store)
    lines = drive([("scan", "--format", "jsonl", "--now", NOW, store)], terminal=False).splitlines()
    assert len([json.loads(line) for line in lines]) == len(lines) > 100


def test_a_plan_of_such_names_does_what_it_says(tmp_path):
    """Written down, read back and applied: exactly the folders so called are gone, by the journal too."""
    root = tmp_path / "\x1b[35mro\not\u202e"
    root.mkdir()
    lay_out(root)
    canary = tmp_path / "canary"
    canary.mkdir()
    whole = tree(root)
    plan = tmp_path / "plan\x1b[31m"
    (tmp_path / "state").mkdir(mode=0o700)
    said = drive(
        [
            ("plan", "--now", NOW, "--no-edit", "-o", plan, root),
            ("apply", "--state", tmp_path / "state", "--quarantine", canary, plan),
        ],
        terminal=False,
    ).decode()
    assert all(line.isprintable() for line in said.splitlines())
    gone = {path for path in orphans(root) if not path.exists()}
    assert gone == set(orphans(root))
    # And the folder they lay in changed, and nothing else did.
    left = {name: facts[:5] for name, facts in tree(root, times=False).items()}
    doomed = tuple(os.fsencode(path.relative_to(root)) + b"/" for path in gone)
    assert set(left) == {name for name in whole if not (name + b"/").startswith(doomed)}
    (journal,) = (tmp_path / "state").glob("*/journal.jsonl")
    for line in journal.read_text("utf-8").splitlines():
        json.loads(line)
    said = drive([("undo", journal)], terminal=False).decode()
    assert all(line.isprintable() for line in said.splitlines())
    assert tree(root, times=False).keys() == whole.keys()


def test_names_with_nul_keep_everything(tmp_path):
    """No name holds a NUL: a database that has one was written over, and nothing of it goes."""
    lay_out(tmp_path)
    meta = next(tmp_path.glob("*/meta.db"))
    raw = meta.read_bytes()
    assert raw.count(b"gone-$(reboot)") == 1
    meta.write_bytes(raw.replace(b"gone-$(reboot)", b"gone\0\0(reboot)"))
    said = drive([("clean", "--now", NOW, tmp_path)], terminal=False).decode()
    assert "nothing to remove" in said
    assert "\0" not in said


def test_the_words_are_what_they_should_be(store):
    """Most would change a terminal or a page, and none of them is lost on disk."""
    assert sum(not word.decode("utf-8", "replace").isprintable() for word in WORDS) >= 8
    assert len(list(Path(store).glob("*/snapshots/new-*"))) == len(orphans(store)) >= 14

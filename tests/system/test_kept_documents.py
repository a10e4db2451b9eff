"""Plan files and journals that an earlier drydock wrote are read, applied and undone.

They are of captures, which have other inodes and another place wherever they are unpacked: these values are put in from
what this drydock writes about the same capture, and nothing else. The reasons are those of then.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from fixtures.recipes.documents import CASES, HOST, STATE, lay_out, run_case
from tests.support.captures import FOLDER, capture
from tests.support.documents import run, scan
from tests.support.roots import databases, dumps
from tests.support.trees import tree

from drydock.model.plans import Status
from drydock.model.text import shown, unshown
from drydock.reclaim.journal import read_journal
from drydock.reclaim.plan_file import read_requests

PLANS = [case for case in CASES if case.command == "plan"]
RUNS = [case for case in CASES if not case.command.endswith("plan")]
ENDED = [case for case in RUNS if not case.kill_after]
KILLED = [case for case in RUNS if case.kill_after]
OF_THE_PLACE = ("expect", "bytes", "freed", "sha256_of_metas")
REASONS = ("why", "reason")


def cases(some):
    """A test of each."""
    return pytest.mark.parametrize("case", some, ids=lambda case: case.name)


def kept(case, name):
    """A document as it was written."""
    return FOLDER / "documents" / case.name / name


def lines_of(case):
    """The lines of a kept journal, by json alone."""
    return [json.loads(line) for line in kept(case, "journal.jsonl").read_text().splitlines()]


def sealed(plan):
    """The hash of a plan, by json and hashlib alone."""
    fields = {name: value for name, value in plan.items() if name != "hash"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def host_of(case, folder):
    """The capture of a case, broken as the case was; the folder of its host."""
    host = folder / "host"
    host.mkdir()
    lay_out(case, host)
    return host


def moved(value, places):
    """A value with other places in it."""
    if isinstance(value, dict):
        return {name: moved(each, places) for name, each in value.items()}
    if isinstance(value, list):
        return [moved(each, places) for each in value]
    if isinstance(value, str):
        for old, new in places.items():
            value = value.replace(str(old), str(new))
    return value


def of_the_place(old, new, fields=OF_THE_PLACE):
    """An old value, with some fields taken from a new one; both have the same fields in one order."""
    if isinstance(old, dict):
        assert list(old) == list(new)
        return {name: new[name] if name in fields else of_the_place(old[name], new[name], fields) for name in old}
    if isinstance(old, list):
        assert len(old) == len(new)
        return [of_the_place(*each, fields) for each in zip(old, new, strict=True)]
    return old


@cases([case for case in CASES if case.command.endswith("plan")])
def test_a_plan_is_read(case):
    """Its hash is found again, and what it asks for is what json finds in it."""
    document = json.loads(kept(case, "plan.json").read_text())
    plans = document.get("plans") or [each["plan"] for each in document["roots"]]
    text = json.dumps({"schema": "drydock.plan/1", "drydock": "old", "plans": plans})
    found = read_requests(text, "kept")
    assert [plan["hash"] for plan in plans] == [sealed(plan) for plan in plans]
    for each, plan in zip(found, plans, strict=True):
        policy = plan["policy"]
        assert (each.root.decode(), each.host.decode(), each.now) == (plan["root"], plan["host"], plan["now"])
        assert (each.policy.end.value, each.policy.older_than) == (policy["end_leases"], policy["older_than"])
        assert [name.decode() for name in (*each.policy.leases, *each.policy.keep)] == [
            *policy["end_lease"], *policy["keep"],
        ]  # fmt: skip


@pytest.mark.root
@cases(PLANS)
def test_a_plan_is_applied(case, tmp_path):
    """At its new place it is, in all but its reasons and in its order, what is planned now; apply carries it out."""
    host = host_of(case, tmp_path)
    run_case(case, host, tmp_path / "state", "-o", tmp_path / "now.json")
    now = json.loads((tmp_path / "now.json").read_text())
    old = moved(json.loads(kept(case, "plan.json").read_text()), {HOST: host})
    old = of_the_place(old, now)
    for plan in old["plans"]:
        plan["hash"] = sealed(plan)
    assert json.dumps(of_the_place(old, now, (*REASONS, "hash", "drydock"))) == json.dumps(now)
    (tmp_path / "plan.json").write_text(json.dumps(old))
    run("apply", tmp_path / "plan.json", "--state", tmp_path / "state", status=0)
    (plan,) = old["plans"]
    paths = [os.path.join(os.fsencode(plan["root"]), unshown(each["path"])) for each in plan["removals"]]
    assert paths
    assert not any(map(os.path.lexists, paths))


@cases(RUNS)
def test_a_journal_is_read(case, tmp_path):
    """Each action, how it ended, what was missing and whether the run finished: as json finds it."""
    lines = lines_of(case)
    path = shutil.copyfile(kept(case, "journal.jsonl"), tmp_path / "journal.jsonl")
    path.chmod(0o600)
    found = read_journal(os.fsencode(path))
    assert (found.tool, found.time, found.plan) == tuple(lines[0][name] for name in ("tool", "time", "plan"))
    assert found.root == lines[0]["root"].encode()
    assert found.missing == {line["missing"].encode() for line in lines if "missing" in line}
    assert found.finished == lines[-1].get("finished")
    assert (found.finished is None) is bool(case.kill_after)
    assert not found.torn
    actions = [line for line in lines if "n" in line]
    ends = {line["ended"]: (Status(line["status"]), line["freed"], line["detail"]) for line in lines if "ended" in line}
    assert [(each.number, each.do) for each in found.entries] == [(line["n"], line["do"]) for line in actions]
    assert {each.number: each.ended for each in found.entries if each.ended is not None} == ends
    for each, line in zip(found.entries, actions, strict=True):
        if each.removal is None:
            assert {**each.fields, "backup": line["fields"]["backup"]} == line["fields"]
            continue
        removal = each.removal
        assert (removal.target.value, list(removal.expect)) == (line["target"], line["expect"])
        assert (removal.bytes, removal.why, removal.after_edit) == (line["bytes"], line["why"], line["after_edit"])
        assert (each.to and shown(each.to)) == line["to"]
        owner, manifest = each.note
        assert [owner and list(owner), manifest and list(manifest)] == [line.get("owner"), line.get("manifest")]


def in_place(case, host, written):
    """The kept journal of a case, at the place of one that this drydock wrote about the same run."""
    new = [json.loads(line) for line in written.read_text().splitlines()]
    old = lines_of(case)
    places = {HOST: host, STATE: written.parent.parent}
    (run_then,) = {Path(each["fields"]["backup"]).parent.name for each in old if each.get("do") == "edit"}
    old = moved(old, {**places, run_then: written.parent.name})
    by_kind = [{json.dumps([each.get(name) for name in ("n", "ended", "missing", "schema")]): each for each in lines}
               for lines in (old, new)]  # fmt: skip
    assert by_kind[0].keys() == by_kind[1].keys()
    found = []
    for key, line in by_kind[0].items():
        now = by_kind[1][key]
        if "do" in line or "schema" in line:
            now = {name: value for name, value in now.items() if name in line}
        found.append(of_the_place(line, now))
    return found


@pytest.mark.root
@cases(ENDED)
def test_a_journal_is_undone(case, tmp_path):
    """After the same run, the old journal and the old manifests give back what this drydock's own would."""
    host = host_of(case, tmp_path)
    root = host / capture(case.capture).root
    before = seen(root)
    run_case(case, host, tmp_path / "state")
    (written,) = (tmp_path / "state").glob("*/journal.jsonl")
    lines = in_place(case, host, written)
    written.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    if kept(case, "manifests.gz").exists():
        shutil.copyfile(kept(case, "manifests.gz"), written.parent / "manifests.gz")
    elif case.moves:
        (written.parent / "manifests.gz").unlink()
    is_lost = not case.moves and any(line.get("do") == "remove" for line in lines)
    text = run("undo", written, status=4 if is_lost else 0)
    assert ("cannot be put back" in text) is is_lost
    assert (seen(root) == before) is not is_lost


def seen(root):
    """Go's dumps, and the tree but for the databases' bytes and times of folders."""
    names = {bytes(path.relative_to(root)) for path in databases(root)}
    return dumps(root), {name: found[:2] for name, found in tree(root).items() if name not in names}


@pytest.mark.root
@cases(KILLED)
def test_a_killed_run_is_finished(case, tmp_path):
    """Scan names the run, a clean does what is left, and then the old journal is at its end."""
    host = host_of(case, tmp_path)
    of = capture(case.capture)
    folder = tmp_path / "state/20260101T000000Z-1"
    folder.mkdir(parents=True, mode=0o700)
    (tmp_path / "state").chmod(0o700)
    journal = folder / "journal.jsonl"
    lines = moved(lines_of(case), {HOST: host, STATE: tmp_path / "state"})
    journal.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    pending = len([line for line in lines if "n" in line]) - len([line for line in lines if "ended" in line])
    found = unfinished(of, host, tmp_path)
    assert [f"{pending} of" in each["message"] for each in found] == [True]
    run("clean", *case.options, "--now", of.taken_at, "--apply", "--yes", "--state", tmp_path / "state", host, status=0)
    last = json.loads(journal.read_text().splitlines()[-1])
    assert last["by"] == "later"
    assert unfinished(of, host, tmp_path) == []


def unfinished(of, host, folder):
    """What scan says of killed runs."""
    findings = scan(of, host, "--state", folder / "state")["findings"]
    return [each for each in findings if each["code"] == "unfinished-run"]

"""Carrying out: what a run does when a part of it cannot be done, on real captures."""

import contextlib
import io
import json

import pytest
from tests.engines.listing import on_disk
from tests.support import gobbolt
from tests.support.captures import capture
from tests.support.documents import run
from tests.support.roots import dumps

from bbolt_surgery.edit import open_database
from drydock.model.errors import ActionFailed, DiskFull
from drydock.reclaim import execute as execute_module
from drydock.reclaim import execute_edits

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

ONE = "docker-28.5-interrupted-pull"


def clean(of, host, *options, status):
    """A clean that ends temporary leases."""
    return run("clean", "--end-leases", "temporary", "--apply", "--yes", "--now", of.taken_at, "--state",
               host / "state", *options, host, status=status)  # fmt: skip


def test_an_edit_that_comes_out_otherwise_is_taken_back(unpacked_anew, monkeypatch):
    """The database reads otherwise than planned after the edit: former contents again, no data removed, status 4."""
    of = capture(ONE)
    host = unpacked_anew(of)
    root = host / of.root
    before, there = dumps(root), set(on_disk(root))
    monkeypatch.setattr(execute_edits, "_compare", lambda *_: "other records are there than planned")
    text = clean(of, host, status=4)
    assert "taken back" in text
    assert dumps(root) == before
    assert set(on_disk(root)) == there


def test_an_edit_that_was_noted_twice_is_undone(unpacked_anew, monkeypatch):
    """The disk is full when the note is written already, as where the meta needs a block, too: all comes back."""
    of = capture(ONE)
    host = unpacked_anew(of)
    root = host / of.root
    (host / "aside").mkdir(mode=0o700)
    before, there = dumps(root), set(on_disk(root))
    real, full = execute_edits.edit, []

    def edit(fd, path, deletions, note, insertions, **options):
        def fail(fields):
            note(fields)
            full.append(path)
            raise DiskFull("no space")

        return real(fd, path, deletions, note if path in full else fail, insertions, **options)

    def settle(_, path, **__):
        with open(path, "r+b") as file, open_database(file.fileno(), path) as opened:
            opened.commit_root(opened.root, opened.meta.high_water, [])
        return True

    with monkeypatch.context() as patched:
        patched.setattr(execute_edits, "edit", edit)
        patched.setattr(execute_edits, "settle_database", settle)
        clean(of, host, "--quarantine", host / "aside", status=0)
    assert len(full) == 2
    assert dumps(root) != before
    (journal,) = host.glob("state/*/journal.jsonl")
    run("undo", journal, status=0)
    assert dumps(root) == before
    assert set(on_disk(root)) == there


@pytest.mark.parametrize("which", [0, 1])
def test_what_waits_for_an_edit_that_failed_stays(unpacked_anew, monkeypatch, which):
    """meta.db cannot be edited: nothing else is. metadata.db cannot: its rows and directories stay, blobs go."""
    of = capture(ONE)
    host = unpacked_anew(of)
    root = host / of.root
    before, there = dumps(root), set(on_disk(root))
    calls = []
    real = execute_edits.edit

    def fail(*arguments, **options):
        calls.append(arguments)
        if len(calls) == which + 1:
            raise ActionFailed("no")
        return real(*arguments, **options)

    monkeypatch.setattr(execute_edits, "edit", fail)
    text = clean(of, host, status=4)
    assert "not tried: no" in text
    gone = there - set(on_disk(root))
    names = list(before)
    after = dumps(root)
    assert after[names[1]] == before[names[1]]
    if which == 0:
        assert not gone
        assert after == before
    else:
        assert gone
        assert not any("/snapshots/" in path for path in gone)
        assert after[names[0]] != before[names[0]]
    clean(of, host, status=0)
    (run_of_killed, run_of_next) = sorted(host.glob("state/*/journal.jsonl"))
    for journal in (run_of_killed, run_of_next):
        assert any("finished" in json.loads(line) for line in journal.read_text().splitlines())


def test_a_quarantine_on_another_disk_is_refused_before_anything(unpacked_anew, tmp_path):
    """Status 32; not a record and not a file less."""
    of = capture(ONE)
    host = unpacked_anew(of)
    root = host / of.root
    before, there = dumps(root), set(on_disk(root))
    with contextlib.redirect_stderr(io.StringIO()):
        clean(of, host, "--quarantine", "/dev/shm", status=32)
    assert dumps(root) == before
    assert set(on_disk(root)) == there


def test_a_second_root_that_cannot_be_begun_does_not_hide_the_first(unpacked_anew, monkeypatch):
    """Of two roots one was cleaned when the other fails: status 4, and both are told of."""
    first, second = capture(ONE), capture("containerd-1.6-namespaces")
    host = unpacked_anew(first)
    unpacked_anew(second)
    now = max(first.taken_at, second.taken_at)
    real = execute_module.open_state
    calls = []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise ActionFailed("no more room for a journal")
        return real(*arguments)

    monkeypatch.setattr(execute_module, "open_state", fail)
    text = run("clean", "--end-leases", "temporary", "--apply", "--yes", "--now", now, "--state", host / "state", host,
               status=4)  # fmt: skip
    assert len(calls) == 2
    assert "nothing was done: no more room for a journal" in text
    assert "journal:" in text

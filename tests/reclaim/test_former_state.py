"""What an undo may not bring back: what is named in a former database, and went since."""

import json
import os
import shutil

import pytest
from fuzz.stores import META_DB, digest
from tests.support.gowriting import uvarint
from tests.support.small_host import Host, blob_of, unlink

import drydock
from bbolt_reader import Database
from drydock.model.errors import ActionFailed
from drydock.model.names import RawPath
from drydock.reclaim import execute, execute_edits, undo

OVERLAY, NATIVE = (f"io.containerd.snapshotter.v1.{name}" for name in ("overlayfs", "native"))
LOST, ROWLESS = b"moby/4/lost", b"moby/9/rowless"
COMMITTED, ACTIVE, VIEW = 3, 2, 1


def on_rows(monkeypatch, error):
    """Let every edit after the first, meta.db's, end in an error for once."""
    real, calls = execute_edits.edit, []

    def edit(*arguments, **options):
        calls.append(arguments)
        if len(calls) > 1:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(execute_edits, "edit", edit)


def refused(run):
    """Why an undo left the databases as they are."""
    assert run.failed
    return {edited.detail for edited in run.edits}


@pytest.fixture
def host(tmp_path):
    """A root with the usual snapshotter, its databases not yet written."""
    return Host(tmp_path)


@pytest.fixture
def native(host):
    """The same with the native snapshotter, and a view that nothing holds: its directory is its parent's."""
    (host.root / OVERLAY).rename(host.root / NATIVE)
    host.rows_path = f"{NATIVE}/metadata.db"
    records = host.metadata[b"v1"][b"moby"]
    snapshots = records[b"snapshots"][b"native"] = records[b"snapshots"].pop(b"overlayfs")
    records[b"leases"][b"pull"][b"snapshots"] = {b"native": {b"view": b""}}
    records[b"containers"][b"c1"][b"snapshotter"] = b"native"
    labels = records[b"content"][b"blob"][digest(2)][b"labels"]
    labels[b"containerd.io/gc.ref.snapshot.native"] = labels.pop(b"containerd.io/gc.ref.snapshot.overlayfs")
    snapshots[b"view"] = {**snapshots.pop(b"lost"), b"name": b"moby/7/view", b"parent": b"sha256:chain-a"}
    snapshots[b"sha256:chain-a"][b"children"][b"view"] = b""
    rows = host.rows[b"v1"]
    view = {**rows[b"snapshots"].pop(LOST), b"id": uvarint(7), b"kind": bytes([VIEW]), b"parent": b"moby/1/a"}
    rows[b"snapshots"][b"moby/7/view"] = view
    rows[b"parents"][uvarint(1) + b"\0" + uvarint(7)] = b"moby/7/view"
    host.write()
    return host


@pytest.mark.parametrize("error", [ActionFailed("full"), KeyboardInterrupt()], ids=["failed", "killed"])
def test_a_record_whose_row_a_later_run_removed_stays_away(host, monkeypatch, error):
    """The run let go of a record and did not come to its row; another, with its own state directory, removed that."""
    unlink(host, 6, 7, 9)
    host.write()
    with monkeypatch.context() as patched:
        on_rows(patched, error)
        if isinstance(error, KeyboardInterrupt):
            with pytest.raises(KeyboardInterrupt):
                host.clean("first")
        else:
            assert host.clean("first").failed
    assert ('"finished"' in host.journal("first").read_text()) == isinstance(error, ActionFailed)
    host.clean("second")
    after = host.seen()
    (why,) = refused(host.undo("first"))
    assert f"{OVERLAY}/metadata.db/moby/4/lost, which its former records name, is gone" in why
    assert host.seen() == after


def test_a_record_whose_row_still_stands_comes_back(host, monkeypatch):
    """The run let go of a record and could not edit the rows; nobody else came: all is as before."""
    host.write()
    before = host.seen()
    with monkeypatch.context() as patched:
        on_rows(patched, ActionFailed("full"))
        assert host.clean("first").failed
    assert not host.undo("first").failed
    assert host.seen() == before


@pytest.mark.parametrize("kind", [VIEW, ACTIVE, COMMITTED])
def test_a_row_whose_directory_a_later_run_removed_stays_away(host, monkeypatch, kind):
    """The run was killed after its edits; another removed the directories, of a view as well."""
    for name in (LOST, ROWLESS):
        host.rows[b"v1"][b"snapshots"][name][b"kind"] = bytes([kind])
    unlink(host, 6, 7, 9)
    host.write()
    real = execute.run_removals

    def remove(removals, *rest):
        if any(each.after_edit for each in removals):
            raise KeyboardInterrupt
        return real(removals, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(execute, "run_removals", remove)
        with pytest.raises(KeyboardInterrupt):
            host.clean("first")
    host.clean("second", aside=False)
    after = host.seen()
    assert any(f"{OVERLAY}/snapshots/4, which" in why for why in refused(host.undo("first")))
    assert host.seen() == after


def test_a_changed_blob_that_a_later_run_removed_keeps_its_record_away(host):
    """The blob was touched while the question stood, so that its record went and its file stayed."""
    host.write()
    blob = blob_of(host, 7)

    def agree(_):
        os.utime(blob)
        return True

    host.clean("first", agree)
    assert blob.exists()
    host.clean("second", aside=False)
    assert not blob.exists()
    after = host.seen()
    run = host.undo("first")
    refused(run)
    assert "this run did not remove it, and it is gone" in {outcome.detail for outcome in run.outcomes}
    assert host.seen() == after


def test_a_changed_blob_that_is_there_gets_its_record_back(host):
    """The same blob, and no later run: all is as before."""
    host.write()
    before = host.seen()
    host.clean("first", lambda _: os.utime(blob_of(host, 7)) is None)
    assert not host.undo("first").failed
    assert host.seen() == before


@pytest.mark.parametrize("killed", [False, True], ids=["finished", "killed"])
@pytest.mark.parametrize("what", ["blob", "row", "directory"])
def test_what_was_missing_before_the_run_does_not_count(host, what, killed):
    """Its record, or row, is back as before the run, which is no worse; the journal says that it was missing."""
    if what == "blob":
        unlink(host, 7)
    elif what == "row":
        del host.rows[b"v1"][b"snapshots"][LOST]
    else:
        shutil.rmtree(host.root / OVERLAY / "snapshots/4")
    host.write()
    before = host.seen()
    host.clean("first")
    assert host.seen() != before
    journal = host.journal("first")
    lines = journal.read_text().splitlines(keepends=True)
    assert [json.loads(line) for line in lines if '"missing"' in line] == [
        {
            "missing": {
                "blob": str(blob_of(host, 7).relative_to(host.root)),
                "row": f"{OVERLAY}/metadata.db/moby/4/lost",
                "directory": f"{OVERLAY}/snapshots/4",
            }[what]
        }
    ]
    if killed:
        journal.write_text("".join(lines[:-1]))
    assert not host.undo("first").failed
    assert host.seen() == before


def test_a_view_of_the_native_snapshotter_comes_back(native):
    """It has no directory, and never had one."""
    before = native.seen()
    native.clean("first")
    assert b"moby/7/view" not in native.seen()[1][b"v1"][b"snapshots"]
    assert not native.undo("first").failed
    assert native.seen() == before


def test_a_view_of_the_native_snapshotter_whose_row_is_gone_stays_away(native, monkeypatch):
    """Without a directory, too, it needs its row."""
    with monkeypatch.context() as patched:
        on_rows(patched, ActionFailed("full"))
        assert native.clean("first").failed
    native.clean("second")
    after = native.seen()
    (why,) = refused(native.undo("first"))
    assert f"{NATIVE}/metadata.db/moby/7/view, which" in why
    assert native.seen() == after


def carried_off(host, how):
    """The journal of the first run, once its folder lies elsewhere, or its copies of the databases are deleted."""
    journal = host.journal("first")
    if how == "moved":
        return shutil.move(journal.parent, host.folder / "kept") / journal.name
    for backup in journal.parent.glob("*.db"):
        backup.unlink()
    return journal


@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_run_is_undone_wherever_its_copies_are(host, how):
    """Its folder was saved from a tmpfs, or the copies were deleted: nothing else is needed to put all back."""
    host.write()
    before = host.seen()
    host.clean("first")
    journal = carried_off(host, how)
    run = drydock.undo(RawPath(os.fsencode(journal)))
    assert not run.failed
    assert host.seen() == before
    assert {edited.backup and os.path.exists(edited.backup) for edited in run.edits} == {how == "moved" or None}


@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_row_that_is_gone_keeps_its_record_away_wherever_the_copies_are(host, monkeypatch, how):
    """What is read in their place says the same."""
    unlink(host, 6, 7, 9)
    host.write()
    with monkeypatch.context() as patched:
        on_rows(patched, ActionFailed("full"))
        assert host.clean("first").failed
    host.clean("second")
    after = host.seen()
    (why,) = refused(drydock.undo(RawPath(os.fsencode(carried_off(host, how)))))
    assert f"{OVERLAY}/metadata.db/moby/4/lost, which its former records name, is gone" in why
    assert host.seen() == after


def test_former_pages_that_were_written_over_are_not_put_back(host):
    """An engine was killed before its commit counted: what the former records name is not known, and of which file."""
    host.write()
    host.clean("first")
    edits = [json.loads(line) for line in host.journal("first").read_text().splitlines() if '"do":"edit"' in line]
    path = os.fsencode(host.root / META_DB)
    with Database.open(path) as database:
        size = database.page_size
    with open(path, "r+b") as file:
        file.seek(edits[0]["fields"]["root_before"] * size)
        file.write(b"\xff" * size)
    after = host.seen()
    (why,) = refused(host.undo("first"))
    assert f"its former records could not be read: {host.root / META_DB}: page " in why
    assert host.seen() == after


@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_an_undo_that_was_stopped_is_repeated_with_the_copy_beside_its_journal(host, monkeypatch, how):
    """One of two databases is back: the copy tells that from somebody else's commit; without it that is not known."""
    host.write()
    before = host.seen()
    host.clean("first")
    real, calls = undo.revert, []

    def stop(*arguments, **options):
        calls.append(arguments)
        if len(calls) > 1:
            raise KeyboardInterrupt
        real(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(undo, "revert", stop)
        with pytest.raises(KeyboardInterrupt):
            host.undo("first")
    between = host.seen()
    assert between != before
    backup = host.journal("first").parent / f"{OVERLAY}.metadata.db"
    run = drydock.undo(RawPath(os.fsencode(carried_off(host, how))))
    if how == "moved":
        assert not run.failed
        assert host.seen() == before
    else:
        assert any(f"is unknown: {backup}: No such file" in why for why in refused(run))
        assert host.seen() == between

"""What an undo may not bring back: what is named in a former database, and went since."""

import copy
import json
import os
import shutil

import pytest
from fuzz.stores import META_DB, METADATA, METADATA_DB, NOW, ROWS, SEQUENCES, digest, lay_out
from tests.support import boltwriter
from tests.support.gowriting import uvarint

from bbolt_reader import Database
from drydock import removal
from drydock.model.errors import ActionFailed
from drydock.model.names import RawPath, UnixNano
from drydock.reclaim import execute

OVERLAY, NATIVE = (f"io.containerd.snapshotter.v1.{name}" for name in ("overlayfs", "native"))
BLOBS = "io.containerd.content.v1.content/blobs/sha256"
LOST, ROWLESS = b"moby/4/lost", b"moby/9/rowless"
COMMITTED, ACTIVE, VIEW = 3, 2, 1


class Host:
    """A small root that runs clean, each with a state directory of its own."""

    def __init__(self, folder):
        self.folder, self.root = folder, folder / "root"
        self.root.mkdir()
        lay_out(self.root)
        self.metadata, self.rows = copy.deepcopy(METADATA), copy.deepcopy(ROWS)
        self.rows_path = METADATA_DB

    def write(self):
        """Write the databases."""
        boltwriter.write(self.root / META_DB, self.metadata)
        boltwriter.write(self.root / self.rows_path, self.rows, sequences=SEQUENCES)

    def clean(self, run, agree=lambda _: True, *, aside=True):
        """Clean as the run of this name; what it did."""
        state, quarantine = (self.folder / f"{run}-{name}" for name in ("state", "aside"))
        for path in (state, quarantine):
            path.mkdir(mode=0o700)
        (done,) = removal.clean(
            RawPath(os.fsencode(self.root)),
            agree=agree,
            now=UnixNano(NOW + 10**9),  # the lease of the pull has expired
            state=RawPath(os.fsencode(state)),
            quarantine=RawPath(os.fsencode(quarantine)) if aside else None,
        )
        return done

    def undo(self, run):
        """Undo the run of this name; what that did."""
        return removal.undo(RawPath(os.fsencode(self.journal(run))))

    def journal(self, run):
        """Its journal."""
        (journal,) = self.folder.glob(f"{run}-state/*/journal.jsonl")
        return journal

    def seen(self):
        """What the two databases have."""
        found = []
        for path in (META_DB, self.rows_path):
            with Database.open(os.fsencode(self.root / path)) as database:
                found.append(plain(database.root))
        return found


def blob_of(host, number):
    """The file of a blob."""
    return host.root / BLOBS / digest(number).decode().partition(":")[2]


def unlink(host, *numbers):
    """Take blobs away that nothing holds, so that only snapshots are let go of with their data."""
    for number in numbers:
        blob_of(host, number).unlink()


def plain(bucket):
    """A bucket as nested dicts."""
    return {key: value if isinstance(value, bytes) else plain(value) for key, value in bucket.items()}


def on_rows(monkeypatch, error):
    """Let every edit after the first, meta.db's, end in an error for once."""
    real, calls = execute.edit, []

    def edit(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            raise error
        return real(*arguments)

    monkeypatch.setattr(execute, "edit", edit)


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
    real = execute.remove

    def remove(removals, *rest):
        if any(each.after_edit for each in removals):
            raise KeyboardInterrupt
        return real(removals, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(execute, "remove", remove)
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

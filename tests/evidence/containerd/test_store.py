"""One root held and read: every part is there, damage withholds, and what is held is let go."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import threading

import psutil
import pytest
from tests.support.boltwriter import write
from tests.support.gowriting import go_time, uvarint, varint
from tests.support.records import METADATA

from bbolt_reader import Truncated, Unreadable
from bbolt_reader.tree import Tree
from drydock.evidence.containerd import database_file
from drydock.evidence.containerd.store import hold_store, read_store
from drydock.evidence.files import worker
from drydock.evidence.files.directory import folder
from drydock.model.errors import Refused
from drydock.model.findings import Severity
from drydock.model.names import RawPath
from drydock.model.objects import ObjectKind, State
from drydock.model.policies import BlobCheck, EndLeases, Policy, SizeSource
from drydock.model.roots import Engine, Root
from drydock.reclaim.plan import make_plan
from drydock.verdict.judge import judge

HEX = "ab" * 32
DIGEST = b"sha256:" + HEX.encode()
OVERLAY = "io.containerd.snapshotter.v1.overlayfs"


@pytest.fixture
def place(tmp_path):
    """A root with one blob and one snapshot, each recorded and on disk."""
    blobs = tmp_path / "io.containerd.content.v1.content/blobs/sha256"
    blobs.mkdir(parents=True)
    (blobs / HEX).write_bytes(b"12345")
    database = tmp_path / METADATA
    database.parent.mkdir()
    moment = {b"createdat": go_time(100), b"updatedat": go_time(100)}
    write(
        database,
        {
            b"v1": {
                b"version": b"\x06",
                b"ns": {
                    b"content": {b"blob": {DIGEST: {**moment, b"size": varint(5)}}},
                    b"snapshots": {b"overlayfs": {b"k": {**moment, b"name": b"ns/1/k"}}},
                },
            }
        },
    )
    (tmp_path / OVERLAY / "snapshots/1/fs").mkdir(parents=True)
    row = {b"id": uvarint(1), b"kind": b"\x02", b"createdat": go_time(200), b"updatedat": go_time(200)}
    write(tmp_path / OVERLAY / "metadata.db", {b"v1": {b"snapshots": {b"ns/1/k": row}, b"parents": {}}})
    return tmp_path


def read(place, *, verification=BlobCheck.SIZE, progress=None, snapshotters=(), listed=False):
    """Hold and read a root."""
    root = Root(RawPath(bytes(place)), Engine.CONTAINERD, snapshotters=snapshotters)
    with hold_store(root, exclusive=False, listed=listed, progress=progress) as held:
        store = read_store(held, measure=SizeSource.DISK, verification=verification, progress=progress)
        store.listed = store.content
        return store


def test_every_part_is_read(place):
    """Records, rows, data and the newest time over all of them; the databases' own blocks."""
    told = []
    found = read(place, progress=lambda what, *_: told.append(what))
    assert [blob.digest for blob in found.metadata.blobs] == list(found.content.blobs) == [DIGEST]
    assert list(found.backends[b"overlayfs"].rows) == [b"ns/1/k"]
    assert [entry.id for entry in found.backends[b"overlayfs"].entries] == [1]
    assert found.newest() == 200 * 10**9
    blocks = sum(os.stat(path).st_blocks for path in (place / METADATA, place / OVERLAY / "metadata.db"))
    assert found.database_bytes == blocks * 512
    assert found.metadata.complete
    assert found.backends[b"overlayfs"].complete
    assert [finding for finding in found.all_findings() if finding.severity is not Severity.NOTE] == []
    checked = {"pages of meta.db checked", "pages of overlayfs/metadata.db checked"}
    read_so_far = {"records read", "pages of blob records read", "blobs and ingests listed", "snapshots of overlayfs"}
    assert set(told) == checked | read_so_far


def test_wrong_bytes_are_found_only_when_asked_for(place):
    """--verify digest reads every byte; size does not."""
    assert read(place).wrong == frozenset()
    assert read(place, verification=BlobCheck.DIGEST).wrong == {DIGEST}


@pytest.mark.parametrize("damage", ["gone", "empty", "random", "torn", "shared"])
@pytest.mark.parametrize("which", ["meta.db", "metadata.db"])
def test_a_database_that_cannot_be_trusted_withholds(place, which, damage):
    """Not there, no bbolt at all, or pages that do not fit: incomplete, with a finding that names the file."""
    path = place / METADATA if which == "meta.db" else place / OVERLAY / "metadata.db"
    size = path.stat().st_size
    if damage == "gone":
        path.unlink()
    elif damage == "torn":
        os.truncate(path, size - 4096)
    elif damage == "shared":
        data = bytearray(path.read_bytes())
        data[2 * 4096 + 8] ^= 0xFF  # the flags of the first page behind the metas
        path.write_bytes(data)
    else:
        path.write_bytes(b"" if damage == "empty" else os.urandom(size))
    found = read(place)
    part = found.metadata if which == "meta.db" else found.backends[b"overlayfs"]
    other = found.backends[b"overlayfs"] if which == "meta.db" else found.metadata
    assert not part.complete
    assert other.complete
    worst = [finding for finding in part.findings if finding.severity is not Severity.NOTE]
    assert worst
    assert all(finding.place.file.startswith(os.fsencode(place)) for finding in worst)


def _entry(layout, page, index, offset, data):
    """Overwrite bytes of the head of one entry of a leaf: flags, position, key's length, value's length."""
    layout.patch_page(page, 16 + 16 * index + offset, data)


_FOUR = struct.Struct("<I")
_DAMAGES = {
    "bolt-meta": lambda file: file.patch((1 - file.newest) * 4096 + 16, b"\0"),
    "bolt-short-file": lambda file: file.truncate((file.high_water - 1) * 4096),
    "bolt-freelist": lambda file: file.patch_page(file.freelist, 16, struct.pack("<4Q", 2, 2, 3, 10**6)),
    "bolt-freed": lambda file: file.patch_page(file.freelist, 16, struct.pack("<4Q", 2, 3, 4, file.root)),
    "bolt-unreachable": lambda file: file.patch_page(file.freelist, 16, struct.pack("<4Q", 2, 3, 4, 4)),
    "bolt-corrupt": lambda file: file.patch_page(file.roots[b"v1", b"many"], 0, b"\x7f"),
    "bolt-order": lambda file: file.patch_page(file.roots[b"v1", b"many"], 16 + 16 * 40 + 3, b"~"),
    "bolt-gap": lambda file: _entry(file, file.roots[b"v1", b"many"], 20, 12, _FOUR.pack(1)),
}
"""Each kind of damage that pages can have, done to a sound file."""


@pytest.mark.parametrize("code", _DAMAGES)
def test_each_kind_of_damage_to_pages_has_its_code(place, code):
    """Named with file, page and the command that checks the file. Only a meta that may be old is no damage."""
    path = place / METADATA
    tree = {b"v1": {b"version": b"\x06", b"many": {b"key%02d" % number: b"value" for number in range(40)}}}
    layout = write(path, tree, free=4, inline=False)
    _DAMAGES[code](layout)
    found = {each.code: each for each in read(place).metadata.findings}
    assert code in found
    assert found[code].severity is (Severity.BLIND if code == "bolt-meta" else Severity.DAMAGE)
    assert found[code].place.file == bytes(path)
    assert found[code].place.page is not None
    assert found[code].remedy == f"drydock bolt check {path}"


@pytest.fixture
def large(place, monkeypatch):
    """The root with a meta.db of so many bytes that workers check it and list the blobs."""
    moment = {b"createdat": go_time(100), b"updatedat": go_time(100)}
    blobs = {b"sha256:%064x" % number: {**moment, b"size": varint(5)} for number in range(2000)}
    container = {**moment, b"snapshotter": b"", b"snapshotKey": b"", b"spec": b"x" * 90_000}
    specs = {b"c%03d" % number: container for number in range(200)}
    tree = {b"version": b"\x06", b"ns": {b"content": {b"blob": blobs}, b"containers": specs}}
    folder = place / "io.containerd.content.v1.content/blobs/sha256"
    for number in range(0, 2000, 3):
        (folder / f"{number:064x}").write_bytes(b"12345")
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # tests before it may have left some
    return write(place / METADATA, {b"v1": tree}, free=4)


def _many_damages(file):
    """More than are told one by one, and one of another kind."""
    for each in range(120):
        file.patch_page(file.roots[b"v1", b"ns", b"containers", b"c%03d" % each], 0, b"\x7f")
    _DAMAGES["bolt-unreachable"](file)


@pytest.mark.parametrize("damage", ["nothing", "many", "meta", "killed", "no worker"])
def test_workers_find_what_this_process_would(place, large, monkeypatch, damage):
    """Of a database of real size: the same records, files and findings, also where a worker is killed."""
    told, ended = [], []
    if damage == "many":
        _many_damages(large)
    elif damage == "meta":
        _DAMAGES["bolt-meta"](large)
    expected = read(place)
    assert expected.metadata.complete == (damage not in {"many", "meta"})
    if damage == "killed":
        monkeypatch.setattr(worker, "_write", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    elif damage == "no worker":
        monkeypatch.setattr(os, "fork", lambda: ended.append(1) or (_ for _ in ()).throw(BlockingIOError(11, "no")))
    before = set(os.listdir("/proc/self/fd"))
    children = []
    start = database_file.PageCheck.__init__
    monkeypatch.setattr(database_file.PageCheck, "__init__", lambda *of: start(*of) or children.append(of[0].pid))
    found = read(place, listed=True, progress=lambda *of: told.append((*of, None)[:3]))
    assert found == expected
    assert (len(children), len(ended)) == ((0, 2) if damage == "no worker" else (1, 0))
    counted = sum(done for what, done, _ in told if what == "pages of meta.db checked")
    assert counted > (0 if damage == "killed" else 256)
    pages = [(done, total) for what, done, total in told if what == "pages of blob records read"]
    assert 0.9 < sum(done for done, _ in pages) / pages[0][1] <= 1
    assert set(os.listdir("/proc/self/fd")) == before
    assert not any(map(psutil.pid_exists, children))


@pytest.mark.parametrize(("code", "error"), [("bolt-truncated", Truncated), ("bolt-unreadable", Unreadable)])
def test_a_page_that_is_not_there_or_that_the_disk_cannot_read(place, code, error, monkeypatch):
    """What the disk or a file that got shorter takes away is damage with its page."""
    load = Tree.load

    def fail(tree, pgid, *rest, **options):
        if pgid == failing:
            raise error("gone", page=pgid)
        return load(tree, pgid, *rest, **options)

    path = place / METADATA
    tree = {b"v1": {b"version": b"\x06", b"many": {b"key%02d" % number: b"value" for number in range(40)}}}
    failing = write(path, tree, inline=False).roots[b"v1", b"many"]
    monkeypatch.setattr(Tree, "load", fail)
    (found,) = [each for each in read(place).metadata.findings if each.code == code]
    assert (found.severity, found.place.page) == (Severity.DAMAGE, failing)


def test_what_is_no_bbolt_file(place):
    """Named as a whole."""
    path = place / METADATA
    path.write_bytes(os.urandom(8192))
    (found,) = read(place).metadata.findings
    assert (found.code, found.severity, found.place.file) == ("unreadable-database", Severity.DAMAGE, bytes(path))
    assert found.remedy == f"drydock bolt check {path}"


@pytest.mark.parametrize("recorded", [True, False])
def test_records_and_no_metadata_db(place, recorded):
    """A snapshotter's folder without any metadata.db says nothing of snapshots that are recorded; else all."""
    shutil.rmtree(place / OVERLAY / "snapshots")
    (place / OVERLAY / "metadata.db").unlink()
    if not recorded:
        write(place / METADATA, {b"v1": {b"version": b"\x06", b"ns": {}}})
    store = read(place)
    backend = store.backends[b"overlayfs"]
    assert backend.complete == (not recorded)
    blind = [("no-database", Severity.BLIND)] if recorded else []
    assert [(finding.code, finding.severity) for finding in backend.findings] == blind
    verdict, _ = judge(store, store.newest())
    states = [each.state for each in verdict.objects if each.kind is ObjectKind.SNAPSHOT]
    assert states == ([State.UNREACHABLE] if recorded else [])


@pytest.mark.parametrize("moved", [False, True])
def test_rows_that_lie_elsewhere(place, moved):
    """Of stargz, and where root_path is set, no metadata.db is no blind spot; what is recorded stays in any case."""
    name = "overlayfs" if moved else "stargz"
    shutil.rmtree(place / OVERLAY)
    (place / f"io.containerd.snapshotter.v1.{name}/snapshotter/snapshots/1/fs").mkdir(parents=True)
    moment = {b"createdat": go_time(100), b"updatedat": go_time(100)}
    snapshots = {name.encode(): {b"k": {**moment, b"name": b"ns/1/k"}}}
    write(
        place / METADATA,
        {b"v1": {b"version": b"\x06", b"ns": {b"snapshots": snapshots}}},
    )
    store = read(place, snapshotters=((b"overlayfs", RawPath(b"/elsewhere")),) if moved else ())
    assert store.backends[name.encode()].findings == []
    plan = make_plan(*judge(store, store.newest()), Policy(EndLeases.TEMPORARY), ())
    assert (plan.records, plan.rows) == ((), ())
    reason = f"the layout of snapshotter {name} is not fully understood"
    assert [(each.id, each.reason) for each in plan.withheld] == [(f"{name}/k", reason)]


def test_no_snapshotter_folder_is_missed(place):
    """Each folder of that name is a backend, whatever is in it; a file in its place is a blind spot."""
    (place / "io.containerd.snapshotter.v1.new").mkdir()
    (place / "io.containerd.snapshotter.v1.file").touch()
    found = read(place)
    assert set(found.backends) == {b"overlayfs", b"new", b"file"}
    assert found.backends[b"new"].complete
    assert not found.backends[b"file"].complete


def test_locks_are_held_and_let_go(place):
    """As a reader beside readers, never beside a writer; afterwards both files are free, also after an error."""
    root = Root(RawPath(bytes(place)), Engine.CONTAINERD)
    paths = [place / METADATA, place / OVERLAY / "metadata.db"]
    with hold_store(root, exclusive=False), hold_store(root, exclusive=False):
        for path in paths:
            with path.open("rb") as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with paths[1].open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Refused), hold_store(root, exclusive=False):
            pass
    before = len(os.listdir("/proc/self/fd"))
    for path in paths:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert len(os.listdir("/proc/self/fd")) == before


def test_directories_are_measured_from_the_start(place, monkeypatch):
    """A pool begins once the locks are held, finds what is found without one, and leaves nothing open."""
    for number in range(2, 30):
        (place / OVERLAY / f"snapshots/{number}/fs").mkdir(parents=True)
        (place / OVERLAY / f"snapshots/{number}/fs/file").write_bytes(b"x" * 5000 * number)
    (place / "io.containerd.snapshotter.v1.other/snapshots/1").mkdir(parents=True)
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # tests before it may have left some
    before = set(os.listdir("/proc/self/fd"))
    root = Root(RawPath(bytes(place)), Engine.CONTAINERD)
    with hold_store(root, exclusive=False, measured=True) as held:
        with folder(RawPath(bytes(place)), OVERLAY.encode(), b"snapshots") as snapshots:
            assert held.ahead.take([b"29"], snapshots)
        found = read_store(held, measure=SizeSource.DISK, verification=BlobCheck.NONE)
    assert found.backends == read(place).backends
    assert set(os.listdir("/proc/self/fd")) == before


def test_no_worker_outlasts_a_store_that_was_not_read(place, monkeypatch):
    """Whatever ends the block ends the workers."""
    for number in range(2, 30):
        (place / OVERLAY / f"snapshots/{number}/fs").mkdir(parents=True)
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # tests before it may have left some
    root = Root(RawPath(bytes(place)), Engine.CONTAINERD)
    before = psutil.Process().children()
    meanwhile = []

    def interrupted():
        with hold_store(root, exclusive=False, measured=True):
            meanwhile.extend(psutil.Process().children())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(meanwhile) == len(before) + min(os.cpu_count() or 1, 4) - 1
    assert psutil.Process().children() == before

"""A snapshotter's folder: rows and directories of every kind."""

from __future__ import annotations

import os
import subprocess

import pytest
from tests.support.boltwriter import write
from tests.support.gowriting import uvarint, varint

from bbolt_reader import Database
from drydock.evidence.containerd import snapshots as reader
from drydock.evidence.containerd.snapshots import read_backend
from drydock.evidence.files.sizes import Measure
from drydock.model.data import LayoutKind
from drydock.model.findings import Severity
from drydock.model.names import SNAPSHOTTER_PREFIX, RawPath


@pytest.fixture
def read(tmp_path):
    """Make directories and rows of one snapshotter, and read them."""

    def give(*names, rows=None, snapshotter="overlayfs", recorded=True, progress=None):
        home = tmp_path / (SNAPSHOTTER_PREFIX.decode() + snapshotter)
        for name in names:
            (home / "snapshots" / name / "fs").mkdir(parents=True)
            (home / "snapshots" / name / "fs/file").write_bytes(b"x" * 9000)
        root = RawPath(bytes(tmp_path))
        options = {"measure": Measure(), "recorded": recorded, "progress": progress}
        if rows is None:
            return read_backend(root, snapshotter.encode(), None, **options)
        home.mkdir(exist_ok=True)
        write(home / "metadata.db", rows)
        with Database.open(home / "metadata.db") as database:
            return read_backend(root, snapshotter.encode(), database, **options)

    return give


def rows(*numbers, kind=3, size=4096):
    """Rows with these ids."""
    entries = {}
    for number in numbers:
        fields = {b"id": uvarint(number), b"kind": bytes([kind])}
        entries[b"ns/%d/k" % number] = {**fields, b"size": varint(size)} if kind == 3 else fields
    return {b"v1": {b"snapshots": entries, b"parents": {}}}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_what_is_not_counted_is_a_note(read, tmp_path):
    """A snapshot with mounts in it: a note that says why and how many more there are, and nothing is withheld."""
    home = tmp_path / "io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs"
    points = [home / name for name in ("one", "two")]
    for point in points:
        point.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", point], check=True)
    try:
        found = read(rows=rows(1, kind=2), recorded=False)
    finally:
        for point in points:
            subprocess.run(["umount", point], check=True)
    assert [(each.code, each.severity) for each in found.findings] == [("not-measured", Severity.NOTE)]
    assert found.findings[0].message == "overlayfs 1: a mount was not entered (and 1 more)"
    assert found.complete


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1", 1), ("18446744073709551615", 2**64 - 1), ("18446744073709551616", None), ("01", None), ("0", None),
        ("1 ", None), ("+1", None), ("-1", None), ("new-123", None), ("rm-7", None), ("1x", None), ("1\n", None),
        ("\u0661", None), ("9" * 200, None), ("\x1b[31m\udcff", None),
    ],
)  # fmt: skip
def test_only_the_name_that_containerd_writes_is_a_number(read, name, number):
    """A directory stands for a row only under the decimal number that containerd would print."""
    (entry,) = read(name, rows=rows(7)).entries
    assert (entry.name, entry.id, entry.is_directory) == (os.fsencode(name), number, True)
    assert entry.path.endswith(b"/snapshots/" + os.fsencode(name))


def test_files_and_links_among_the_directories(read, tmp_path):
    """They are entries and no directories, and a link is not followed."""
    read("1", rows=rows(1))
    place = tmp_path / (SNAPSHOTTER_PREFIX.decode() + "overlayfs") / "snapshots"
    (place / "note.txt").write_bytes(b"x")
    (place / "2").symlink_to("/etc")
    os.mkfifo(place / "3")
    backend = read(rows=rows(1, 2, 3), recorded=False)
    assert {entry.name: entry.is_directory for entry in backend.entries} == {
        b"1": True, b"2": False, b"3": False, b"note.txt": False,
    }  # fmt: skip
    assert {entry.allocated for entry in backend.entries if entry.name == b"2"} == {0}
    assert backend.complete


@pytest.mark.parametrize("database", [None, {}, {b"v1": {}}])
def test_directories_and_no_rows(read, database):
    """A metadata.db that is lost or emptied proves nothing about the directories: a blind spot."""
    backend = read("1", rows=database)
    assert not backend.complete
    assert [finding.severity for finding in backend.findings] == [Severity.BLIND]
    assert "may be lost" in backend.findings[0].message


def test_rows_that_are_all_gone_are_an_answer(read):
    """A bucket of rows that is empty says that there are none: the directory has no row."""
    backend = read("1", rows={b"v1": {b"snapshots": {}, b"parents": {}}})
    assert (backend.complete, backend.sequence, len(backend.entries)) == (True, 0, 1)


@pytest.mark.parametrize("database", [None, {}, rows(1)])
def test_no_directories(read, database):
    """A folder without snapshots/ has none; rows are read all the same."""
    backend = read(rows=database)
    assert (backend.complete, backend.entries, len(backend.rows)) == (True, [], 1 if database == rows(1) else 0)


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_folder_that_is_none_is_a_blind_spot(read, tmp_path, kind):
    """snapshots/ as a link (an operator's, to another disk) is not followed."""
    home = tmp_path / (SNAPSHOTTER_PREFIX.decode() + "overlayfs")
    home.mkdir()
    (tmp_path / "elsewhere/9").mkdir(parents=True)
    (home / "snapshots").symlink_to(tmp_path / "elsewhere") if kind == "link" else (home / "snapshots").touch()
    backend = read(rows=rows(1))
    assert (backend.complete, backend.entries) == (False, [])


def test_what_vanishes_while_it_is_listed_is_a_blind_spot(read, monkeypatch):
    """A name that is listed and then not there: something else writes here."""
    monkeypatch.setattr(reader, "names", lambda descriptor: [b"gone"])  # noqa: ARG005 - names' signature
    assert not read("1", rows=rows(1)).complete


def test_btrfs_has_a_folder_for_each_kind(read, tmp_path):
    """What is in each of them is listed, with its path; the committed one comes last."""
    for part in ("active", "view"):
        (tmp_path / f"{SNAPSHOTTER_PREFIX.decode()}btrfs/{part}/5").mkdir(parents=True)
    found = read("5", snapshotter="btrfs", rows=rows(5))
    assert [entry.path.rpartition(b".v1.")[2] for entry in found.entries] == [
        b"btrfs/view/5", b"btrfs/active/5", b"btrfs/snapshots/5",
    ]  # fmt: skip
    assert found.complete


@pytest.mark.parametrize(
    ("snapshotter", "kind"),
    [
        ("overlayfs", LayoutKind.OVERLAY), ("fuse-overlayfs", LayoutKind.OVERLAY), ("native", LayoutKind.NATIVE),
        ("btrfs", LayoutKind.FOREIGN), ("erofs", LayoutKind.EROFS), ("stargz", LayoutKind.FOREIGN),
        ("overlayfs2", LayoutKind.FOREIGN), ("\x1b", LayoutKind.FOREIGN),
    ],
)  # fmt: skip
def test_layouts(read, snapshotter, kind):
    """Which are understood; a directory of another is listed, and neither measured nor a blind spot."""
    assert LayoutKind.of(snapshotter.encode()) is kind
    backend = read("5", snapshotter=snapshotter)
    assert backend.layout is kind
    assert (backend.entries[0].allocated is None) == (kind is LayoutKind.FOREIGN)
    assert backend.complete == (kind is LayoutKind.FOREIGN)


def test_recorded_sizes_spare_committed_directories_only(read):
    """A committed row with a size is believed when that is asked for; all else is measured."""
    measured = {entry.name: entry.allocated for entry in read("1", "2", rows=rows(1)).entries}
    assert measured[b"1"] is None
    assert measured[b"2"] >= 9000
    measured = {entry.name: entry.allocated for entry in read(rows=rows(1), recorded=False).entries}
    assert measured[b"1"] == measured[b"2"] >= 9000
    active = {entry.name: entry.allocated for entry in read(rows=rows(1, kind=2)).entries}
    assert active[b"1"] == measured[b"1"]


def test_progress_tells_every_directory(read):
    """One for each, of as many as there are."""
    told = []
    read(*map(str, range(1, 8)), rows=rows(1), progress=lambda *step: told.append(step))
    assert sum(done for _, done, _ in told) == 7
    assert {(what, total) for what, _, total in told} == {("snapshots of overlayfs", 7)}

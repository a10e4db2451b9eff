"""What is moved to quarantine can be moved back, and only a fit place is taken."""

import os
import subprocess

import pytest
from tests.support.privilege import needs_root
from tests.support.store import BLOBS, Store

from drydock.model.errors import Refused
from drydock.model.plans import Status
from drydock.reclaim.quarantine import open_quarantine, put_back, remove_emptied
from drydock.reclaim.recognition import Quarantined
from drydock.reclaim.root_dir import open_root_dir


@pytest.fixture
def store(tmp_path):
    """A root with one of each kind."""
    made = Store(tmp_path / "root")
    made.paths = [made.add_blob(), made.add_ingest(), made.add_snapshot("5")]
    return made


@pytest.fixture
def root_dir(store):
    """The open root."""
    opened = open_root_dir(store.root)
    yield opened
    opened.close()


@pytest.fixture
def room(tmp_path):
    """A directory on the same file system."""
    path = tmp_path / "quarantine"
    path.mkdir()
    return path


def test_there_and_back(store, root_dir, room):
    """Quarantined away, the store holds none of it; put back, it is as it was, contents, modes and inodes."""
    before = store.list()
    removals = [store.aim(path) for path in store.paths]
    quarantine = open_quarantine(os.fsencode(room), root_dir, "run")
    places = [quarantine.place(removal) for removal in removals]
    assert [quarantine.take(root_dir, removal).status for removal in removals] == [Status.DONE] * 3
    quarantine.close()
    assert not any((store.path / path).exists() for path in store.paths)
    assert all(os.path.lexists(place) for place in places)
    outcomes = [
        put_back(root_dir, Quarantined(removal), place) for removal, place in zip(removals, places, strict=True)
    ]
    assert [outcome.status for outcome in outcomes] == [Status.DONE] * 3
    assert store.list() == before
    assert [(store.path / path).lstat().st_ino for path in store.paths] == [r.expect.inode for r in removals]


@pytest.mark.parametrize(
    ("run", "place"),
    [
        ("quarantine", "quarantine/a/b"),
        ("quarantine/20260101T000000Z-7", "quarantine/20260101T000000Z-7/../mine/b"),
        ("quarantine/20260101T000000Z-7", "quarantine/20260101T000000Z-7/link/b"),
        ("quarantine/20260101T000000Z-7", "mine/b"),
    ],
)
def test_no_folder_goes_that_no_run_made(room, tmp_path, run, place):
    """What is called otherwise, lies elsewhere, or is reached by a link or by .. stays, whatever a journal says."""
    for each in ("quarantine/20260101T000000Z-7/kept/in", "quarantine/mine", "quarantine/a", "mine", "elsewhere"):
        (tmp_path / each).mkdir(parents=True, exist_ok=True)
    (room / "20260101T000000Z-7/link").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    remove_emptied(os.fsencode(tmp_path / run), [os.fsencode(f"{tmp_path}/{place}")])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_was_moved_stays(room):
    """An empty directory is data too: only the folders that were made for it go, and none while it is there."""
    folder = room / "20260101T000000Z-7"
    (folder / "snapshots/5").mkdir(parents=True)
    (folder / "blobs").mkdir()
    places = [os.fsencode(folder / name) for name in ("snapshots/5", "snapshots/5/fs", "blobs/one")]
    remove_emptied(os.fsencode(folder), places)
    assert sorted(folder.rglob("*")) == [folder / "snapshots", folder / "snapshots/5"]
    (folder / "snapshots/5").rmdir()
    remove_emptied(os.fsencode(folder), places)
    assert list(room.iterdir()) == []


def test_nothing_is_overwritten(store, root_dir, room):
    """A place that is taken again is not put back over, and a second way back finds nothing."""
    removal = store.aim(store.paths[0])
    quarantine = open_quarantine(os.fsencode(room), root_dir, "run")
    quarantine.take(root_dir, removal)
    (store.path / store.paths[0]).write_bytes(b"pulled again")
    outcome = put_back(root_dir, Quarantined(removal), quarantine.place(removal))
    assert (outcome.status, outcome.detail) == (Status.FAILED, "something else is in its place")
    assert (store.path / store.paths[0]).read_bytes() == b"pulled again"
    os.unlink(quarantine.place(removal))
    assert put_back(root_dir, Quarantined(removal), quarantine.place(removal)).status is Status.FAILED
    quarantine.close()


def test_a_change_keeps_it_in_the_store(store, root_dir, room):
    """The fingerprint is checked before a move as before a cut."""
    removal = store.aim(store.paths[0])
    (store.path / store.paths[0]).write_bytes(b"other")
    quarantine = open_quarantine(os.fsencode(room), root_dir, "run")
    assert quarantine.take(root_dir, removal).status is Status.CHANGED
    quarantine.close()
    assert (store.path / store.paths[0]).read_bytes() == b"other"


@pytest.mark.parametrize("place", ["root", f"root/{BLOBS}", "missing", "file", "link", "open"])
def test_an_unfit_place_is_refused(store, root_dir, room, tmp_path, place):
    """The store itself, nothing, a file, a link, and a directory that anybody may change are refused."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(room)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    before = store.list()
    with pytest.raises(Refused):
        open_quarantine(os.fsencode(tmp_path / place), root_dir, "run")
    assert store.list() == before


def test_what_lies_on_another_disk_is_refused(store, root_dir, room):
    """A snapshotter's folder can have one of its own: nothing there can be renamed, so nothing is begun."""
    aims = [store.aim(path) for path in store.paths]
    other = aims[-1]._replace(expect=aims[-1].expect._replace(device=aims[-1].expect.device + 1))
    with pytest.raises(Refused, match=r"is not on the file system of io\.containerd\.snapshotter"):
        open_quarantine(os.fsencode(room), root_dir, "run", [*aims, other])
    assert not any(room.iterdir())


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_another_mount_is_refused(root_dir, room, kind):
    """Another file system, and another mount of the same one, take no rename: refused before anything is moved."""
    what = ["-t", "tmpfs", "none"] if kind == "tmpfs" else ["--bind", room]
    subprocess.run(["mount", *what, room], check=True)
    try:
        with pytest.raises(Refused, match="not on the file system"):
            open_quarantine(os.fsencode(room), root_dir, "run")
    finally:
        subprocess.run(["umount", room], check=True)


def test_a_place_that_is_not_there_has_to_be_made(root_dir, tmp_path):
    """It is not made: a mistyped path would take the data out of sight."""
    with pytest.raises(Refused, match="does not exist: make that folder first"):
        open_quarantine(os.fsencode(tmp_path / "absent"), root_dir, "run")
    assert not (tmp_path / "absent").exists()

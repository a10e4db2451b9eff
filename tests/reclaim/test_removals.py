"""A cut removes what the plan saw and nothing else."""

import contextlib
import os
import stat
import subprocess

import pytest
from tests.support.privilege import needs_root
from tests.support.store import BLOBS, INGEST, SNAPSHOTS, Store

from drydock.evidence.files import openat2
from drydock.model.plans import Status, Target
from drydock.reclaim import knife, removals
from drydock.reclaim.root_dir import open_root_dir


@pytest.fixture
def store(tmp_path):
    """A root with one of each kind that stays."""
    made = Store(tmp_path / "root")
    made.add_blob("00" * 32)
    made.add_ingest("11" * 32)
    made.add_snapshot("1")
    return made


@pytest.fixture
def root_dir(store):
    """The open root."""
    opened = open_root_dir(store.root)
    yield opened
    opened.close()


@pytest.fixture(params=["openat2", "walk"])
def way(request, monkeypatch):
    """Both ways to open a path, which must leave no descriptor behind."""
    if request.param == "walk":
        monkeypatch.setattr(openat2, "has_openat2", lambda: False)
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", ["blob", "ingest", "snapshot"])
def test_removes_one_thing(store, root_dir, kind):
    """Each kind goes whole and alone, and frees what du counted."""
    before = store.list()
    path = getattr(store, f"add_{kind}")()
    size = int(
        subprocess.run(["du", "-s", "-B1", store.path / path], check=True, capture_output=True).stdout.split()[0]
    )
    outcome = removals.remove(root_dir, store.aim(path))
    assert (outcome.status, outcome.freed) == (Status.DONE, size)
    assert store.list() == before


def test_a_snapshot_dies_under_another_name(store, root_dir, monkeypatch):
    """A directory whose removal is cut short is no longer called by its number."""
    removal = store.aim(store.add_snapshot("7"))
    (store.path / SNAPSHOTS / "rm-7").mkdir()

    def die(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(knife, "unlink", die)
    with pytest.raises(KeyboardInterrupt):
        removals.remove(root_dir, removal)
    assert sorted(os.listdir(store.path / SNAPSHOTS)) == ["1", "rm-7", "rm-7-1"]
    monkeypatch.undo()
    assert removals.remove(root_dir, store.aim(f"{SNAPSHOTS}/rm-7-1")).status is Status.DONE
    assert sorted(os.listdir(store.path / SNAPSHOTS)) == ["1", "rm-7"]


def test_the_longest_name_can_still_be_prefixed(store, root_dir):
    """A name of 255 bytes leaves room for nothing, and goes all the same."""
    assert removals.remove(root_dir, store.aim(store.add_snapshot("n" * 255))).status is Status.DONE
    assert os.listdir(store.path / SNAPSHOTS) == ["1"]


def test_a_file_among_snapshots_is_unlinked(store, root_dir):
    """What is no directory there is removed too, as containerd does."""
    (store.path / SNAPSHOTS / "stray").write_text("x")
    assert removals.remove(root_dir, store.aim(f"{SNAPSHOTS}/stray")).status is Status.DONE


@pytest.mark.parametrize("field", ["device", "inode", "size", "mtime_ns", "ctime_ns", "mode"])
def test_nothing_is_cut_when_the_fingerprint_differs(store, root_dir, field):
    """Each field of the fingerprint alone keeps the knife away."""
    for path in (store.add_blob(), store.add_ingest(), store.add_snapshot()):
        removal = store.aim(path)
        changed = removal.expect._replace(**{field: getattr(removal.expect, field) ^ 1})
        outcome = removals.remove(root_dir, removal._replace(expect=changed))
        assert outcome.status is Status.CHANGED
        assert outcome.detail
        assert (store.path / path).exists()


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda path: path.write_bytes(b"other"), "its size and mtime and ctime changed"),
        (lambda path: path.chmod(0o600), "its mode and ctime changed"),
        (lambda path: os.link(path, path.parent / "link"), "its ctime changed"),
        (lambda path: (path.rename(path.parent / "x"), path.write_bytes(b"y")), "something else is there now"),
        (lambda path: (path.rename(path.parent / "x"), path.symlink_to("x")), "something else is there now"),
    ],
)
def test_a_real_change_is_noticed(store, root_dir, change, detail):
    """What a process can do to a blob after the plan is noticed and named."""
    removal = store.aim(store.add_blob())
    change(store.path / os.fsdecode(removal.path))
    outcome = removals.remove(root_dir, removal)
    assert (outcome.status, outcome.detail) == (Status.CHANGED, detail)
    assert os.path.lexists(store.path / os.fsdecode(removal.path))


@pytest.mark.usefixtures("way")
def test_what_is_gone_is_gone(store, root_dir):
    """A thing that is not there any more, or whose folder is not, is no failure."""
    removal = store.aim(store.add_blob())
    (store.path / os.fsdecode(removal.path)).unlink()
    assert removals.remove(root_dir, removal).status is Status.GONE
    (store.path / BLOBS).rename(store.path / "elsewhere")
    assert removals.remove(root_dir, removal).status is Status.GONE


def test_a_swap_at_the_last_moment_is_taken_back(store, root_dir, monkeypatch):
    """When the directory is exchanged between the look and the rename, the wrong one gets its name back, unharmed."""
    removal = store.aim(store.add_snapshot("7"))
    place = store.path / SNAPSHOTS / "7"
    real = knife.move
    calls = []

    def move(*arguments):
        if not calls:
            place.rename(store.path / "aside")
            (place / "precious").mkdir(parents=True)
        calls.append(arguments)
        real(*arguments)

    monkeypatch.setattr(knife, "move", move)
    assert removals.remove(root_dir, removal).status is Status.CHANGED
    assert (place / "precious").is_dir()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("target", "path"),
    [
        (Target.BLOB, BLOBS),
        (Target.BLOB, "io.containerd.content.v1.content/blobs"),
        (Target.BLOB, "io.containerd.metadata.v1.bolt/meta.db"),
        (Target.INGEST, INGEST),
        (Target.SNAPSHOT, SNAPSHOTS),
        (Target.SNAPSHOT, "io.containerd.snapshotter.v1.overlayfs/metadata.db"),
        (Target.SNAPSHOT, f"{SNAPSHOTS}/1/fs"),
        (Target.SNAPSHOT, f"{SNAPSHOTS}/../snapshots/1"),
        (Target.SNAPSHOT, f"/{SNAPSHOTS}/1"),
        (Target.INGEST, f"{INGEST}/.."),
        (Target.INGEST, f"{INGEST}/"),
    ],
)
def test_a_forged_path_reaches_nothing(store, root_dir, target, path):
    """Only entries of the three folders can be named: not the folders, not databases, not what lies deeper."""
    (store.path / "io.containerd.metadata.v1.bolt").mkdir()
    (store.path / "io.containerd.metadata.v1.bolt" / "meta.db").touch()
    (store.path / "io.containerd.snapshotter.v1.overlayfs" / "metadata.db").touch()
    before = store.list()
    info = (store.path / path.lstrip("/")).stat()
    removal = store.aim(f"{SNAPSHOTS}/1")._replace(target=target, path=path.encode())
    removal = removal._replace(expect=removal.expect._replace(inode=info.st_ino, mode=info.st_mode))
    assert removals.remove(root_dir, removal).status is Status.FAILED
    assert store.list() == before


@pytest.mark.usefixtures("way")
def test_a_symlink_on_the_way_is_not_followed(store, root_dir):
    """A folder replaced by a link to the very same folder is refused."""
    removal = store.aim(store.add_blob())
    blobs = store.path / BLOBS
    blobs.rename(store.path / "moved")
    blobs.symlink_to(store.path / "moved")
    outcome = removals.remove(root_dir, removal)
    assert (outcome.status, outcome.detail) == (
        Status.FAILED,
        "part of its path is a symbolic link, or not a directory",
    )


@pytest.mark.root
@needs_root
@pytest.mark.usefixtures("way")
def test_a_mount_on_the_way_is_crossed_only_when_the_plan_saw_it(store, root_dir, tmp_path):
    """A snapshotter on its own disk can be cleaned; a bind mount of the same device on the way cannot."""
    snapshots = store.path / SNAPSHOTS
    subprocess.run(["mount", "-t", "tmpfs", "none", snapshots], check=True)
    try:
        assert removals.remove(root_dir, store.aim(store.add_snapshot("7"))).status is Status.DONE
    finally:
        subprocess.run(["umount", snapshots], check=True)
    other = Store(tmp_path / "other")
    other.add_snapshot("7")
    subprocess.run(["mount", "--bind", other.path / SNAPSHOTS, snapshots], check=True)
    try:
        outcome = removals.remove(root_dir, store.aim(f"{SNAPSHOTS}/7"))
        assert (outcome.status, outcome.detail) == (Status.FAILED, "something is mounted on its path")
    finally:
        subprocess.run(["umount", snapshots], check=True)
    assert (other.path / SNAPSHOTS / "7" / "fs").is_dir()


@pytest.mark.root
@needs_root
def test_leftovers_are_named_with_their_place_and_remedy(store, root_dir):
    """What stands in the way is said, with where it now is; the rest is gone; a flag on the top keeps the name."""
    path = store.path / store.add_snapshot("7")
    flagged = path / "fs" / "etc" / "file1"
    if subprocess.run(["chattr", "+i", flagged], check=False, capture_output=True).returncode:
        pytest.skip("this file system has no immutable flag")
    removal = store.aim(f"{SNAPSHOTS}/7")
    outcome = removals.remove(root_dir, removal)
    doomed = store.path / SNAPSHOTS / "rm-7"
    subprocess.run(["chattr", "-i", doomed / "fs" / "etc" / "file1"], check=True)
    assert outcome.status is Status.FAILED
    assert outcome.detail == (
        f"1 left in {SNAPSHOTS}/rm-7: fs/etc/file1: it is immutable: clear the flag with chattr -R -i -a"
    )
    assert os.listdir(doomed / "fs" / "etc") == ["file1"]
    subprocess.run(["chattr", "+i", doomed], check=True)
    try:
        again = removals.remove(root_dir, store.aim(f"{SNAPSHOTS}/rm-7"))
    finally:
        subprocess.run(["chattr", "-i", doomed], check=True)
    assert again.status is Status.FAILED
    assert "immutable" in again.detail


@pytest.mark.root
@needs_root
def test_a_full_disk_gets_its_space_back(tmp_path):
    """On an ext4 filled to the last block, a folder too full for longer names included, everything can be removed."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    disk.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m0", "-b1024", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    try:
        store = Store(disk / "root")
        names = [f"{number:0200}" for number in range(60)]
        paths = [store.add_snapshot(name, files=5) for name in names] + [store.add_blob(), store.add_ingest()]
        with contextlib.suppress(OSError), open(disk / "fill", "wb", buffering=0) as file:
            while file.write(b"\0" * 1024):
                pass
        # Each block of the folder is filled by its own share of the names, so that all are tried.
        for length in (250, 225, 203):
            for number in range(1000):
                with contextlib.suppress(OSError):
                    (store.path / SNAPSHOTS / f"{number:0{length}}").touch()
        before = os.statvfs(disk)
        root_dir = open_root_dir(store.root)
        outcomes = [removals.remove(root_dir, store.aim(path)) for path in paths]
        root_dir.close()
        assert {outcome.status for outcome in outcomes} == {Status.DONE}
        os.sync()
        after = os.statvfs(disk)
        assert (after.f_bfree - before.f_bfree) * 1024 >= sum(outcome.freed for outcome in outcomes) * 0.95
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFDIR])
def test_junk_among_blobs_goes(store, root_dir, kind):
    """A FIFO or a directory in the place of a blob is junk that stops the engine's collector; it can be removed."""
    junk = store.path / BLOBS / "junk"
    os.mkfifo(junk) if kind == stat.S_IFIFO else (junk / "deep").mkdir(parents=True)
    assert removals.remove(root_dir, store.aim(f"{BLOBS}/junk", Target.BLOB)).status is Status.DONE
    assert not os.path.lexists(junk)

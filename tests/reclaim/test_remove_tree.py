"""A tree that a container left goes away whatever is in it, and nothing outside of it is touched."""

import contextlib
import hashlib
import os
import re
import socket
import stat
import subprocess
import sys
import time

import pytest
from tests.support.privilege import needs_root

from drydock.evidence.files import openat2
from drydock.reclaim import knife
from drydock.reclaim.remove_tree import LISTED, RemovalStopped, remove_tree

DEPTH = 10_000


@pytest.fixture(params=["openat2", "walk"])
def way(request, monkeypatch):
    """Both ways to open a directory: the kernel's, and the one for kernels or filters without it."""
    if request.param == "walk":
        monkeypatch.setattr(openat2, "has_openat2", lambda: False)
    return request.param


@pytest.fixture
def canary(tmp_path):
    """A tree outside of the doomed one that must not change."""
    outside = tmp_path / "outside"
    (outside / "deep" / "deeper").mkdir(parents=True)
    for name in ("a", "deep/b", "deep/deeper/c"):
        (outside / name).write_bytes(name.encode())
    before = hash_tree(outside)
    yield outside
    assert hash_tree(outside) == before


@pytest.fixture
def doomed(tmp_path):
    """An empty directory to fill and remove."""
    path = tmp_path / "store" / "rm-1"
    path.mkdir(parents=True)
    return path


def hash_tree(top):
    """One hash over names, types, modes, link counts, times and contents."""
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(files) + folders:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            digest.update(repr((path, info.st_mode, info.st_nlink, info.st_mtime_ns, info.st_ino)).encode())
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()


def remove(path, **options):
    """Remove as apply does, and see that no descriptor is left open."""
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    before = len(os.listdir("/proc/self/fd"))
    try:
        return remove_tree(parent, os.fsencode(path.name), **options)
    finally:
        assert len(os.listdir("/proc/self/fd")) == before, "descriptors are left open"
        os.close(parent)


def dig(top, depth):
    """A chain of ``depth`` directories, made without a long path."""
    fd = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


@pytest.mark.usefixtures("way")
def test_removes_any_name_and_any_kind(doomed, canary):
    """Hostile names, links to everywhere, sockets, FIFOs, sparse files and hard links go; their targets stay."""
    names = [b"x" * 255, b"\xff\xfe", b"new\nline", b"\x1b[31mred", "bidi\u202e".encode(), b"-rf", b"*", b" ", b"\\x41"]
    for name in names:
        os.mkdir(os.fsencode(doomed) + b"/" + name)
        with open(os.fsencode(doomed) + b"/" + name + b"/" + name, "wb") as file:
            file.write(b"data")
    for number, target in enumerate(["/", ".", "..", str(canary), f"{canary}/deep", "loop", "/nowhere"]):
        (doomed / f"link{number}").symlink_to(target)
    (doomed / "loop").symlink_to("loop")
    os.mkfifo(doomed / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(doomed)
        server.bind("socket")
        os.chdir("/")
    with open(doomed / "sparse", "wb") as file:
        file.truncate(1 << 40)
    os.link(canary / "a", canary.parent / "second")
    os.link(canary.parent / "second", doomed / "hard")
    os.unlink(canary.parent / "second")
    removed = remove(doomed)
    assert removed.left == []
    assert not doomed.exists()
    assert removed.entries == 2 * len(names) + 7 + 5 + 1


def test_counts_a_block_when_its_last_link_goes(doomed, tmp_path):
    """Bytes are those that the file system gets back: once for links inside, not at all for one with a link outside."""
    (doomed / "a").write_bytes(b"x" * 100_000)
    os.link(doomed / "a", doomed / "b")
    (doomed / "kept").write_bytes(b"x" * 50_000)
    os.link(doomed / "kept", tmp_path / "elsewhere")
    expected = (doomed / "a").stat().st_blocks * 512 + doomed.stat().st_blocks * 512
    assert remove(doomed).freed == expected


def test_agrees_with_du(doomed):
    """What du calls the tree's size is what its removal frees."""
    for number in range(50):
        (doomed / f"d{number}").mkdir()
        (doomed / f"d{number}" / "f").write_bytes(b"y" * number * 700)
    du = int(subprocess.run(["du", "-s", "-B1", doomed], check=True, capture_output=True).stdout.split()[0])
    assert remove(doomed).freed == du


@pytest.mark.usefixtures("way")
def test_is_not_bound_by_depth(doomed):
    """Ten thousand levels go without ten thousand descriptors, and siblings on the way are not forgotten."""
    fd = dig(doomed, DEPTH)
    os.mkdir("last", dir_fd=fd)
    os.close(fd)
    fd = os.open(doomed, os.O_RDONLY)
    for _ in range(200):
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.mkdir("sibling", dir_fd=below)
        os.close(fd)
        fd = below
    os.close(fd)
    removed = remove(doomed)
    assert removed.left == []
    assert removed.entries == DEPTH + 1 + 200 + 1


def test_holds_few_descriptors(doomed, monkeypatch):
    """Far down no more than a window of descriptors is open."""
    os.close(dig(doomed, 500))
    most = 0
    real = knife.rmdir

    def count(name, *, dir_fd):
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(knife, "rmdir", count)
    before = len(os.listdir("/proc/self/fd"))
    remove(doomed)
    assert 30 < most - before < 40


@pytest.mark.parametrize("depth", [0, 300])
def test_removes_a_wide_directory(doomed, depth):
    """More subdirectories than are kept in mind at once are all removed, near the top and far down."""
    fd = dig(doomed, depth)
    for number in range(9000):
        os.mkdir(f"wide{number}", dir_fd=fd)
    os.close(fd)
    removed = remove(doomed)
    assert removed.left == []
    assert removed.entries == 9000 + depth + 1


@pytest.mark.root
@needs_root
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", ["bind", "tmpfs", "deep bind"])
def test_does_not_enter_a_mount(doomed, canary, kind):
    """A bind mount of the same device and a tmpfs inside are left, named, and the rest goes."""
    place = doomed / "fs" / "mnt"
    place.mkdir(parents=True)
    (doomed / "fs" / "file").write_text("goes")
    command = ["mount", "-t", "tmpfs", "none", place] if kind == "tmpfs" else ["mount", "--bind", canary, place]
    subprocess.run(command, check=True)
    try:
        if kind == "tmpfs":
            (place / "inside").write_text("stays")
        removed = remove(doomed)
        assert [(left.path, left.reason) for left in removed.left] == [
            ("fs/mnt", "something is mounted there: umount it")
        ]
        assert removed.left_count == 1
        assert not (doomed / "fs" / "file").exists()
        if kind == "tmpfs":
            assert (place / "inside").read_text() == "stays"
    finally:
        subprocess.run(["umount", place], check=True)
    assert remove(doomed).left == []


@pytest.mark.root
@needs_root
def test_a_file_used_as_a_mount_point_is_left(doomed, canary):
    """A file bound over another is reported; the file under it and the one above it stay."""
    (doomed / "point").write_text("under")
    subprocess.run(["mount", "--bind", canary / "a", doomed / "point"], check=True)
    try:
        removed = remove(doomed)
        assert [(left.path, left.reason) for left in removed.left] == [("point", "it is in use as a mount point")]
    finally:
        subprocess.run(["umount", doomed / "point"], check=True)


@pytest.mark.root
@needs_root
@pytest.mark.parametrize(("flag", "word"), [("i", "immutable"), ("a", "append-only")])
def test_reports_flags_and_goes_on(doomed, flag, word):
    """An immutable or append-only file or directory stays with its remedy; everything else goes."""
    for name in ("one", "two"):
        (doomed / name).mkdir()
        (doomed / name / "file").write_text("x")
    (doomed / "gone").write_text("x")
    flagged = [doomed / "one" / "file", doomed / "two"]
    done = subprocess.run(["chattr", f"+{flag}", *flagged], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"chattr: {done.stderr.decode().strip()}")
    try:
        removed = remove(doomed)
        assert sorted(left.path for left in removed.left) == ["one/file", "two/file"]
        assert all(word in left.reason and "chattr" in left.reason for left in removed.left)
        assert not (doomed / "gone").exists()
    finally:
        subprocess.run(["chattr", f"-{flag}", *flagged], check=True)
    assert remove(doomed).left == []


@pytest.mark.root
@needs_root
def test_removes_devices_and_whiteouts(doomed):
    """Device nodes and overlay's 0:0 whiteouts are entries like others: never opened."""
    os.mknod(doomed / "whiteout", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    os.mknod(doomed / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 200))
    os.mknod(doomed / "tty", stat.S_IFCHR | 0o600, os.makedev(4, 60))
    assert remove(doomed).left == []


@pytest.mark.root
@needs_root
def test_attributes_of_overlay_lead_nowhere(doomed, canary):
    """Opaque directories and redirects are removed where they are: what a redirect names is not looked at."""
    (doomed / "opaque").mkdir()
    (doomed / "moved").mkdir()
    (doomed / "moved/file").write_bytes(b"x")
    os.setxattr(doomed / "opaque", "trusted.overlay.opaque", b"y")
    os.setxattr(doomed / "moved", "trusted.overlay.redirect", os.fsencode(canary))
    os.setxattr(doomed / "moved/file", "trusted.overlay.metacopy", b"")
    assert remove(doomed).left == []
    assert not doomed.exists()


@pytest.mark.root
@needs_root
@pytest.mark.usefixtures("way")
def test_a_user_gets_through_own_locked_directories(doomed):
    """Without root, directories of the user's own without any permission are opened up and removed."""
    inner = doomed / "locked" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    for path in (doomed.parent, doomed, doomed / "locked", inner, inner / "file"):
        os.chown(path, 1234, 1234)
    for path, mode in ((inner, 0), (doomed / "locked", 0o500)):
        path.chmod(mode)
    with as_user(doomed):
        removed = remove(doomed)
    assert removed.left == []
    assert not doomed.exists()


@pytest.mark.root
@needs_root
def test_a_user_leaves_what_others_own(doomed):
    """Without root, a directory of someone else stays, and the owner is named."""
    (doomed / "theirs").mkdir(mode=0o700)
    (doomed / "mine").mkdir()
    for path in (doomed.parent, doomed, doomed / "mine"):
        os.chown(path, 1234, 1234)
    (doomed / "theirs" / "file").write_text("x")
    with as_user(doomed):
        removed = remove(doomed)
    assert [(left.path, left.reason) for left in removed.left] == [("theirs", "owned by uid 0")]
    assert not (doomed / "mine").exists()


class as_user:  # noqa: N801 - reads as a statement
    """Runs the block with uid 1234 and a path that it can reach."""

    def __init__(self, path):
        self._path = path

    def __enter__(self):
        for folder in self._path.parents:
            if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o005:
                folder.chmod(folder.stat().st_mode | 0o755)
        os.seteuid(1234)

    def __exit__(self, *_):
        os.seteuid(0)


def test_nothing_happens_to_a_symlink_given_as_the_tree(tmp_path, canary):
    """A name that is a symbolic link is refused, not followed and not removed."""
    link = tmp_path / "link"
    link.symlink_to(canary)
    with pytest.raises(OSError, match=r"symbolic|directory"):
        remove(link)
    assert link.is_symlink()


def test_identity_is_checked(doomed):
    """Another directory under the same name is left alone."""
    (doomed / "file").write_text("x")
    info = doomed.stat()
    with pytest.raises(OSError, match="another directory"):
        remove(doomed, identity=(info.st_dev, info.st_ino + 1))
    assert (doomed / "file").exists()


def test_a_directory_moved_out_is_not_followed_back_wrongly(doomed, tmp_path, monkeypatch):
    """When a deep directory is moved away during the walk, '..' leads elsewhere: that is reported."""
    os.close(dig(doomed, 100))
    outside = tmp_path / "outside"
    (outside / "precious").mkdir(parents=True)
    path = doomed.joinpath(*["d"] * 40)
    real = knife.rmdir
    calls = 0

    def rmdir(name, *, dir_fd):
        nonlocal calls
        calls += 1
        if calls == 5:
            os.rename(path, outside / "moved")
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(knife, "rmdir", rmdir)
    removed = remove(doomed)
    assert [left.reason for left in removed.left] == ["it was moved while being removed"]
    assert (outside / "precious").is_dir()
    assert not doomed.exists()


def test_gives_up_on_a_directory_that_is_being_filled(doomed, monkeypatch):
    """Someone who keeps writing does not keep the removal from ending."""
    real = knife.rmdir

    def rmdir(name, *, dir_fd):
        if name == "busy":
            os.mkdir(f"busy/{time.monotonic_ns()}", dir_fd=dir_fd)
        real(name, dir_fd=dir_fd)

    (doomed / "busy").mkdir()
    (doomed / "other").mkdir()
    monkeypatch.setattr(knife, "rmdir", rmdir)
    removed = remove(doomed)
    assert removed.left_count == 1
    assert re.search("not empty", removed.left[0].reason)
    assert os.listdir(doomed) == ["busy"]


def test_names_a_bounded_number_of_leftovers(doomed, monkeypatch):
    """Thousands of entries that cannot go give a short list and a true count."""

    def refuse(name, *, dir_fd):
        raise PermissionError(1, "Operation not permitted")

    for number in range(3000):
        (doomed / f"{number}").touch()
    monkeypatch.setattr(knife, "unlink", refuse)
    removed = remove(doomed)
    assert removed.left_count == 3000
    assert len(removed.left) == LISTED


def test_stops_when_asked(doomed):
    """Asked to stop, it raises and leaves the rest, with no descriptor open."""
    (doomed / "one").mkdir()
    with pytest.raises(RemovalStopped):
        remove(doomed, stop=lambda: True)
    assert (doomed / "one").is_dir()


@pytest.mark.slow
@pytest.mark.usefixtures("way")
def test_a_directory_swapped_for_a_symlink_leads_nowhere(doomed, canary):
    """For seconds a process swaps directories with links to the outside while they are removed; the outside stays."""
    links = doomed.parent / "links"
    links.mkdir()
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, doomed, links])
    try:
        swaps = rounds = 0
        end = time.monotonic() + (60 if "DRYDOCK_TEST_LONG" in os.environ else 2)
        while time.monotonic() < end:
            doomed.mkdir(exist_ok=True)
            for number in range(4):
                # Built aside and renamed: a path through the place itself might already lead outside.
                fresh = doomed.parent / "fresh"
                (fresh / "deep" / "deeper").mkdir(parents=True)
                (fresh / "deep" / "b").touch()
                with contextlib.suppress(OSError):
                    os.rename(fresh, doomed / f"d{number}")
                subprocess.run(["rm", "-rf", fresh], check=True)
                with contextlib.suppress(FileExistsError):
                    (links / f"d{number}").symlink_to(canary)
            remove(doomed)
            rounds += 1
            swaps += any(
                (links / f"d{number}").is_dir() and not (links / f"d{number}").is_symlink() for number in range(4)
            )
            subprocess.run(["rm", "-rf", links, doomed], check=False, stderr=subprocess.DEVNULL)
            links.mkdir(exist_ok=True)
    finally:
        swapper.kill()
        swapper.wait()
    assert rounds > 5
    assert swaps > 0, "the race was never run"


SWAPPER = """
import ctypes, os, sys
call = ctypes.CDLL(None).renameat2
pairs = [(os.fsencode(f"{sys.argv[1]}/d{n}"), os.fsencode(f"{sys.argv[2]}/d{n}")) for n in range(4)]
while True:
    for one, other in pairs:
        call(-100, one, -100, other, 2)
"""

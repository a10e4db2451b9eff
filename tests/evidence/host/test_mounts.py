"""Mounts that use a root, told by real mounts in this and in other mount namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from tests.support.kept import keep
from tests.support.privilege import needs_root
from tests.support.proc import python, running, shell

from drydock.evidence.files.mountinfo import MountEntry, NamespaceView
from drydock.evidence.host import mounts
from drydock.evidence.host.mounts import _folders, _MountSearch, users
from drydock.model.names import RawPath
from drydock.model.roots import Engine, Root

pytestmark = pytest.mark.xdist_group("host")
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"


@pytest.fixture
def store(tmp_path):
    """A containerd root with three snapshots."""
    path = tmp_path / "sto re"
    for number in (1, 2, 3):
        (path / SNAPSHOTS / str(number) / "fs").mkdir(parents=True)
        (path / SNAPSHOTS / str(number) / "work").mkdir()
    return path


def root(path):
    """The root as a value."""
    return Root(RawPath(os.fsencode(path)), Engine.CONTAINERD)


def in_namespace(code):
    """A child that runs ``code`` in a mount namespace of its own."""
    return running(["unshare", "-m", "sh", "-c", shell(code)])


def overlay(store, where, lower, upper="3"):
    """A mount command for an overlay of the store's snapshots."""
    base = store / SNAPSHOTS
    lowers = ":".join(f"{base}/{each}/fs" for each in lower)
    options = f"lowerdir={lowers}"
    if upper:
        options += f",upperdir={base}/{upper}/fs,workdir={base}/{upper}/work"
    return f"mount -t overlay overlay -o '{options}' {where}"


@pytest.mark.root
@needs_root
@pytest.mark.parametrize(("lower", "upper", "snapshot"), [("12", "3", b"1"), ("2", "3", b"2"), ("21", "", b"2")])
def test_overlay_in_another_namespace(store, tmp_path, lower, upper, snapshot):
    """An overlay of the root's snapshots counts wherever it is mounted; a root beside it is free."""
    (tmp_path / "merged").mkdir()
    (tmp_path / "other").mkdir()
    with in_namespace(overlay(store, tmp_path / "merged", lower, upper)) as child:
        (mount,) = users(root(store))
        assert (mount.point, mount.snapshot) == (os.fsencode(tmp_path / "merged"), snapshot)
        assert mount.namespace == os.stat(f"/proc/{child.pid}/ns/mnt").st_ino
        assert "overlay" in mount.why
        assert users(root(tmp_path / "other")) == []
    assert users(root(store)) == []


@pytest.mark.root
@needs_root
def test_relative_lower_folders(store, tmp_path):
    """Lower folders relative to ``snapshots``, as containerd mounts long lists, count."""
    (tmp_path / "merged").mkdir()
    # It counts for any root with snapshots of these numbers: no store of a test that runs meanwhile has them.
    for number in (70001, 70002):
        (store / SNAPSHOTS / str(number) / "fs").mkdir(parents=True)
    command = f"cd '{store}/{SNAPSHOTS}'; mount -t overlay overlay -o lowerdir=70002/fs:70001/fs '{tmp_path}/merged'"
    with in_namespace(command):
        (mount,) = users(root(store))
        assert mount.snapshot == b"70002"


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_layers_of_the_classic_store(tmp_path, form):
    """Overlays of dockerd count, which name links in l; what is mounted in the rest of the data root does not."""
    base, writable = "9d" * 32, "9e" * 32
    overlay2 = tmp_path / "docker/overlay2"
    for folder in (f"{base}/diff", f"{writable}/diff", f"{writable}/work", "l", f"{writable}/merged"):
        (overlay2 / folder).mkdir(parents=True)
    link = "SWEEP" + os.urandom(8).hex().upper()[:21].ljust(21, "A")
    (overlay2 / "l" / link).symlink_to(f"../{base}/diff")
    for folder in ("docker/containers/x/mounts/shm", "docker/containerd/daemon", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    used = Root(
        RawPath(os.fsencode(tmp_path / "docker/containerd/daemon")),
        Engine.DOCKER,
        docker=(RawPath(os.fsencode(tmp_path / "docker")),),
    )
    shm = f"mount -t tmpfs shm '{tmp_path}/docker/containers/x/mounts/shm'"
    with in_namespace(shm):
        assert users(used) == []
    where = "" if form == "relative" else f"{overlay2}/"
    options = f"lowerdir={where}l/{link},upperdir={where}{writable}/diff,workdir={where}{writable}/work"
    with in_namespace(f"cd '{overlay2}'; mount -t overlay overlay -o '{options}' '{tmp_path}/elsewhere'"):
        (mount,) = users(used)
        assert (mount.point, mount.snapshot) == (os.fsencode(tmp_path / "elsewhere"), None)
        assert mount.why == f"is an overlay with lowerdir {where}l/{link}"
    with in_namespace(f"cd '{overlay2}'; mount -t overlay overlay -o '{options}' '{overlay2}/{writable}/merged'"):
        assert [each.why for each in users(used)] == ["is mounted inside it"]
    assert users(used) == []


@pytest.mark.root
@needs_root
def test_relative_lower_folders_below_an_upper_folder_elsewhere(store, tmp_path):
    """Relative lower folders count as well where the upper one is a path, of no root."""
    (store / SNAPSHOTS / "70003/fs").mkdir(parents=True)
    top = tmp_path / "top"
    top.mkdir()
    command = (
        f"mount -t tmpfs none '{top}'; mkdir '{top}/u' '{top}/w' '{top}/m'; cd '{store}/{SNAPSHOTS}'\n"
        f"mount -t overlay overlay -o 'lowerdir=70003/fs,upperdir={top}/u,workdir={top}/w' '{top}/m'"
    )
    with in_namespace(command):
        assert [mount.snapshot for mount in users(root(store))] == [b"70003"]


@pytest.fixture
def other(store, tmp_path):
    """A root beside ``store``, and three snapshots that both have."""
    for path in (store, tmp_path / "other"):
        for number in (70001, 70002, 70003):
            (path / SNAPSHOTS / str(number) / "fs").mkdir(parents=True)
            (path / SNAPSHOTS / str(number) / "work").mkdir()
    return tmp_path / "other"


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "chroot"])
def test_relative_lower_folders_of_another_root(store, other, tmp_path, inside):
    """A running container of another root is none of this one's, by the mount itself and by what the container sees."""
    merged = tmp_path / "merged"
    merged.mkdir()
    base = other / SNAPSHOTS
    options = f"lowerdir=70002/fs:70001/fs,upperdir={base}/70003/fs,workdir={base}/70003/work"
    code = (
        "import ctypes, os; libc = ctypes.CDLL(None); os.chdir(sys.argv[1])\n"
        "assert libc.mount(b'overlay', sys.argv[2].encode(), b'overlay', 0, sys.argv[3].encode()) == 0\n"
        f"{inside} and os.chroot(sys.argv[2]); os.chdir('/')"
    )
    with running(["unshare", "-m", *python(code, base, merged, options)]):
        assert users(root(store)) == []
        (mount,) = users(root(other))
        assert (mount.point, mount.snapshot) == (b"/" if inside else os.fsencode(merged), b"70003")


@pytest.mark.parametrize("doubt", ["", "no lower", "no upper", "linked lower", "linked snapshots", "no store"])
def test_whose_relative_lower_folders_are(store, other, tmp_path, doubt):
    """They are beside the upper folder where all are there and none is the root's; else they may be the root's."""
    snapshots = other / SNAPSHOTS
    views = [NamespaceView(os.getpid(), 0, (0, 0))]
    upper = snapshots / "70003/fs"
    if doubt in ("no lower", "linked lower"):
        shutil.rmtree(snapshots / "70002")
    if doubt == "linked lower":
        (snapshots / "70002").symlink_to(store / SNAPSHOTS / "70002")
    if doubt == "no upper":
        shutil.rmtree(snapshots / "70003")
    if doubt == "linked snapshots":
        shutil.rmtree(snapshots)
        snapshots.symlink_to(store / SNAPSHOTS)
    if doubt == "no store":
        upper = other / "fs"
        upper.mkdir()
    entry = MountEntry(
        1,
        b"0:1",
        b"/",
        b"/x",
        b"overlay",
        ((b"lowerdir", b"70002/fs:70001/fs"), (b"upperdir", os.fsencode(upper))),
    )
    judged = _MountSearch(root(store), views).judge(views[0], entry)
    assert judged == (("is an overlay with lowerdir 70002/fs", b"70002") if doubt else None)


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("name", ["a\rb", "a\nb", "a\x0bb"])
def test_line_ends_in_a_name(store, tmp_path, name):
    """A mount point counts whatever bytes its name has: the kernel escapes some of them only."""
    (tmp_path / name).mkdir()
    with in_namespace(f"mount --bind '{store}/{SNAPSHOTS}/2/fs' '{tmp_path}/{name}'"):
        assert [mount.point for mount in users(root(store))] == [os.fsencode(tmp_path / name)]


@pytest.mark.root
@needs_root
def test_the_same_text_in_another_namespace(store, tmp_path):
    """An overlay whose folders have the same path, but lie in another store, does not count."""
    (tmp_path / "merged").mkdir()
    subprocess.run(["cp", "-a", store, tmp_path / "copy"], check=True)
    with in_namespace(f"mount --bind '{tmp_path}/copy' '{store}'; {overlay(store, tmp_path / 'merged', '12')}"):
        assert users(root(store)) == []
        assert users(root(tmp_path / "copy")) != []


CONTAINER = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    assert libc.mount(*arguments) == 0, (arguments, os.strerror(ctypes.get_errno()))
shown, real, base, options, merged = map(os.fsencode, sys.argv[1:])
call(b"none", b"/", None, 0x44000, None)
call(real, shown, None, 0x5000, None)
os.chdir(base)
call(b"overlay", merged, b"overlay", 0, options)
os.chdir(merged)
os.path.isdir("old") or os.mkdir("old")
assert libc.syscall({"x86_64": 155, "aarch64": 41}[os.uname().machine], b".", b"old") == 0
os.chroot(".")
os.chdir("/")
assert libc.umount2(b"/old", 2) == 0
"""
"""A container as runc makes it, below another host's root: its only mount is an overlay, at ``/`` (pivot_root(2))."""


def in_container(shown, real, merged, options):
    """A process whose root folder is an overlay that was mounted where ``shown`` is a mount of ``real``."""
    return running(["unshare", "-m", *python(CONTAINER, shown, real, shown / SNAPSHOTS, options, merged)])


def options_of(store, form, numbers=(70001, 70002, 70003)):
    """Mount options as containerd gives them, for the same snapshots of any store at this path."""
    base, (one, two, top) = store / SNAPSHOTS, numbers
    lower = f"{two}/fs:{one}/fs" if form == "relative" else f"{base}/{two}/fs:{base}/{one}/fs"
    if form == "read-only":
        return f"lowerdir={lower}"
    return f"lowerdir={lower},upperdir={base}/{top}/fs,workdir={base}/{top}/work"


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("form", ["absolute", "relative", "read-only"])
@pytest.mark.parametrize(
    "whose", ["another store", "another disk", "fewer snapshots", "this store", "this store, renamed"]
)
def test_a_container_below_another_root_folder(tmp_path, store, other, form, whose):
    """Its overlay's options are the root's paths; whether the folders are tells what is mounted, by inode."""
    for path in (store, other):
        (path / SNAPSHOTS / "70001/fs/old").mkdir()
        (path / SNAPSHOTS / "70002/fs/etc").mkdir()
    (tmp_path / "merged").mkdir()
    if whose == "another disk":
        (tmp_path / "disk").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "disk"], check=True)
        subprocess.run(["cp", "-a", other, tmp_path / "disk/other"], check=True)
        other = tmp_path / "disk/other"
    real = store if whose.startswith("this store") else other
    try:
        with in_container(store, real, tmp_path / "merged", options_of(store, form)):
            if whose == "fewer snapshots":
                shutil.rmtree(store / SNAPSHOTS / "70003")
            if whose == "this store, renamed":
                # An upper folder that went under the mount: the lower ones are still in use.
                (store / SNAPSHOTS / "70003").rename(store / "gone")
            found = users(root(store))
            assert [mount.point for mount in found] == ([b"/"] if whose.startswith("this store") else [])
    finally:
        if whose == "another disk":
            subprocess.run(["umount", tmp_path / "disk"], check=True)


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("kind", ["a folder elsewhere", "a mounted layer"])
def test_a_container_of_several_file_systems_may_be_the_roots(tmp_path, store, kind):
    """Inode numbers of such an overlay are others than its folders', so its paths count; a layer of erofs is such."""
    erofs = store / "io.containerd.snapshotter.v1.erofs/snapshots"
    shutil.copytree(store / SNAPSHOTS, erofs)
    options = options_of(store, "absolute", (70001, 70002, 70003) if kind == "a folder elsewhere" else (1, 2, 3))
    (tmp_path / "merged").mkdir()
    disk = tmp_path / "disk" if kind == "a folder elsewhere" else erofs / "1/fs"
    disk.mkdir(exist_ok=True)
    for number in (70001, 70002, 70003):
        (store / SNAPSHOTS / str(number) / "fs").mkdir(parents=True)
        (store / SNAPSHOTS / str(number) / "work").mkdir()
    if kind == "a folder elsewhere":
        options = options.replace(f"{store / SNAPSHOTS}/70001/fs", f"{disk}/fs")
    else:
        options = options.replace("overlayfs/", "erofs/")
    subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
    try:
        (disk / "fs").mkdir()
        (disk / "old").mkdir()
        (disk / "fs/old").mkdir()
        with in_container(store, store, tmp_path / "merged", options):
            # The container keeps its own copy of the mount.
            subprocess.run(["umount", disk], check=True)
            assert [mount.point for mount in users(root(store))] == [b"/"]
    finally:
        subprocess.run(["umount", disk], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("hidden", ["mounted over", "unreadable"])
def test_a_container_that_cannot_be_looked_at_may_be_the_roots(tmp_path, store, other, monkeypatch, hidden):
    """Its top folder has another mount over it, or may not be opened: it counts, as by its path it is the root's."""
    (tmp_path / "merged").mkdir()
    if hidden == "unreadable":

        def refuse(path, parent=None):
            if path.startswith(b"/proc/"):
                raise PermissionError(13, "no")
            return opened(path, parent)

        opened = mounts.open_folder
        monkeypatch.setattr(mounts, "open_folder", refuse)
    else:
        monkeypatch.setattr(mounts, "mount_id", lambda _: 1)
    with in_container(store, other, tmp_path / "merged", options_of(store, "absolute")):
        assert [mount.point for mount in users(root(store))] == [b"/"]


@pytest.mark.root
@needs_root
def test_bind_of_a_part(store, tmp_path):
    """A bind mount of a snapshot counts; one of the whole root, or of what holds it, does not."""
    for name in ("part", "whole", "above"):
        (tmp_path / name).mkdir()
    part = f"mount --bind '{store}/{SNAPSHOTS}/2/fs' '{tmp_path}/part'"
    with in_namespace(f"mount --bind '{store}' '{tmp_path}/whole'; mount --bind '{tmp_path}' '{tmp_path}/above'"):
        assert users(root(store)) == []
    with in_namespace(part):
        (mount,) = users(root(store))
        assert (mount.point, mount.snapshot) == (os.fsencode(tmp_path / "part"), b"2")


@pytest.mark.root
@needs_root
def test_mount_inside(store):
    """A mount strictly below the root counts; one at the root itself does not."""
    with in_namespace(f"mount -t tmpfs none '{store}/{SNAPSHOTS}/1/fs'"):
        (mount,) = users(root(store))
        assert (mount.why, mount.snapshot) == ("is mounted inside it", b"1")
    with in_namespace(f"mount --bind '{store}' '{store}'"):
        assert users(root(store)) == []


@pytest.mark.root
@needs_root
def test_root_on_a_mount_of_its_own(store, tmp_path):
    """A root that is a read-only bind mount is free, and shows who uses a part of what it is a mount of."""
    for name in ("capture", "part"):
        (tmp_path / name).mkdir()
    subprocess.run(["mount", "--bind", store, tmp_path / "capture"], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", tmp_path / "capture"], check=True)
        assert users(root(tmp_path / "capture")) == []
        with in_namespace(f"mount --bind '{store}/{SNAPSHOTS}/2/fs' '{tmp_path}/part'"):
            assert [mount.snapshot for mount in users(root(tmp_path / "capture"))] == [b"2"]
    finally:
        subprocess.run(["umount", tmp_path / "capture"], check=True)


@pytest.mark.root
@needs_root
def test_in_a_chroot(store, tmp_path):
    """A mount that a chrooted process made below its own root counts, by the paths that it has there."""
    (tmp_path / "merged").mkdir()
    inner = store.relative_to(tmp_path)
    base = f"/{inner}/{SNAPSHOTS}"
    options = f"lowerdir={base}/1/fs,upperdir={base}/3/fs,workdir={base}/3/work"
    code = (
        "import ctypes, os; libc = ctypes.CDLL(None); os.chroot(sys.argv[1]); os.chdir('/')\n"
        "assert libc.mount(b'overlay', b'/merged', b'overlay', 0, sys.argv[2].encode()) == 0"
    )
    with running(["unshare", "-m", *python(code, tmp_path, options)]) as child:
        (mount,) = users(root(store))
        assert (mount.point, mount.pid, mount.snapshot) == (b"/merged", child.pid, b"1")


@pytest.mark.root
@needs_root
def test_namespace_of_a_thread(store, tmp_path):
    """A mount in a namespace that one thread of a process has to itself counts."""
    (tmp_path / "part").mkdir()
    code = (
        "import ctypes, threading, time; libc = ctypes.CDLL(None); done = threading.Event()\n"
        "def work():\n"
        "    assert libc.unshare(0x20200) == 0 and libc.mount(b'none', b'/', None, 0x44000, None) == 0\n"
        "    assert libc.mount(sys.argv[1].encode(), sys.argv[2].encode(), None, 4096, None) == 0\n"
        "    done.set(); time.sleep(300)\n"
        "threading.Thread(target=work, daemon=True).start(); assert done.wait(60)"
    )
    with running(python(code, store / SNAPSHOTS / "2/fs", tmp_path / "part")) as child:
        (mount,) = users(root(store))
        assert mount.snapshot == b"2"
        assert mount.pid != child.pid
    assert users(root(store)) == []


@pytest.fixture
def keeper(tmp_path):
    """A file that a mount namespace can be mounted on."""
    folder = tmp_path / "kept"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "--make-private", "none", folder], check=True)
    try:
        (folder / "space").touch()
        yield folder / "space"
    finally:
        # Lazily: those beside this one that enter every mount namespace have its file open meanwhile.
        subprocess.run(["umount", "-lR", folder], check=True)


@pytest.mark.root
@needs_root
def test_namespace_without_a_process(store, tmp_path, keeper):
    """A bind mount and an overlay count in a namespace that only a file keeps, by paths of that namespace."""
    for name in ("part", "merged", "other"):
        (tmp_path / name).mkdir()
    moved = f"mount --bind '{store}' '{tmp_path}/other'; {overlay(tmp_path / 'other', tmp_path / 'merged', '12')}"
    keep(keeper, "sh", "-ec", f"mount --bind '{store}/{SNAPSHOTS}/2/fs' '{tmp_path}/part'; {moved}")
    found = {mount.point: mount for mount in users(root(store))}
    assert set(found) == {os.fsencode(tmp_path / name) for name in ("part", "merged")}
    assert {mount.kept for mount in found.values()} == {os.fsencode(keeper)}
    assert {mount.namespace for mount in found.values()} == {keeper.stat().st_ino}
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_lists_of_lower_folders():
    """Every spelling of lower folders is taken apart: colons, escaped ones, data-only layers, one option for each."""
    entry = MountEntry(
        1,
        b"0:1",
        b"/",
        b"/x",
        b"overlay",
        ((b"lowerdir", rb"/a\:b:/c\\d::/data"), (b"lowerdir+", b"/e:f"), (b"index", b"off"), (b"upperdir", b"/u")),
    )
    assert list(_folders(entry)) == [
        (b"lowerdir", b"/a:b"),
        (b"lowerdir", rb"/c\d"),
        (b"lowerdir", b"/data"),
        (b"lowerdir+", b"/e:f"),
        (b"upperdir", b"/u"),
    ]


def test_long_paths_and_lists_end(store):
    """A mount point thousands of folders deep and ten thousand lower folders are judged without trouble."""
    view = NamespaceView(os.getpid(), 0, (0, 0))
    look = _MountSearch(root(store), [view])
    lower = b":".join(b"/nowhere/snapshots/%d/fs" % number for number in range(10_000))
    entry = MountEntry(1, b"0:1", b"/", b"/a" * 5000, b"overlay", ((b"lowerdir", lower),))
    assert look.judge(view, entry) is None

"""Allocated bytes against du(1), on the trees that containers leave."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading

import pytest
from tests.support.privilege import NOBODY, needs_root

from drydock.evidence.files import openat2, sizes
from drydock.evidence.files.directory import folder
from drydock.evidence.files.sizes import Measure

DEPTH = 10_000


@pytest.fixture(params=["openat2", "walk"])
def way(request, monkeypatch):
    """Both ways to open a directory: the kernel's, and the one for kernels or filters without it."""
    if request.param == "walk":
        monkeypatch.setattr(openat2, "has_openat2", lambda: False)
    return request.param


def du(*paths):
    """What du counts for each of several arguments: an inode once over all of them, as it says itself."""
    said = subprocess.run(["du", "-s", "--block-size=1", *paths], capture_output=True, check=False)
    return [int(line.split(b"\t")[0]) for line in said.stdout.splitlines()]


def measured(*paths):
    """The same, measured here."""
    measure = Measure()
    found = []
    for path in paths:
        with folder(bytes(path.parent)) as parent:
            found.append(measure.folder(os.fsencode(path.name), parent))
    return found


@pytest.fixture
def tree(tmp_path):
    """A folder with files of many sizes, links, holes and names."""
    top = tmp_path / "1"
    (top / "fs/etc").mkdir(parents=True)
    for size in (0, 1, 511, 4096, 4097, 1_000_000):
        (top / f"fs/file{size}").write_bytes(b"x" * size)
    os.link(top / "fs/file4097", top / "fs/etc/again")
    (top / "fs/link").symlink_to("/")
    (top / "fs/self").symlink_to("self")
    (top / "fs/long").symlink_to("y" * 3000)
    os.mkfifo(top / "fs/fifo")
    with (top / "fs/sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"x")
    for number, name in enumerate((b"\xff" * 255, b"a\nb", b"\x1b[31m", b"n" * 255)):
        os.makedirs(os.fsencode(top) + b"/fs/" + name)
        (top / "fs" / os.fsdecode(name) / "f").write_bytes(b"z" * 5000 * number)
    return top


def test_a_tree_is_what_du_says(tree, way):
    """Hard links once, holes not, links not followed, any name."""
    (usage,) = measured(tree)
    assert [usage.allocated] == du(tree)
    assert usage.skipped == []
    assert usage.entries == sum(len(folders) + len(files) for _, folders, files in os.walk(tree)) + 1


def test_what_a_row_counts_is_what_du_says(tree, way):
    """Inodes once, the folder itself too; of the whole, and of fs alone, whatever overlay's work has beside it."""
    (tree / "work/work").mkdir(parents=True)
    (usage,) = measured(tree)
    for found, path in ((usage.all, tree), (usage.upper, tree / "fs")):
        said = subprocess.run(["du", "-s", "--inodes", path], capture_output=True, check=False).stdout
        assert (found.inodes, [found.allocated]) == (int(said.split()[0]), du(path))
    assert usage.upper.most > 1 << 40
    (tree / "fs/sparse").unlink()
    (usage,) = measured(tree)
    assert usage.upper.allocated <= usage.upper.most < 2 << 20


def test_a_part_that_is_not_counted_is_not_compared(tree, monkeypatch):
    """Where a folder cannot be opened nothing is said of how much there is."""
    opened = sizes.open_directory

    def closed(parent, name, **more):
        if name == b"etc":
            raise PermissionError(13, "Permission denied")
        return opened(parent, name, **more)

    monkeypatch.setattr(sizes, "open_directory", closed)
    (usage,) = measured(tree)
    assert (usage.all, usage.upper) == (None, None)


def test_hard_links_between_snapshots_count_once(tree):
    """Du counts an inode once over all its arguments; so does a Measure over all its folders."""
    other = tree.parent / "2"
    shutil.copytree(tree, other, symlinks=True, ignore=shutil.ignore_patterns("fifo", "sparse"))
    (other / "fs/file1000000").unlink()
    os.link(tree / "fs/file1000000", other / "fs/file1000000")
    assert [usage.allocated for usage in measured(tree, other)] == du(tree, other)
    assert measured(other)[0].allocated == du(other)[0] > measured(tree, other)[1].allocated


def test_a_file_in_place_of_a_folder(tmp_path):
    """Measured as itself; a link is not followed."""
    (tmp_path / "f").write_bytes(b"x" * 9000)
    (tmp_path / "l").symlink_to("/")
    assert [usage.allocated for usage in measured(tmp_path / "f", tmp_path / "l")] == du(tmp_path / "f", tmp_path / "l")


def test_what_is_not_there(tmp_path):
    """Says so."""
    with pytest.raises(FileNotFoundError):
        measured(tmp_path / "gone")


def test_ten_thousand_levels_with_few_descriptors(tmp_path, way, monkeypatch):
    """A chain deeper than any path is measured whole, and never with more than a bounded number of descriptors."""
    most = 0
    opened = sizes.open_directory

    def counted(*arguments, **options):
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))
        return opened(*arguments, **options)

    monkeypatch.setattr(sizes, "open_directory", counted)
    top = tmp_path / "deep"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    before = len(os.listdir("/proc/self/fd"))
    try:
        (usage,) = measured(top)
        assert [usage.allocated] == du(top)
        assert (usage.entries, usage.skipped) == (DEPTH + 2, [])
        assert most <= before + 140
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        subprocess.run(["rm", "-rf", top], check=True)


def test_a_folder_moved_while_it_is_measured(tmp_path, monkeypatch):
    """The way back up leads elsewhere: the walk ends there, says so, and counts nothing outside."""
    monkeypatch.setattr(sizes, "_OPEN_LEVELS", 2)
    (tmp_path / "1/a/b/c/d/e").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/huge").write_bytes(b"x" * 1_000_000)
    opened = sizes.open_directory

    def moving(parent, name, **options):
        descriptor = opened(parent, name, **options)
        if name == b"e":
            os.rename(tmp_path / "1/a/b/c", tmp_path / "out/c")
        return descriptor

    monkeypatch.setattr(sizes, "open_directory", moving)
    before = len(os.listdir("/proc/self/fd"))
    (usage,) = measured(tmp_path / "1")
    assert usage.skipped == ["a folder was moved while it was measured"]
    assert usage.allocated < 500_000
    assert len(os.listdir("/proc/self/fd")) == before


def test_folders_that_go_while_they_are_measured(tmp_path):
    """Others may delete at the same time: no exception, whatever is missed is said."""
    for number in range(300):
        (tmp_path / f"1/{number}/x").mkdir(parents=True)
    thread = threading.Thread(target=shutil.rmtree, args=(tmp_path / "1",))
    thread.start()
    try:
        (usage,) = measured(tmp_path / "1")
    except FileNotFoundError:
        return
    finally:
        thread.join()
    assert usage.entries + usage.skips >= 1


def test_an_unreadable_folder_is_counted_and_said(tmp_path):
    """The folder itself counts, what is in it does not, the rest does. As a user: root reads everything."""
    (tmp_path / "1/closed/below").mkdir(parents=True)
    (tmp_path / "1/open").mkdir()
    (tmp_path / "1/open/f").write_bytes(b"x" * 5000)
    wanted = du(tmp_path / "1")[0] - du(tmp_path / "1/closed/below")[0]
    (tmp_path / "1/closed").chmod(0)
    tmp_path.chmod(0o755)
    child = os.fork() if os.geteuid() == 0 else -1
    if child > 0:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return
    status = 1
    try:
        # The folders above may be closed to others, so they are entered before the rights go.
        parent = os.open(tmp_path, os.O_RDONLY)
        os.fchdir(parent)
        if child == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        usage = Measure().folder(b"1", parent)
        assert usage.allocated == wanted
        assert usage.skipped == ["a folder could not be opened: Permission denied"]
        status = 0
    finally:
        if child == 0:
            os._exit(status)
    (tmp_path / "1/closed").chmod(0o700)


@needs_root
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_a_mount_is_not_entered(tree, way, kind):
    """Another file system, or a bind mount of the same one: not entered, not counted, and said."""
    before = du(tree)[0]
    point = tree / "fs/mounted"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "none", point] if kind == "tmpfs" else ["mount", "--bind", tree.parent, point]
    subprocess.run(command, check=True)
    try:
        if kind == "tmpfs":
            (point / "f").write_bytes(b"x" * 1_000_000)
        (usage,) = measured(tree)
    finally:
        subprocess.run(["umount", point], check=True)
    assert usage.allocated == before
    assert usage.skipped == ["a mount was not entered"]


def test_reasons_are_bounded(tmp_path, monkeypatch):
    """A container that closes a million folders does not fill memory with reasons; all are counted."""
    for number in range(100, 150):
        (tmp_path / f"1/{number}").mkdir(parents=True)

    def refusing(parent, name, **options):
        if name != b"1":
            raise PermissionError(13, "Permission denied")
        return os.open(name, os.O_RDONLY, dir_fd=parent)

    monkeypatch.setattr(sizes, "open_directory", refusing)
    (usage,) = measured(tmp_path / "1")
    assert (usage.skips, len(usage.skipped)) == (50, 20)
    assert [usage.allocated] == du(tmp_path / "1")

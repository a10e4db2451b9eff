"""Where new pages go, in files with holes and on file systems without a free byte."""

import errno
import fcntl
import os
import shutil
import subprocess
from functools import partial

import pytest
from tests.support import boltwriter, gobbolt
from tests.support.full_disk import fill
from tests.support.surgery import changed, dump, edit, told, tree, undo, without

from bbolt_surgery import Deletion, Insertion, NotCommitted, settle
from bbolt_surgery.space import Space

pytestmark = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")

PAGE = 4096
GONE = [Deletion((b"b",), b"%03d" % number) for number in range(0, 200, 5)]


def subject(path, free):
    """A file of a few dozen pages, with some free."""
    return boltwriter.write(
        path, {b"b": {b"%03d" % number: b"v" * 300 for number in range(200)}}, free=free, extra=PAGE
    )


def punch(path, start, count):
    """Take the blocks of pages away; what lies there reads as zeros."""
    where = ["--offset", str(start * PAGE), "--length", str(count * PAGE)]
    subprocess.run(["fallocate", "--punch-hole", *where, path], check=True)


def settled(path):
    """Settle a file."""
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        return settle(fd, os.fsencode(path))
    finally:
        os.close(fd)


@pytest.fixture
def full(tmp_path, request):
    """A file system of four MiB of the type asked for, and how to fill it to the last byte."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder = tmp_path / "mounted"
    folder.mkdir()
    kind = request.param
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    else:
        if shutil.which(f"mkfs.{kind}") is None:
            pytest.skip(f"mkfs.{kind} is not installed")
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(8 << 20)
        subprocess.run([f"mkfs.{kind}", "-q", "-m", "0", image], check=True)
        command = ["mount", "-o", "loop", image, folder]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount {kind}: {mounted.stderr.decode(errors='replace').strip()}")
    yield folder, partial(fill, folder)
    subprocess.run(["umount", folder], check=True)


KINDS = pytest.mark.parametrize("full", ["tmpfs", "ext4", "ext2"], indirect=True)


@pytest.mark.root
@KINDS
def test_edits_with_no_byte_free(full):
    """If the free pages suffice, an edit and its undoing need no block."""
    folder, fill = full
    path = folder / "file.db"
    subject(path, free=40)
    before = dump(path)
    fill()
    receipt = edit(path, GONE)
    assert receipt.grew_by == 0
    assert gobbolt.dump(path) == without(before, GONE)
    assert gobbolt.check(path) == (0, "")
    undo(path, receipt)
    assert gobbolt.dump(path) == before


@pytest.mark.root
@KINDS
def test_goes_round_holes_with_no_byte_free(full):
    """Free pages without blocks are left alone while others have some, and are an error, not a loss, when none has."""
    folder, fill = full
    path = folder / "file.db"
    layout = subject(path, free=60)
    before = dump(path)
    for start, count in ((2, 5), (9, 3), (40, 22)):
        punch(path, start, count)
    fill()
    assert layout.high_water > 60
    receipt = edit(path, GONE)
    assert receipt.hwm_after == receipt.hwm_before
    assert gobbolt.dump(path) == without(before, GONE)
    assert gobbolt.check(path) == (0, "")


@pytest.mark.root
@KINDS
@pytest.mark.parametrize("free", [0, 30])
def test_says_so_when_the_file_would_have_to_grow(full, free):
    """With no free page, or with holes for free pages, on a full file system: the old contents, and the old size."""
    folder, fill = full
    path = folder / "file.db"
    subject(path, free=free)
    before, size = dump(path), path.stat().st_size  # first, as mapping a hole gives it blocks on a tmpfs
    if free:
        punch(path, 2, free)
    fill()
    with pytest.raises(NotCommitted) as raised:
        edit(path, GONE)
    assert raised.value.errno == errno.ENOSPC
    assert path.stat().st_size == size
    assert gobbolt.dump(path) == before
    assert gobbolt.check(path) == (0, "")
    for ballast in folder.glob("ballast*"):
        ballast.unlink()
    edit(path, GONE)
    assert gobbolt.dump(path) == without(before, GONE)


@pytest.mark.root
@KINDS
def test_the_older_tree_gives_room(full):
    """Once both metas have the same tree, its former pages are free for an edit that had no room; contents stay."""
    folder, fill = full
    path = folder / "file.db"
    subject(path, free=25)
    edit(path, GONE)
    before, size = dump(path), path.stat().st_size
    more = [Deletion((b"b",), b"%03d" % number) for number in range(1, 200, 5)]
    os.sync()
    fill()
    with pytest.raises(NotCommitted):
        edit(path, more)
    assert [settled(path), settled(path)] == [True, False]
    assert gobbolt.dump(path) == before
    edit(path, more)
    assert path.stat().st_size == size
    assert gobbolt.dump(path) == without(before, more)
    assert gobbolt.check(path) == (0, "")


@pytest.mark.root
@KINDS
def test_what_is_put_in_needs_room(full):
    """Where the pages for it are not to be had, every byte stays; with room the same call goes through."""
    folder, fill = full
    path = folder / "file.db"
    subject(path, free=3)
    new = [Insertion((b"b",), b"new-%03d" % number, b"w" * 300) for number in range(60)]
    image, model = path.read_bytes(), tree(path)
    fill()
    with pytest.raises(NotCommitted) as raised:
        edit(path, [], new)
    assert raised.value.errno == errno.ENOSPC
    assert path.read_bytes() == image
    for ballast in folder.glob("ballast*"):
        ballast.unlink()
    changed(model, [], new)
    assert len(edit(path, [], new).inserted) == len(new)
    assert gobbolt.dump(path) == told(model)
    assert gobbolt.check(path) == (0, "")


def test_takes_pages_with_blocks_first(tmp_path):
    """Then those in holes, then those past the high water; each once, and runs only where there is one."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(64 * PAGE)
        for start, count in ((4, 3), (20, 2), (30, 1)):
            file.seek(start * PAGE)
            file.write(b"x" * count * PAGE)
        file.seek(40 * PAGE + PAGE // 2)
        file.write(b"x")
    fd = os.open(path, os.O_RDONLY)
    try:
        space = Space(fd, PAGE, [(2, 12), (18, 8), (30, 12)], 64)
        three = space.take(3)
        single = {space.take(1) for _ in range(3)}
        rest = [space.take(1) for _ in range(32 - 6)]
        assert three == 4
        assert single <= {20, 21, 30, 40}  # how much of page 40 has blocks is up to the file system
        assert sorted([4, 5, 6, *single, *rest]) == [*range(2, 14), *range(18, 26), *range(30, 42)]
        assert space.high_water == 64
        assert (space.take(5), space.take(1), space.high_water) == (64, 69, 70)
    finally:
        os.close(fd)

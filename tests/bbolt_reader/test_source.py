"""Bytes of a file: read without taking anything from the file system, and little of memory."""

import mmap
import os
import re
import subprocess

import pytest
from tests.support.boltwriter import write

from bbolt_reader import Database
from bbolt_reader.source import RESIDENT, Source
from bbolt_reader.verify import verify

MIB = 1 << 20


def resident():
    """Bytes of mapped files in this process's memory, as the kernel counts them."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return int(re.search(r"RssFile:\s+(\d+) kB", lines.read())[1]) << 10


@pytest.mark.root
def test_reading_gives_a_hole_no_blocks(tmp_path):
    """On a tmpfs a mapping that is touched would turn holes into blocks: a scan must not fill a disk."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=True)
    try:
        path = tmp_path / "meta.db"
        write(path, {b"v1": {b"%d" % number: b"x" * 100 for number in range(20_000)}}, free=700, extra=8 << 20)
        with path.open("r+b") as file:
            # Free pages become holes, as a database has them that grew and was not written to everywhere.
            data = file.read()
            hole = data.find(bytes(2 << 20))
            assert hole > 0
        subprocess.run(["fallocate", "--dig-holes", str(path)], check=True)
        before = path.stat().st_blocks
        assert before * 512 < path.stat().st_size
        with Database.open(path) as database:
            assert list(verify(database)) == []
            assert sum(1 for _ in database.root.bucket(b"v1").items()) == 20_000
            assert database.source.mapping is not None
        assert path.stat().st_blocks == before
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_closed_source_says_so(tmp_path):
    """Closing twice does nothing; reading after it is an error with the file's name."""
    path = tmp_path / "x.db"
    write(path, {b"a": {b"b": b"c"}})
    database = Database.open(path)
    database.close()
    database.close()
    with pytest.raises(Exception, match="closed"):
        database.page(2)
    assert os.path.exists(path)


def test_stretches(tmp_path):
    """What was written, by the file system's blocks, and nothing of the holes; an empty file has none."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(10 * MIB)
        for at in (0, 5 * MIB, 10 * MIB - 1):
            file.seek(at)
            file.write(b"x")
    source = Source.open(bytes(path), mapped=False)
    found = list(source.stretches())
    assert [start for start, _ in found] == [0, 5 * MIB, found[-1][0]]
    assert found[-1][0] < found[-1][1] == 10 * MIB
    assert sum(end - start for start, end in found) < MIB
    source.close()
    path.write_bytes(b"")
    assert list(Source.open(bytes(path), mapped=False).stretches()) == []
    os.truncate(path, MIB)
    assert list(Source.open(bytes(path), mapped=False).stretches()) == []


@pytest.fixture
def large(tmp_path):
    """A file of three times what may stay."""
    path = tmp_path / "large"
    path.write_bytes(b"x" * (3 * RESIDENT * MIB))
    return path


def test_reading_on_takes_no_more_than_a_part(large):
    """From the beginning to the end: never much more than RESIDENT chunks; every byte is right."""
    source = Source.open(bytes(large), mapped=True)
    before, most = resident(), 0
    for offset in range(0, source.size, MIB):
        buffer, start = source.window(offset, 4096, 0)
        assert type(buffer) is mmap.mmap
        assert buffer[start : start + 4096] == b"x" * 4096
        most = max(most, resident())
    source.close()
    assert most - before <= (RESIDENT + 8) * MIB


def test_a_released_database_is_read_again(tmp_path):
    """What was given back is there again when it is asked for."""
    path = tmp_path / "db"
    write(path, {b"v1": {b"key %d" % number: b"x" * 1000 for number in range(2000)}})
    with Database.open(path) as database:
        first = [dict(bucket.items()) for _, bucket in database.root.buckets()]
        database.release()
        assert [dict(bucket.items()) for _, bucket in database.root.buckets()] == first
        assert len(first[0]) == 2000


def test_a_bounded_source_stays_small_in_any_order(large):
    """From the end to the beginning, which gives nothing back in between: what is not mapped is read, and right."""
    source = Source.open(bytes(large), mapped=True)
    bounded = Source(os.open(large, os.O_RDONLY), bytes(large), owned=True, mapped=True, bounded=True)
    before, most = resident(), 0
    for offset in range(bounded.size - MIB, -1, -MIB):
        buffer, start = bounded.window(offset, 4096, 0)
        assert buffer[start : start + 4096] == b"x" * 4096
        most = max(most, resident())
    bounded.close()
    assert most - before <= (RESIDENT + 8) * MIB
    for offset in range(source.size - MIB, -1, -MIB):
        source.window(offset, 4096, 0)
    assert resident() - before > 2 * RESIDENT * MIB
    source.close()

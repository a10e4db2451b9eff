"""The memory that a mapped file takes."""

import mmap
import re

import pytest
from tests.support.boltwriter import write

from bbolt_reader import Database
from bbolt_reader.source import RESIDENT, Source

MIB = 1 << 20


def resident():
    """Bytes of mapped files in this process's memory, as the kernel counts them."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return int(re.search(r"RssFile:\s+(\d+) kB", lines.read())[1]) << 10


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

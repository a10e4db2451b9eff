"""Bytes of a file: read without taking anything from the file system."""

import os
import subprocess

import pytest
from tests.support.boltwriter import write

from bbolt_reader import Database
from bbolt_reader.verify import verify


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

"""What is read is what Go's bbolt reads, for files that Go wrote."""

import pytest
from tests.support import gobbolt

from bbolt_reader import Bucket, Database

pytestmark = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")

SHAPES = ["empty", "flat", "nested", "inline", "overflow", "deleted", "mixed", "mixed-nofreelist", "blobs"]


def dumped(bucket: Bucket) -> str:
    """A bucket in the words of the Go program dump."""
    lines = [f"bucket / {bucket.sequence}"]

    def walk(bucket):
        for key, value in bucket.items():
            name = "/".join(part.hex() for part in (*bucket.path, key))
            if isinstance(value, bytes):
                lines.append(f"key {name} {value.hex()}")
            else:
                lines.append(f"bucket {name} {value.sequence}")
                walk(value)

    walk(bucket)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("page_size", [1024, 4096, 65536])
@pytest.mark.parametrize("shape", SHAPES)
def test_reads_what_go_reads(tmp_path, shape, page_size):
    """Every key, value and sequence of every bucket, in the same order, for each shape of file."""
    path = gobbolt.fill(tmp_path / "file.db", shape, page_size)
    with Database.open(path) as database:
        assert dumped(database.root) == gobbolt.dump(path)


def test_reads_twenty_thousand_keys(tmp_path):
    """The same for trees of several branch levels."""
    path = gobbolt.fill(tmp_path / "file.db", "flat", 1024, 20_000)
    with Database.open(path) as database:
        assert dumped(database.root) == gobbolt.dump(path)
        flat = database.root.bucket(b"flat")
        assert flat.sequence == 1 << 40
        assert len(list(flat.items())) == 20_000

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


@pytest.mark.parametrize("mapped", [True, False])
def test_batches_are_the_items(tmp_path, mapped):
    """A page at a time: the same keys and values in the same order, and each bucket among the values once more."""
    path = gobbolt.fill(tmp_path / "file.db", "mixed", 1024)

    def walk(bucket):
        batches = list(bucket.batches())
        items = list(bucket.items())
        assert [key for keys, _, _ in batches for key in keys] == [key for key, _ in items]
        values = [value for _, values, _ in batches for value in values]
        assert [value for value in values if isinstance(value, bytes)] == [value for _, value in bucket.values()]
        buckets = [below for _, _, buckets in batches for below in buckets]
        assert buckets == [value for value in values if isinstance(value, Bucket)]
        assert [below.path for below in buckets] == [(*bucket.path, key) for key, _ in bucket.buckets()]
        return len(items) + sum(map(walk, buckets))

    with Database.open(path, mapped=mapped) as database:
        assert walk(database.root) == sum(not line.endswith(" / 0") for line in gobbolt.dump(path).splitlines())


def test_reads_twenty_thousand_keys(tmp_path):
    """The same for trees of several branch levels."""
    path = gobbolt.fill(tmp_path / "file.db", "flat", 1024, 20_000)
    with Database.open(path) as database:
        assert dumped(database.root) == gobbolt.dump(path)
        flat = database.root.bucket(b"flat")
        assert flat.sequence == 1 << 40
        assert len(list(flat.items())) == 20_000

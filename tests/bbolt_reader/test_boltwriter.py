"""The files our tests are made of are good bbolt files: Go says so."""

import pytest
from tests.support import boltwriter, gobbolt

pytestmark = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")

TREE = {
    b"v1": {
        b"version": b"\x06",
        b"moby": {b"content": {b"blob": {b"sha256:%064x" % i: {b"size": b"\x02", b"labels": {}} for i in range(300)}}},
        b"empty": {},
    },
    b"big": {b"k": b"v" * 20_000, b"l" * 3000: b"", b"m" * 3001: b"x"},
}
SEQUENCES = {(): 4, (b"v1",): 3, (b"v1", b"empty"): 2**63, (b"v1", b"moby", b"content", b"blob"): 17}


def dumped(tree, sequences, path=()):
    """The tree as the Go program dump prints it."""
    for key in sorted(tree):
        here = (*path, key)
        name = "/".join(part.hex() for part in here)
        if isinstance(tree[key], bytes):
            yield f"key {name} {tree[key].hex()}"
        else:
            yield f"bucket {name} {sequences.get(here, 0)}"
            yield from dumped(tree[key], sequences, here)


@pytest.mark.parametrize("page_size", [1024, 4096, 65536])
@pytest.mark.parametrize("options", [{}, {"freelist": False}, {"inline": False}, {"free": 5, "fill": 0.5}])
def test_writes_what_go_reads(tmp_path, page_size, options):
    """Go's check finds nothing, and Go reads every key, value and sequence that was asked for."""
    path = tmp_path / "file.db"
    boltwriter.write(path, TREE, page_size=page_size, sequences=SEQUENCES, **options)
    assert gobbolt.check(path) == (0, "")
    assert gobbolt.dump(path) == "\n".join(["bucket / 4", *dumped(TREE, SEQUENCES)]) + "\n"


def test_keeps_its_promise_about_metas(tmp_path):
    """A patched meta that counts is a valid one again."""
    path = tmp_path / "file.db"
    boltwriter.write(path, TREE, sequences=SEQUENCES).patch_meta(sequence=9)
    assert gobbolt.dump(path).startswith("bucket / 9\n")

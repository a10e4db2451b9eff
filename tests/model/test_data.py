"""What lies on disk, as values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drydock.model.data import BlobFile, BlobFiles, Fingerprint, WorkerBlobFile
from drydock.model.names import Digest

DIGEST = Digest(b"sha256:" + b"0" * 64)
NUMBERS = st.integers(0, 2**64 - 1)
TIMES = st.integers(-(2**63) * 10**9, (2**63 - 1) * 10**9)


@given(
    st.builds(Fingerprint, NUMBERS, NUMBERS, st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1), TIMES, TIMES),
    st.integers(0, 2**63 - 1),
)
def test_what_is_known_of_a_blob_comes_back(fingerprint, allocated):
    """Every number that a file can have, times before 1970 and after 2262 too: a cut compares them."""
    file = BlobFile.of(DIGEST, fingerprint, allocated)
    assert (file.fingerprint, file.size, file.allocated) == (fingerprint, fingerprint.size, allocated)
    assert file.path == b"io.containerd.content.v1.content/blobs/sha256/" + b"0" * 64


@given(
    st.dictionaries(st.sampled_from([b"sha256:" + b"%064x" % number for number in range(9)]), st.tuples(*[NUMBERS] * 2))
)
def test_the_files_of_all_blobs_are_what_each_is(numbers):
    """Kept in columns, each file comes back as it was, of its class; one that is not among them is missing."""
    for kind in (BlobFile, WorkerBlobFile):
        files = {
            Digest(digest): kind.of(Digest(digest), Fingerprint(1, inode, 0o100644, size // 2, 3, -4), size // 3)
            for digest, (inode, size) in numbers.items()
        }
        columns = BlobFiles.of(files)
        assert BlobFiles.of(columns) is columns
        assert (columns, len(columns), list(columns)) == (files, len(files), sorted(files))
        assert {type(file) for file in columns.values()} <= {kind if files else BlobFile}
        for digest, file in files.items():
            place = columns.place(digest)
            assert (columns.digests[place], columns.amount(place)) == (digest, (file.size, file.allocated))
        assert columns.get(DIGEST[:-1] + b"f") is columns.place(DIGEST[:-1] + b"f") is None
        assert columns.keys() >= set(files)

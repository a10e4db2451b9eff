"""What lies on disk, as values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drydock.model.data import BlobFile, Fingerprint
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

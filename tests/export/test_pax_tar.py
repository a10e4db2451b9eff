"""Archives as other programs read them."""

import io
import subprocess
import tarfile

import pytest

from drydock.export.pax_tar import Archive


@pytest.mark.parametrize("size", [0, (8 << 30) - 1, 8 << 30, 300 << 30])
def test_the_size_of_a_blob(size, tmp_path):
    """A header has room for 8 GiB; layers are larger. Python and GNU tar read what is written."""
    written = io.BytesIO()
    archive = Archive(written, pytest.fail)
    archive.begin_file(b"blobs/sha256/" + b"0" * 64, size)
    (tmp_path / "head.tar").write_bytes(written.getvalue())
    with tarfile.open(tmp_path / "head.tar") as tar:
        member = tar.next()
        assert member is not None
        assert (member.name, member.size) == ("blobs/sha256/" + "0" * 64, size)
    # Its data is not there, which it says after the list.
    said = subprocess.run(["tar", "-tvf", tmp_path / "head.tar"], capture_output=True, check=False, text=True).stdout
    assert said.split()[2] == str(size)

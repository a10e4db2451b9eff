"""Copies of databases: the same bytes, holes kept, private; a copy that cannot be made is an error that says so."""

import errno
import os
from pathlib import Path

import pytest

from drydock.model.errors import ActionFailed
from drydock.model.names import RawPath
from drydock.reclaim.edit import back_up


@pytest.fixture
def folder(tmp_path):
    """An open state directory."""
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd, RawPath(os.fsencode(tmp_path))
    os.close(fd)


def test_the_copy_is_the_same_and_has_the_same_holes(folder, tmp_path):
    """Data, hole, data, hole: as many bytes, the same ones, and not more blocks; mode 0600."""
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.write(b"a" * 5000)
        file.seek(1 << 20)
        file.write(b"b" * 5000)
        file.truncate(8 << 20)
    with source.open("rb") as file:
        copy = back_up(file.fileno(), b"copy", *folder)
    assert Path(os.fsdecode(copy)).read_bytes() == source.read_bytes()
    info = os.stat(copy)
    assert info.st_mode & 0o777 == 0o600
    assert info.st_blocks * 512 < 1 << 20


def test_nothing_is_written_over(folder, tmp_path):
    """A file or a link of that name stands in the way: an error, and it is as it was."""
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "copy").symlink_to(tmp_path / "target")
    with (tmp_path / "target").open("rb") as file, pytest.raises(ActionFailed, match="nothing was edited"):
        back_up(file.fileno(), b"copy", *folder)
    assert (tmp_path / "target").read_bytes() == b"precious"


def test_no_room(folder, tmp_path, monkeypatch):
    """The disk fills while it is copied: the error says that nothing was edited."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "source").write_bytes(b"x" * 100)
    monkeypatch.setattr(os, "pwrite", full)
    with (
        (tmp_path / "source").open("rb") as file,
        pytest.raises(ActionFailed, match=r"No space left.*was edited"),
    ):
        back_up(file.fileno(), b"copy", *folder)

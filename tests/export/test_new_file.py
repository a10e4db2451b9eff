"""The file of an export: complete or missing, and nothing is replaced."""

import os

import pytest

from drydock.export.new_file import new_file
from drydock.model.errors import ActionFailed, Usage
from drydock.model.names import RawPath

ROOT = RawPath(b"/nowhere/containerd")


def path(tmp_path, name="out.tar"):
    """A path as bytes."""
    return RawPath(os.fsencode(tmp_path / name))


def test_it_appears_when_it_is_whole(tmp_path):
    """The directory is empty until the end; then it has the file, for its owner only."""
    with new_file(path(tmp_path), ROOT) as output:
        output.write(b"x" * 3_000_000)
        assert os.listdir(tmp_path) == []
    assert (tmp_path / "out.tar").read_bytes() == b"x" * 3_000_000
    assert (tmp_path / "out.tar").stat().st_mode & 0o777 == 0o600


def test_a_failure_leaves_nothing(tmp_path):
    """However writing ends early, no file is left."""
    with pytest.raises(KeyboardInterrupt):
        _interrupted(path(tmp_path))
    assert os.listdir(tmp_path) == []


def _interrupted(target):
    with new_file(target, ROOT) as output:
        output.write(b"half")
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["file", "dangling", "folder"])
def test_nothing_is_replaced(tmp_path, kind):
    """A file, a link and a directory each stay as they are."""
    there = tmp_path / "out.tar"
    {"file": there.touch, "dangling": lambda: there.symlink_to("gone"), "folder": there.mkdir}[kind]()
    with pytest.raises(ActionFailed, match="exists already"), new_file(path(tmp_path), ROOT):
        pytest.fail("it was opened")
    assert os.listdir(tmp_path) == ["out.tar"]


def test_what_appears_meanwhile_is_not_replaced(tmp_path):
    """A file that somebody creates meanwhile stays."""
    with pytest.raises(ActionFailed, match="exists"), new_file(path(tmp_path), ROOT):
        (tmp_path / "out.tar").write_bytes(b"theirs")
    assert (tmp_path / "out.tar").read_bytes() == b"theirs"


def test_not_into_the_store(tmp_path):
    """A file inside the store is refused, by any path."""
    store = tmp_path / "store"
    (store / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(store / "sub")
    for name in ("store/x", "store/sub/x", "link/x"):
        with (
            pytest.raises(Usage, match="inside the store"),
            new_file(path(tmp_path, name), RawPath(os.fsencode(store))),
        ):
            pytest.fail("it was opened")


def test_no_such_folder(tmp_path):
    """The error names it."""
    with pytest.raises(ActionFailed, match="No such file"), new_file(path(tmp_path, "gone/x"), ROOT):
        pytest.fail("it was opened")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_said(tmp_path):
    """An error of a write is a failed action, not unreadable evidence."""
    from drydock.export.new_file import ExportFile

    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(ActionFailed, match="No space"):
        ExportFile(file, "out.tar").write(b"x")

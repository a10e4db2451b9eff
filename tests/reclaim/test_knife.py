"""The knife never replaces what is there, and no other module cuts."""

import errno
import os
import re
from pathlib import Path

import pytest

import drydock
from drydock.reclaim import knife


@pytest.fixture
def folder(tmp_path):
    """An open directory."""
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture(params=[None, errno.EINVAL, errno.ENOSYS])
def kernel(request, monkeypatch):
    """With RENAME_NOREPLACE, on a file system without it, and on a libc without it."""
    if request.param:

        def refuse(*_):
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(knife, "renameat2_noreplace", refuse)


@pytest.mark.usefixtures("kernel")
def test_moves(folder, tmp_path):
    """A name that is free is taken."""
    (tmp_path / "one").write_text("one")
    knife.move(folder, b"one", folder, b"two")
    assert (tmp_path / "two").read_text() == "one"
    assert not (tmp_path / "one").exists()


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
def test_never_replaces(folder, tmp_path, kind):
    """Whatever is there, even an empty directory that plain rename would replace, stays."""
    source, target = tmp_path / "one", tmp_path / "two"
    if kind == "directory":
        source.mkdir()
        target.mkdir()
    else:
        source.write_text("one")
        target.write_text("two") if kind == "file" else target.symlink_to("nowhere")
    inode = target.lstat().st_ino
    with pytest.raises(FileExistsError):
        knife.move(folder, b"one", folder, b"two")
    assert target.lstat().st_ino == inode
    assert source.exists()


@pytest.mark.usefixtures("kernel")
def test_says_what_the_kernel_says(folder):
    """Other errors come through as they are."""
    with pytest.raises(FileNotFoundError):
        knife.move(folder, b"missing", folder, b"two")


def test_no_other_module_of_drydock_cuts():
    """Search the sources: calls that remove or rename are in the knife alone (docs/safety.md 2).

    Besides, a result that is written to a file takes the place of the one before.
    """
    calls = re.compile(
        r"os\.(unlink|remove|rmdir|rename|replace|truncate)\b|shutil\.(rmtree|move)|\.(unlink|rmdir|rename)\("
    )
    top = Path(drydock.__file__).parent
    found = {
        str(path.relative_to(top))
        for path in top.rglob("*.py")
        for line in path.read_text().splitlines()
        if (match := calls.search(line)) and not line[: match.start()].endswith("knife")
    }
    assert found == {"reclaim/knife.py", "cli/output.py"}

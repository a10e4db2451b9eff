"""Results in a file: whole or not at all, and in the place of nothing but a file."""

import os
import stat

import pytest

from drydock.cli.output import check_output, open_binary, open_output
from drydock.model.errors import ActionFailed


def write(path, text="new"):
    """A result of one word."""
    with open_output(str(path)) as file:
        file.write(text)


def test_takes_the_place_of_the_one_before(tmp_path):
    """In one step, with its mode, through a link, and nothing else is left in the folder."""
    path, link = tmp_path / "result", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to("result")
    with path.open() as before:
        write(link)
        assert before.read() == "old"
    assert link.is_symlink()
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o640)
    assert sorted(os.listdir(tmp_path)) == ["link", "result"]


def test_a_new_one_has_the_mode_of_any_file(tmp_path):
    """As the umask has it, not as that of a secret."""
    write(tmp_path / "one")
    (tmp_path / "other").touch()
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("open_", [open_output, open_binary])
def test_what_fails_in_the_middle_leaves_the_one_before(open_, tmp_path):
    """Nothing of the new one is there, under any name."""
    path = tmp_path / "result"
    path.write_text("old")

    def fail():
        with open_(str(path)) as file:
            file.write("new" if open_ is open_output else b"new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert os.listdir(tmp_path) == ["result"]
    assert path.read_text() == "old"


def test_a_full_disk_leaves_the_one_before(tmp_path, monkeypatch):
    """No room: said with the name, and the old result is still whole."""
    path = tmp_path / "result"
    path.write_text("old")
    monkeypatch.setattr("builtins.open", lambda *_, **__: os.fdopen(os.open("/dev/full", os.O_WRONLY), "w"))
    with pytest.raises(ActionFailed, match=r"result: No space left"):
        write(path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["result"]
    assert path.read_text() == "old"


def test_a_device_stays_one(tmp_path):
    """/dev/null, or a pipe with a reader, is written to, not replaced."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(pipe)
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    before = os.lstat(os.devnull)
    write(os.devnull)
    assert os.lstat(os.devnull) == before


def test_a_pipe_without_a_path_is_written_to():
    """What /dev/stdout and >(process) are: links below /proc to a pipe that no path leads to."""
    reader, writer = os.pipe()
    path = f"/proc/self/fd/{writer}"
    check_output(path)
    write(path)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"new"


@pytest.mark.parametrize("name", ["", "none/result"])
def test_what_cannot_be_written_is_said_before(name, tmp_path):
    """A folder, and a name in none: before anything is done."""
    with pytest.raises(ActionFailed, match="cannot be written"):
        check_output(str(tmp_path / name))


def test_a_folder_is_no_place(tmp_path):
    """Said in one line."""
    with pytest.raises(ActionFailed, match="Is a directory"):
        write(tmp_path)
    with pytest.raises(ActionFailed, match="No such file"):
        write(tmp_path / "none" / "result")

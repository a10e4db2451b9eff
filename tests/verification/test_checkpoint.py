"""The checkpoint of verifications: a stopped run continues, and a finished one is not reused."""

import errno
import os
import subprocess
from contextlib import suppress

import pytest

from drydock.model.errors import Refused
from drydock.verification.checkpoint import open_checkpoint

ROOT = b"/store"
ONE, TWO = ("blob", "sha256:aa", 1, 2), ("blob", "sha256:bb", 3, 4)


def _open(path, *, write=True):
    return open_checkpoint(ROOT, [bytes(path)], write=write)


def test_a_stopped_run_is_gone_on_with(tmp_path):
    """The next run knows each result."""
    checkpoint = _open(tmp_path)
    checkpoint.tell(ONE, True)
    checkpoint.tell(TWO, False)
    checkpoint.close()
    again = _open(tmp_path)
    assert again.known == {ONE: True, TWO: False}
    again.close()


def test_an_ended_run_is_read_anew(tmp_path):
    """After a finished run nothing counts as read; wrong results stay suspects until they are right."""
    checkpoint = _open(tmp_path)
    checkpoint.tell(ONE, True)
    checkpoint.tell(TWO, False)
    checkpoint.finish(["blob"])
    checkpoint.close()
    again = _open(tmp_path)
    assert (again.known, again.suspects) == ({}, {TWO})
    again.tell(TWO, True)
    again.finish(["blob"])
    again.close()
    last = _open(tmp_path)
    assert (last.known, last.suspects) == ({}, set())
    last.close()


def test_an_end_is_of_what_was_looked_at(tmp_path):
    """The end of a run keeps results of other kinds, in this run and in the next."""
    layer = ("unpacked", "overlayfs a", 5, 6)
    checkpoint = _open(tmp_path)
    checkpoint.tell(ONE, True)
    checkpoint.tell(layer, True)
    checkpoint.finish(["unpacked", "content"])
    assert checkpoint.known == {ONE: True}
    checkpoint.close()
    for _ in range(2):
        again = _open(tmp_path)
        assert again.known == {ONE: True}
        again.close()


@pytest.mark.parametrize("write", [False, True])
def test_what_was_found_wrong_elsewhere_is_known(write, tmp_path):
    """From another directory only wrong results are read; it is not changed, and others may write to it."""
    checkpoint = _open(tmp_path / "other")
    checkpoint.tell(ONE, True)
    checkpoint.tell(TWO, False)
    (file,) = (tmp_path / "other").iterdir()
    before = file.read_bytes()
    with pytest.raises(Refused):
        open_checkpoint(ROOT, [bytes(tmp_path / "own")], [bytes(tmp_path / "other")], write=write)
    checkpoint.close()
    again = open_checkpoint(ROOT, [bytes(tmp_path / "own")], [bytes(tmp_path / "other")], write=write)
    assert (again.known, again.suspects) == ({}, {TWO})
    _open(tmp_path / "other").close()
    again.close()
    assert file.read_bytes() == before
    own = _open(tmp_path / "own", write=False)
    assert own.suspects == ({TWO} if write else set())
    own.close()


def test_a_torn_line_is_dropped(tmp_path):
    """A line that a killed run left unfinished does not harm the next run."""
    checkpoint = _open(tmp_path)
    checkpoint.tell(ONE, True)
    checkpoint.close()
    (file,) = tmp_path.iterdir()
    with file.open("ab") as end:
        end.write(b'["blob", "sha2')
    again = _open(tmp_path)
    again.tell(TWO, True)
    again.close()
    last = _open(tmp_path)
    assert last.known == {ONE: True, TWO: True}
    last.close()


@pytest.mark.parametrize("line", [b"{}\n", b'["blob", 1, 2, 3, 4]\n', b"\xff\n", b"[[]]\n", b'["finished", 1]\n'])
def test_nonsense_is_passed_over(line, tmp_path):
    """Any other content of the file is ignored, without an error."""
    _open(tmp_path).close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(line)
    checkpoint = _open(tmp_path)
    assert (checkpoint.known, checkpoint.suspects) == ({}, set())
    checkpoint.close()


def test_two_runs_do_not_share_it(tmp_path):
    """A second run on the same root is refused while the first runs."""
    checkpoint = _open(tmp_path)
    with pytest.raises(Refused):
        _open(tmp_path)
    checkpoint.close()


def test_reading_makes_and_changes_nothing(tmp_path):
    """A run without results to keep creates no file, and leaves an existing one as it is."""
    _open(tmp_path / "none", write=False).close()
    assert not (tmp_path / "none").exists()
    checkpoint = _open(tmp_path)
    checkpoint.tell(TWO, False)
    checkpoint.finish(["blob"])
    checkpoint.close()
    (file,) = tmp_path.iterdir()
    before = file.read_bytes()
    again = _open(tmp_path, write=False)
    assert again.suspects == {TWO}
    again.tell(ONE, True)
    again.close()
    assert file.read_bytes() == before


def test_a_place_that_cannot_be_written_is_a_warning(tmp_path):
    """The verification continues without a checkpoint, with a warning."""
    (tmp_path / "file").touch()
    checkpoint = _open(tmp_path / "file" / "below")
    assert "cannot be kept for the next run" in checkpoint.warning
    checkpoint.tell(ONE, True)
    checkpoint.finish(["blob"])


def _tmpfs(path, size):
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", path], check=True)
    return path


@pytest.fixture
def full(tmp_path):
    """A directory on a full file system, where an empty file can still be created."""
    place = _tmpfs(tmp_path / "full", "64k")
    with suppress(OSError), (place / "fill").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.root
def test_a_full_place_is_passed_over(full, tmp_path):
    """The next directory gets the results; a reader and the next run find them there."""
    places = [bytes(full), bytes(tmp_path / "next")]
    checkpoint = open_checkpoint(ROOT, places, write=True)
    checkpoint.tell(ONE, True)
    checkpoint.tell(TWO, False)
    checkpoint.close()
    assert (checkpoint.is_lost, checkpoint.warning) == (False, None)
    for write in (False, True):
        again = open_checkpoint(ROOT, places, write=write)
        assert (again.known, again.suspects) == ({ONE: True, TWO: False}, {TWO})
        again.close()


@pytest.mark.root
def test_a_place_that_fills_up_is_left(full, tmp_path):
    """Results that the first directory took move to the next one with the rest."""
    (full / "fill").unlink()
    places = [bytes(full), bytes(tmp_path / "next")]
    checkpoint = open_checkpoint(ROOT, places, write=True)
    told = {("blob", f"sha256:{number:0100}", number, 2): number % 2 == 0 for number in range(1000)}
    for key, right in told.items():
        checkpoint.tell(key, right)
    checkpoint.close()
    assert not checkpoint.is_lost
    assert [file.stat().st_size for file in full.iterdir()] == [0]
    again = open_checkpoint(ROOT, places, write=False)
    assert again.known == told
    again.close()


@pytest.mark.root
def test_where_nothing_takes_it_that_is_said(full):
    """The results are lost, and the warning has the reason."""
    checkpoint = open_checkpoint(ROOT, [bytes(full)], write=True)
    checkpoint.tell(ONE, False)
    checkpoint.close()
    assert checkpoint.is_lost
    assert os.strerror(errno.ENOSPC) in checkpoint.warning


@pytest.mark.parametrize("write", [False, True])
def test_what_others_can_write_is_not_believed(write, tmp_path):
    """A directory that someone else can write to is not used."""
    checkpoint = _open(tmp_path / "open")
    checkpoint.tell(TWO, False)
    checkpoint.finish(["blob"])
    checkpoint.close()
    (tmp_path / "open").chmod(0o777)
    again = open_checkpoint(ROOT, [bytes(tmp_path / "open"), bytes(tmp_path / "next")], write=write)
    assert again.suspects == set()
    again.close()

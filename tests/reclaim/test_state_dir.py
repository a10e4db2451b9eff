"""A run finds a place for its journal even on a full disk, and a killed run is found again."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.privilege import needs_root
from tests.support.values import EDIT_NUMBERS

from drydock.model.errors import Refused
from drydock.model.names import RawPath
from drydock.model.plans import Status
from drydock.reclaim.journal_writer import JournalWriter, close_abandoned
from drydock.reclaim.state_dir import PLACES, find_unfinished, open_state

ROOT = RawPath(b"/var/lib/containerd")


@pytest.fixture
def places(tmp_path):
    """Two places to choose from, neither there yet."""
    return [RawPath(os.fsencode(tmp_path / name)) for name in ("first", "second")]


def start(places, root=ROOT):
    """A run with a journal, and an intention in it."""
    state = open_state(None, 0, places)
    writer = JournalWriter(state.fd, state.path, root, "a" * 64)
    writer.intend_edit(RawPath(b"/meta.db"), EDIT_NUMBERS)
    return state, writer


def stop(state, writer):
    """What a killed process leaves: no last line, no lock."""
    writer.close()
    state.close()


def test_takes_the_first_place_and_keeps_it_private(places):
    """The default is made when missing, 0700, with one directory for each run."""
    one, two = open_state(None, 0, places), open_state(None, 0, places)
    assert os.path.dirname(one.path) == os.path.dirname(two.path) == places[0]
    assert one.path != two.path
    assert re.fullmatch(r"\d{8}T\d{6}Z-\d+", one.run)
    assert one.why == "the default"
    assert [os.stat(path).st_mode & 0o777 for path in (places[0], one.path)] == [0o700, 0o700]
    one.close()
    two.close()


def test_a_choice_is_not_departed_from(tmp_path, places):
    """A chosen directory is used or the run is refused; nothing else is tried."""
    chosen = open_state(RawPath(os.fsencode(tmp_path / "mine")), 0, places)
    assert chosen.why == "from --state"
    chosen.close()
    with pytest.raises(Refused, match="No such file"):
        open_state(RawPath(os.fsencode(tmp_path / "not" / "there")), 0, places)
    assert not any(map(os.path.exists, places))


@pytest.mark.parametrize("fault", ["link", "file", "theirs", "open"])
def test_an_unfit_place_is_passed_over_and_named(places, tmp_path, fault):
    """A link, a file, somebody else's or an open directory is not used, and why is said."""
    first = Path(os.fsdecode(places[0]))
    if fault == "link":
        (tmp_path / "target").mkdir()
        first.symlink_to(tmp_path / "target")
    elif fault == "file":
        first.touch()
    else:
        first.mkdir()
        if fault == "theirs":
            if os.geteuid():
                pytest.skip("needs root: chown")
            os.chown(first, 1234, 1234)
        else:
            first.chmod(0o777)
    state = open_state(None, 0, places)
    assert os.path.dirname(state.path) == places[1]
    assert str(first) in state.why
    state.close()
    assert not (tmp_path / "target").exists() or os.listdir(tmp_path / "target") == []


def test_room_for_the_backups_is_asked_for(places):
    """A place that could not hold the backups is passed over; when none can, the refusal names all."""
    with pytest.raises(Refused, match=r"first: .* free.*second: .* free.*--state"):
        open_state(None, 1 << 60, places)


@pytest.mark.root
@needs_root
def test_a_full_disk_is_left_for_a_tmpfs(tmp_path):
    """With 0 bytes free on a real ext4 the next place, a tmpfs, is taken, and said to be lost with a reboot."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    disk.mkdir()
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    try:
        with contextlib.suppress(OSError), open(disk / "fill", "wb", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass
        with pytest.raises(OSError, match="No space"):
            (disk / "probe").write_bytes(b"x" * 100_000)
        assert os.statvfs(disk).f_bavail == 0
        state = open_state(None, 0, [RawPath(os.fsencode(disk / "drydock")), PLACES[2]])
        assert os.path.dirname(state.path) == PLACES[2]
        assert state.volatile
        assert str(disk) in state.why
        JournalWriter(state.fd, state.path, ROOT, "a" * 64).close()
        state.close()
        subprocess.run(["rm", "-rf", state.path], check=True)
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.root
@needs_root
def test_a_read_only_disk_is_left(tmp_path, places):
    """A read-only file system is passed over with the kernel's reason."""
    os.mkdir(places[0])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=700", "none", places[0]], check=True)
    try:
        state = open_state(None, 0, places)
    finally:
        subprocess.run(["umount", places[0]], check=True)
    assert "Read-only" in state.why
    assert state.path.startswith(places[1])
    state.close()


def test_a_killed_run_is_found(places):
    """Only runs of this root that neither finished nor still go on are unfinished, oldest first."""
    killed, foreign, done, going = start(places), start(places, RawPath(b"/other")), start(places), start(places)
    done[1].finish()
    for run in (killed, foreign, done):
        stop(*run)
    found = find_unfinished(ROOT, places)
    assert [os.path.dirname(journal.path) for journal in found] == [killed[0].path]
    stop(*going)
    assert len(find_unfinished(ROOT, places)) == 2


def test_finished_runs_are_not_parsed(places, monkeypatch):
    """However many runs there were, a scan reads the last line of those that ended, themselves or by a later run."""
    done, killed = start(places), start(places)
    done[1].finish()
    # Words of an action are not taken for the end.
    killed[1].end(1, Status.DONE, detail='\n{"finished":')
    stop(*done)
    stop(*killed)
    [journal] = find_unfinished(ROOT, places)
    close_abandoned(journal)
    monkeypatch.setattr("drydock.reclaim.journal.read_journal", lambda path: pytest.fail(f"{path} is parsed"))
    assert find_unfinished(ROOT, places) == []


def test_hostile_state_is_not_believed(places, tmp_path):
    """Links, FIFOs and garbage among the runs are passed over, and missing places are no error."""
    assert find_unfinished(ROOT, places) == []
    stop(*start(places))
    base = Path(os.fsdecode(places[0]))
    (base / "link").symlink_to(next(base.iterdir()))
    for name in ("fifo", "garbage", "empty"):
        (base / name).mkdir()
    os.mkfifo(base / "fifo" / "journal.jsonl")
    (base / "garbage" / "journal.jsonl").write_bytes(b"\0" * 1000)
    (base / "file").touch()
    assert len(find_unfinished(ROOT, places)) == 1
    base.chmod(0o777)
    assert find_unfinished(ROOT, places) == []


def test_imports_little():
    """Asking for unfinished runs, which each scan does, loads no ctypes, no threads, no documents, and no edits."""
    heavy = {"ctypes", "concurrent.futures", "msgspec", "json", "bbolt_surgery"}
    code = f"import sys, drydock.reclaim.state_dir; sys.exit(bool({heavy} & set(sys.modules)))"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )

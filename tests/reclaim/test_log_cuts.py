"""Logs are cut to their newest bytes, and put back: at every moment the log is the whole one or the cut one."""

import contextlib
import errno
import json
import os
import stat

import pytest
from tests.support.data_roots import add_container, add_json_log, add_local_log, json_line
from tests.support.full_disk import disk as small_disk
from tests.support.full_disk import fill
from tests.support.values import store

from drydock.evidence.docker.logs import LEFTOVER
from drydock.evidence.files.directory import fingerprint
from drydock.model.names import Kind, RawPath
from drydock.model.plans import LogCut, Status
from drydock.reclaim import knife, log_cuts
from drydock.reclaim.log_cuts import cut_log, put_back
from drydock.reclaim.log_plan import find_lacking_room, plan_log_cuts
from drydock.reclaim.root_dir import open_root_dir


class Killed(BaseException):
    """The process ended."""


CALLS = [
    *(
        (os, name)
        for name in ("open", "write", "pwrite", "fchown", "fchmod", "setxattr", "utime", "fsync", "fdatasync")
    ),
    *((knife, name) for name in ("unlink", "move", "exchange", "empty", "shorten")),
]


def kill_after(monkeypatch, number):
    """Let everything end after the ``number``-th call that changes something; gives the names of those made."""
    made = []

    def wrap(where, name):
        perform = getattr(where, name)

        def call(*arguments, **named):
            if made and len(made) == number:
                raise Killed
            if name == "open" and not arguments[1] & os.O_CREAT:
                return perform(*arguments, **named)
            result = perform(*arguments, **named)
            made.append(name)
            return result

        monkeypatch.setattr(where, name, call)

    for where, name in CALLS:
        wrap(where, name)
    return made


class Place:
    """A data root with one container, and a quarantine."""

    def __init__(self, path, *, local=False):
        self.data = path / "docker"
        self.folder = add_container(self.data, 1, "web", driver="local" if local else "json-file")
        add = add_local_log if local else add_json_log
        self.log = add(self.folder, range(100, 200), rotated=[range(50, 100), range(50)])
        os.chown(self.log, 12, 34)
        self.log.chmod(0o640)
        os.setxattr(self.log, "user.note", b"kept\0")
        os.utime(self.log, ns=(5, 6_000_000_007))
        self.whole = self.log.read_bytes()
        self.before = self.list()
        self.apart = path / "apart"
        self.path = RawPath(bytes(self.data))

    def list(self):
        """Everything in the container's folder: contents, modes, owners, times."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            info = path.lstat()
            body = path.read_bytes() if path.is_file() else b""
            found[str(path.relative_to(self.folder))] = (body, info.st_mode, info.st_uid, info.st_mtime_ns)
        return {name: facts for name, facts in found.items() if not stat.S_ISDIR(facts[1])}

    def plan(self, most):
        """The cuts of the only log."""
        return plan_log_cuts(store(), [self.path], most)[:2]

    def _aside(self, cut):
        folder = self.apart / os.fsdecode(os.path.dirname(cut.path))
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def cut(self, cuts, *, moves=False):
        """Carry cuts out; with the quarantine if wanted."""
        root_dir = open_root_dir(self.path)
        outcomes = []
        try:
            for cut in cuts:
                aside = os.open(self._aside(cut), os.O_RDONLY) if moves else None
                try:
                    outcomes.append(cut_log(root_dir, cut, aside))
                finally:
                    if aside is not None:
                        os.close(aside)
        finally:
            root_dir.close()
        return outcomes

    def undo(self, cuts, *, moves=False):
        """Put cuts back."""
        root_dir = open_root_dir(self.path)
        try:
            return [
                put_back(root_dir, cut, RawPath(bytes(self.apart) + b"/" + cut.path) if moves else None) for cut in cuts
            ]
        finally:
            root_dir.close()


@pytest.fixture
def place(tmp_path):
    """A log of json-file with two rotated files."""
    return Place(tmp_path)


@pytest.fixture
def local(tmp_path):
    """A log of the driver local with two rotated files."""
    return Place(tmp_path, local=True)


pytestmark = pytest.mark.root
LINE = len(json_line(150))


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("most", [0, 1, LINE, 10 * LINE + 5, 99 * LINE])
def test_the_newest_lines_stay(place, most, moves):
    """Exactly the last lines that fit, with owner, mode, time and attributes; the space that was freed is told."""
    blocks = sum(each.stat().st_blocks for each in place.folder.iterdir())
    cuts, withheld = place.plan(most)
    assert not withheld
    outcomes = place.cut(cuts, moves=moves)
    assert {outcome.status for outcome in outcomes} == {Status.DONE}
    assert place.log.read_bytes() == b"".join(json_line(number) for number in range(200 - most // LINE, 200))
    info = place.log.stat()
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (12, 34, 0o640)
    assert os.getxattr(place.log, "user.note") == b"kept\0"
    assert sorted(place.list()) == sorted((place.log.name, "config.v2.json", "hostconfig.json"))
    if most >= LINE:
        assert info.st_mtime_ns == 6_000_000_007
    freed = (blocks - sum(each.stat().st_blocks for each in place.folder.iterdir())) * 512
    assert sum(outcome.freed for outcome in outcomes) == (0 if moves else freed)
    assert sum(cut.bytes for cut in cuts) == freed
    assert place.plan(most) == ((), ())


def test_without_an_aside_an_emptied_log_is_the_same_file(place):
    """It takes no room, and no other file."""
    inode = place.log.stat().st_ino
    place.cut(place.plan(0)[0])
    assert (place.log.stat().st_ino, place.log.stat().st_size) == (inode, 0)


def test_older_files_are_cut_after_a_line_too(place):
    """The current file fits, of the next one the end, and the oldest goes."""
    cuts, _ = place.plan(len(place.whole) + 20 * LINE + 9)
    assert [(cut.is_removed, cut.keep > 0) for cut in cuts] == [(True, False), (False, True)]
    place.cut(cuts)
    assert place.log.read_bytes() == place.whole
    older = place.log.with_name(place.log.name + ".1").read_bytes()
    assert older == b"".join(json_line(number) for number in range(100))[-len(older) :]
    assert len(place.whole) + len(older) <= len(place.whole) + 20 * LINE + 9 < len(place.whole) + len(older) + LINE
    assert not place.log.with_name(place.log.name + ".2").exists()


def test_frames_are_never_cut(local):
    """Older files go whole; the current file stays whole or is emptied."""
    size = len(local.whole)
    for most, files in ((size + 5, 1), (size, 1), (size - 1, 1)):
        cuts, _ = local.plan(most)
        assert all(not cut.keep for cut in cuts)
        local.cut(cuts)
        assert len(list((local.folder / "local-logs").iterdir())) == files
        assert local.log.read_bytes() == (local.whole if most >= size else b"")


@pytest.mark.parametrize("most", [0, 10 * LINE, 99 * LINE])
def test_undo_puts_everything_back(place, most):
    """Every byte, mode, owner and time is as before, and a second undo finds that."""
    cuts, _ = place.plan(most)
    place.cut(cuts, moves=True)
    assert {outcome.status for outcome in place.undo(cuts, moves=True)} == {Status.DONE}
    assert place.list() == place.before
    assert {outcome.status for outcome in place.undo(cuts, moves=True)} == {Status.GONE}
    assert place.list() == place.before


@pytest.mark.parametrize("most", [0, 10 * LINE])
def test_undo_keeps_what_was_written_since(place, most):
    """New lines follow the old ones."""
    cuts, _ = place.plan(most)
    place.cut(cuts, moves=True)
    with place.log.open("ab") as file:
        file.write(json_line(200) + json_line(201))
    assert {outcome.status for outcome in place.undo(cuts, moves=True)} == {Status.DONE}
    assert place.log.read_bytes() == place.whole + json_line(200) + json_line(201)


def test_undo_of_a_log_that_was_rotated_since(place):
    """Nothing is touched: neither the new log nor what was cut off."""
    cuts, _ = place.plan(10 * LINE)
    place.cut(cuts, moves=True)
    place.log.rename(place.log.with_name(place.log.name + ".1"))
    place.log.write_bytes(json_line(500))
    after = place.list()
    outcomes = {outcome.cut.keep: outcome for outcome in place.undo(cuts, moves=True)}
    assert outcomes[10 * LINE].status is Status.FAILED
    assert "rotated or replaced" in outcomes[10 * LINE].detail
    assert place.log.read_bytes() == json_line(500)
    assert place.list().items() >= after.items()
    (aside,) = [each for each in place.apart.rglob("*") if each.name == place.log.name and each.is_file()]
    assert aside.read_bytes() == place.whole


def test_undo_without_a_quarantine(place):
    """What was deleted is not back, and undo says so, also if the log is as long again by now."""
    cuts, _ = place.plan(0)
    place.cut(cuts)
    place.log.write_bytes(place.whole)
    assert {outcome.status for outcome in place.undo(cuts)} == {Status.FAILED}


@pytest.mark.parametrize("most", [0, 10 * LINE])
@pytest.mark.parametrize("moves", [False, True])
def test_a_kill_at_any_call(tmp_path, monkeypatch, most, moves):
    """The log is the whole one or the cut one; the next clean ends the same, and undo finds all that was moved."""
    number = 1
    while True:
        place = Place(tmp_path / str(number))
        cuts, _ = place.plan(most)
        with monkeypatch.context() as patched:
            made = kill_after(patched, number)
            try:
                place.cut(cuts, moves=moves)
                finished = True
            except Killed:
                finished = False
        assert finished or len(made) == number
        kept = place.whole[len(place.whole) - most :] if most else b""
        assert place.log.read_bytes() in (place.whole, kept)
        # Between an exchange and a move, what was cut off is beside the log.
        if moves:
            twin = Place(tmp_path / f"{number}-twin")
            twin_cuts, _ = twin.plan(most)
            with monkeypatch.context() as patched:
                kill_after(patched, number)
                with contextlib.suppress(Killed):
                    twin.cut(twin_cuts, moves=True)
            assert {outcome.status for outcome in twin.undo(twin_cuts, moves=True)} <= {Status.DONE, Status.GONE}
            assert twin.list() == twin.before
        again, _ = place.plan(most)
        assert {outcome.status for outcome in place.cut(again, moves=False)} <= {Status.DONE}
        assert place.log.read_bytes() == kept
        assert sorted(place.list()) == sorted((place.log.name, "config.v2.json", "hostconfig.json"))
        if finished:
            assert number > 5
            return
        number += 1


def test_an_undo_that_is_killed_at_any_call(tmp_path, monkeypatch):
    """The next undo ends it, with the lines that were written since, each once."""
    number, new = 1, json_line(200) + json_line(201)
    while True:
        place = Place(tmp_path / str(number))
        cuts, _ = place.plan(10 * LINE)
        place.cut(cuts, moves=True)
        with place.log.open("ab") as file:
            file.write(new)
        with monkeypatch.context() as patched:
            kill_after(patched, number)
            try:
                place.undo(cuts, moves=True)
                finished = True
            except Killed:
                finished = False
        assert place.log.read_bytes() in (place.whole + new, place.whole[-10 * LINE :] + new)
        place.undo(cuts, moves=True)
        assert place.log.read_bytes() == place.whole + new
        assert sorted(place.list()) == sorted(place.before)
        if finished:
            assert number > 5
            return
        number += 1


def test_a_full_disk_keeps_the_log_and_says_what_needs_no_room(tmp_path):
    """Nothing is lost, no file is left, and emptying works."""
    (tmp_path / "mnt").mkdir()
    with small_disk(tmp_path / "disk", tmp_path / "mnt", 8 << 20) as point:
        place = Place(point)
        place.log.write_bytes(b"".join(json_line(number, "x" * 5000) for number in range(200)))
        whole = place.log.read_bytes()
        fill(point)
        cuts, _ = place.plan(600_000)
        [lacking] = find_lacking_room(cuts, 0)
        assert "--truncate-logs 0 needs no room" in lacking
        assert not find_lacking_room(cuts, 600_000)
        assert not find_lacking_room(place.plan(0)[0], 0)
        [cut] = [cut for cut in cuts if cut.keep]
        [outcome] = place.cut([cut])
        assert outcome.status is Status.FAILED
        assert "--truncate-logs 0 needs no room" in outcome.detail
        assert place.log.read_bytes() == whole
        assert not [name for name in place.list() if name.startswith(LEFTOVER.decode())]
        assert {outcome.status for outcome in place.cut(place.plan(0)[0])} == {Status.DONE}
        assert place.log.stat().st_size == 0


def test_a_full_disk_has_room_enough_for_half_a_log(tmp_path):
    """What stays is written over the beginning: exactly the newest lines, in the same file, with owner and time."""
    (tmp_path / "mnt").mkdir()
    with small_disk(tmp_path / "disk", tmp_path / "mnt", 8 << 20) as point:
        place = Place(point)
        lines = [json_line(number, "x" * (number * 37 % 9000)) for number in range(700)]
        place.log.write_bytes(b"".join(lines))
        before = place.log.stat()
        fill(point)
        cuts, _ = place.plan(1_400_000)
        assert not find_lacking_room(cuts, 0)
        [cut] = [cut for cut in cuts if cut.keep]
        [outcome] = place.cut([cut])
        assert (outcome.status, outcome.freed > 1_000_000) == (Status.DONE, True)
        kept = place.log.read_bytes()
        assert len(kept) == cut.keep > 1 << 20
        assert b"".join(lines).endswith(kept)
        assert kept.startswith(b'{"log"')
        after = place.log.stat()
        assert (after.st_ino, after.st_uid, after.st_mode) == (before.st_ino, before.st_uid, before.st_mode)
        assert after.st_mtime_ns == before.st_mtime_ns
        assert not [name for name in place.list() if name.startswith(LEFTOVER.decode())]


def test_a_kill_while_a_log_is_overwritten(tmp_path, monkeypatch):
    """Only whole lines, what stays at the end, and a mark that it is not finished; the next clean ends the same."""
    copy_end, chunk = log_cuts._copy_end, 3 * LINE

    def without_room(*arguments):
        copy_end(*arguments)
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(log_cuts, "_copy_end", without_room)
    monkeypatch.setattr(log_cuts, "_CHUNK", chunk)
    number = 1
    while True:
        place = Place(tmp_path / str(number))
        place.log.write_bytes(b"".join(json_line(each, "y" * (each * 7 % 50)) for each in range(200)))
        whole = place.log.read_bytes()
        [cut] = [cut for cut in place.plan(len(whole) // 3)[0] if cut.keep]
        with monkeypatch.context() as patched:
            made = kill_after(patched, number)
            try:
                place.cut([cut])
                finished = True
            except Killed:
                finished = False
        now = place.log.read_bytes()
        # dockerd's decoder passes over blanks.
        assert [json.loads(line) for line in now.splitlines() if line.strip()]
        assert now.endswith(whole[-cut.keep :])
        root_dir = open_root_dir(place.path)
        left = log_cuts.is_left(root_dir, cut)
        root_dir.close()
        assert left or now in (whole, whole[-cut.keep :])
        again, _ = place.plan(len(whole) // 3)
        assert {outcome.status for outcome in place.cut(again)} == {Status.DONE}
        assert place.log.read_bytes() == whole[-cut.keep :]
        assert sorted(place.list()) == sorted((place.log.name, "config.v2.json", "hostconfig.json"))
        if finished:
            assert made.count("pwrite") > 10
            return
        number += 1


def test_what_changed_since_the_plan_stays(place):
    """A log that was written to, or is another file, is not touched."""
    for most in (0, 10 * LINE):
        cuts, _ = place.plan(most)
        with place.log.open("ab") as file:
            file.write(json_line(1))
        whole = place.log.read_bytes()
        assert place.cut(cuts)[-1].status is Status.CHANGED
        assert place.log.read_bytes() == whole


def test_a_log_that_is_swapped_at_the_last_moment(place, monkeypatch):
    """The other file is in its place again."""
    cuts, _ = place.plan(10 * LINE)
    exchange = knife.exchange

    def swapped(parent, new, name):
        if not place.log.with_name("former").exists():
            place.log.rename(place.log.with_name("former"))
            place.log.write_bytes(b"other")
        exchange(parent, new, name)

    monkeypatch.setattr(knife, "exchange", swapped)
    assert place.cut(cuts)[-1].status is Status.CHANGED
    assert place.log.read_bytes() == b"other"
    assert place.log.with_name("former").read_bytes() == place.whole


def test_a_file_that_came_since_the_plan_is_not_touched(place):
    """Whatever is in the place of the copy: it may be a log that was not put back yet."""
    cuts, _ = place.plan(10 * LINE)
    other = place.folder / f"{LEFTOVER.decode()}{place.log.name}"
    other.write_bytes(b"other")
    outcome = place.cut(cuts)[-1]
    assert (outcome.status, "left by a killed run" in outcome.detail) == (Status.FAILED, True)
    assert (other.read_bytes(), place.log.read_bytes()) == (b"other", place.whole)


def test_a_full_disk_on_which_no_file_can_be_made(place, monkeypatch):
    """The log stays, and is not called gone."""

    def fail(*_):
        raise OSError(errno.ENOSPC, "no room")

    cuts, _ = place.plan(10 * LINE)
    monkeypatch.setattr(log_cuts, "_copy_end", fail)
    assert place.cut(cuts)[-1].status is Status.FAILED
    assert place.log.read_bytes() == place.whole


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM, errno.EIO])
def test_a_file_system_that_cannot_exchange_files(place, monkeypatch, number):
    """The log stays, no other file is left, and the reason is told."""

    def fail(*_):
        raise OSError(number, "no")

    cuts, _ = place.plan(10 * LINE)
    monkeypatch.setattr(knife, "exchange", fail)
    outcome = place.cut(cuts)[-1]
    assert outcome.status is Status.FAILED
    assert ("--truncate-logs 0" in outcome.detail) is (number == errno.EINVAL)
    assert place.log.read_bytes() == place.whole
    assert not [name for name in place.list() if name.startswith(LEFTOVER.decode())]


@pytest.mark.parametrize(
    "path",
    [
        "containers/{0}/config.v2.json",
        "containers/{0}/{0}-json.log/../config.v2.json",
        "volumes/x/_data/{0}-json.log",
        "containers/{0}/local-logs/../{0}-json.log",
        "containers/{0}/{0}-json.log.1.gz.gz",
        "/etc/passwd",
    ],
)
def test_a_forged_cut_reaches_no_other_file(place, path):
    """Only names that dockerd gives its logs."""
    target = place.folder / "config.v2.json"
    raw = RawPath(path.format(place.folder.name).encode())
    cut = LogCut(place.path, raw, fingerprint(target.stat()), 0, False, 0, "")
    assert place.cut([cut])[0].status is Status.FAILED
    assert target.exists()


def test_a_link_in_the_place_of_a_folder_is_not_followed(place, tmp_path):
    """Neither for the log nor for the folder of its container."""
    cuts, _ = place.plan(0)
    (place.folder.parent / "elsewhere").mkdir()
    moved = place.folder.rename(tmp_path / "moved")
    place.folder.symlink_to(moved)
    assert {outcome.status for outcome in place.cut(cuts)} == {Status.FAILED}
    assert (moved / place.log.name).read_bytes() == place.whole


def test_a_log_with_another_name_stays(place):
    """Something else may use it through its other hard link."""
    os.link(place.log, place.data / "other")
    cuts, [withheld] = place.plan(0)
    assert not cuts
    assert (withheld.kind, withheld.id) == (Kind.CONTAINER, place.folder.name)
    assert place.plan(len(place.whole) * 9) == ((), ())


def test_a_kept_log_stays(place):
    """Named by its container or by a path; the words that name nothing are not among those that keep something."""
    words = (place.folder.name.encode(), bytes(place.log), b"other")
    cuts, [withheld], kept = plan_log_cuts(store(), [place.path], 0, words)
    assert (cuts, kept) == ((), words[:2])
    assert "is kept by --keep" in withheld.reason


def test_the_calls_that_are_watched_are_those_that_are_made(place, monkeypatch):
    """The kill test sees each of them."""
    made = kill_after(monkeypatch, 0)
    place.cut(place.plan(10 * LINE)[0], moves=True)
    assert {"open", "write", "fchown", "fchmod", "setxattr", "utime", "fsync", "exchange", "move"} == set(made)
    assert log_cuts.knife is knife

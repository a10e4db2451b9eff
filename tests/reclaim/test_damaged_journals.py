"""A journal that cannot be read is named by all that read journals, with the place, and nothing is done by it."""

import fcntl
import json
import os
import shutil
from collections import Counter

import pytest
from fuzz.stores import NOW
from tests.support.small_host import Host
from tests.support.trees import tree

import drydock
from drydock.model.errors import EvidenceUnreadable
from drydock.model.findings import FindingCode, Severity
from drydock.model.names import RawPath, UnixNano
from drydock.model.runs import RunEnd
from drydock.reclaim import execute_edits, state_dir

UNREAD = "unreadable-journal"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A root on which a run that moves things aside was killed after its first edit, and no other run is known."""
    found = Host(tmp_path)
    found.write()
    monkeypatch.setattr(state_dir, "PLACES", ())
    real = execute_edits.edit

    def last(*arguments, **named):
        real(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(execute_edits, "edit", last)
        with pytest.raises(KeyboardInterrupt):
            found.clean("first")
    assert [each.code for each in said(found)] == [FindingCode.UNFINISHED_RUN]
    return found


def state_of(host):
    """The state directory of the run."""
    return RawPath(os.fsencode(host.folder / "first-state"))


def said(host):
    """What a scan says of runs."""
    (found,) = drydock.scan(RawPath(os.fsencode(host.root)), now=UnixNano(NOW + 10**9), state=state_of(host))
    codes = (UNREAD, FindingCode.UNFINISHED_RUN)
    return [each for each in found.verdict.findings if each.code in codes]


def flip(lines, number):
    """One bit of one byte in a line is another, so that it is no JSON."""
    line = lines[number]
    lines[number] = bytes([line[0] ^ 1]) + line[1:]


def tear(lines, number):
    """Only half of a line was written; the next one follows."""
    lines[number] = lines[number][: len(lines[number]) // 2] + b"\n"


def empty(lines, number):
    """A line and a half are a hole."""
    lines[number] = b"\0" * len(lines[number])
    lines[number + 1] = b"\0" * 40 + lines[number + 1][40:]


def join(lines, number):
    """The end of a line is lost."""
    lines[number] = lines[number][:-1] + b"\x0b"


def lie(lines, number):
    """A line is JSON, and none that drydock writes."""
    lines[number] = b'{"n":1,"do":"format"}\n'


def end_nothing(lines, number):
    """A line is the end of an action that was not begun."""
    lines[number] = b'{"ended":99,"status":"done","freed":0,"detail":""}\n'


@pytest.mark.parametrize("damage", [flip, tear, empty, join, lie, end_nothing])
def test_damage_in_the_middle_is_named_with_line_and_byte(host, damage):
    """By scan, runs, undo and the next clean. That does what was left, and neither ends nor changes the journal."""
    journal = host.journal("first")
    lines = journal.read_bytes().splitlines(keepends=True)
    number = 2
    offset = sum(map(len, lines[:number]))
    damage(lines, number)
    journal.write_bytes(b"".join(lines))
    place = f"{journal}: line {number + 1}, at byte {offset}, is not "
    (finding,) = said(host)
    assert (finding.code, finding.severity) == (UNREAD, Severity.BLIND)
    assert finding.place[:3] == (os.fsencode(journal), None, offset)
    assert place in finding.message
    found = drydock.runs(state=state_of(host))
    assert (found.runs, [each.startswith(place) for each in found.unread]) == ([], [True])
    before = tree(host.folder)
    with pytest.raises(EvidenceUnreadable) as refused:
        host.undo("first")
    assert str(refused.value) == found.unread[0]
    assert tree(host.folder) == before
    raw = journal.read_bytes()
    run = host.clean("first")
    assert not run.failed
    assert [each.startswith(place) for each in run.notes] == [True]
    assert journal.read_bytes() == raw
    assert [each.code for each in said(host)] == [UNREAD]


def test_damage_is_reported_for_the_root_of_the_journal(host, tmp_path):
    """Where the header tells it; a header that does not may be of a run on any root."""
    (tmp_path / "other").mkdir()
    other = Host(tmp_path / "other")
    other.write()
    journal = host.journal("first")
    whole = journal.read_bytes()
    shutil.copytree(tmp_path / "first-state", other.folder / "first-state")
    copy = other.journal("first")
    copy.write_bytes(whole.replace(b'"ended"', b'"ended', 1))
    assert said(other) == []
    copy.write_bytes(b"!" + whole[1:])
    assert [each.place.offset for each in said(other)] == [0]


def test_no_changed_byte_hides_the_run(host):
    """A bit of any byte but of the root: the run is found as unfinished, or its journal as damaged."""
    journal, root = host.journal("first"), RawPath(os.fsencode(host.root))
    whole = journal.read_bytes()
    named = range(whole.index(root), whole.index(root) + len(root))
    found = Counter()
    for at in range(0, len(whole), 3):
        if at not in named:
            journal.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            killed = state_dir.find_killed(root, [state_of(host)])
            found[len(killed.unfinished), len(killed.unread)] += 1
    assert found.keys() == {(1, 0), (0, 1)}


def newer(journal):
    """Of a schema that this version does not know."""
    journal.write_bytes(journal.read_bytes().replace(b"drydock.journal/1", b"drydock.journal/2", 1))


def zeros(journal):
    """All of its bytes are lost."""
    journal.write_bytes(b"\0" * journal.stat().st_size)


def link(journal):
    """Another name of a journal."""
    journal.rename(journal.parent / "journal")
    journal.symlink_to("journal")


def linked_folder(journal):
    """Another name of the folder of a run."""
    journal.parent.rename(journal.parents[2] / "elsewhere")
    journal.parent.symlink_to(journal.parents[2] / "elsewhere")


def fifo(journal):
    """To open it must not wait for a writer."""
    journal.unlink()
    os.mkfifo(journal)


def folder(journal):
    """No file."""
    journal.unlink()
    journal.mkdir()


def open_to_others(journal):
    """Others may have written it."""
    journal.chmod(0o666)


@pytest.mark.parametrize("damage", [newer, zeros, link, linked_folder, fifo, folder, open_to_others])
def test_what_is_no_journal_to_read_is_named(host, damage):
    """By all readers; only undo, which is told the path, goes through the link of a folder."""
    journal = host.journal("first")
    damage(journal)
    named = journal.parent if damage is linked_folder else journal
    (finding,) = said(host)
    assert (finding.code, finding.severity, finding.place.file) == (UNREAD, Severity.BLIND, os.fsencode(named))
    assert ("version of drydock" in finding.remedy) is (damage is newer)
    found = drydock.runs(state=state_of(host))
    assert (found.runs, [each.startswith(f"{named}: ") for each in found.unread]) == ([], [True])
    assert not host.clean("first").failed
    assert [each.code for each in said(host)] == [UNREAD]
    if damage is not linked_folder:
        with pytest.raises(EvidenceUnreadable, match="journal"):
            drydock.undo(RawPath(os.fsencode(journal)))


@pytest.mark.parametrize("length", [0, 5, 40])
def test_a_run_without_a_header_did_nothing(host, length):
    """A header is on disk before anything is done: nothing is left to report, and undo says why it has nothing."""
    journal = host.journal("first")
    journal.write_bytes(journal.read_bytes()[:length])
    assert said(host) == []
    assert drydock.runs(state=state_of(host)) == ([], [])
    with pytest.raises(EvidenceUnreadable, match="stopped before it did anything"):
        host.undo("first")


@pytest.mark.parametrize("tail", [b'{"n":7', b"\0" * 5000, b"\xff\x00" * (1 << 20), b"{\n"], ids=len)
def test_a_torn_last_line_is_no_damage(host, tail):
    """It is what a killed run leaves: the run is unfinished, and whoever does the rest ends the journal."""
    journal = host.journal("first")
    with journal.open("ab") as file:
        file.write(tail)
    assert [each.code for each in said(host)] == [FindingCode.UNFINISHED_RUN]
    assert [each.end for each in drydock.runs(state=state_of(host)).runs] == [RunEnd.UNFINISHED]
    assert not host.undo("first").failed
    assert json.loads(journal.read_bytes().splitlines()[-1])["by"] == "later"
    assert said(host) == []
    found = drydock.runs(state=state_of(host))
    assert ([each.end for each in found.runs], found.unread) == ([RunEnd.LATER], [])


def test_a_damaged_journal_of_a_run_that_goes_on_is_left_to_it(host):
    """Its last line may be half written at this moment."""
    journal = host.journal("first")
    with journal.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"{\n{\n")
        file.flush()
        assert said(host) == []


def test_a_place_of_journals_that_cannot_be_read_is_named(host, monkeypatch):
    """The state directory too; a default place of another user is a note, and one that is missing or a file is nothing.

    README has the one file copied to /dev/shm/drydock, which is a default place.
    """
    place = host.folder / "first-state"
    place.chmod(0o777)
    (finding,) = said(host)
    assert (finding.code, finding.severity, finding.place.file) == (UNREAD, Severity.BLIND, os.fsencode(place))
    place.chmod(0o700)
    there = host.folder / "there"
    monkeypatch.setattr(state_dir, "PLACES", (os.fsencode(host.folder / "missing"), os.fsencode(there)))
    assert [each.code for each in said(host)] == [FindingCode.UNFINISHED_RUN]
    there.touch()
    assert [each.code for each in said(host)] == [FindingCode.UNFINISHED_RUN]
    there.unlink()
    there.symlink_to(place)
    assert [each.severity for each in said(host) if each.code == UNREAD] == [Severity.BLIND]
    there.unlink()
    there.mkdir(0o777)
    there.chmod(0o777)
    assert [each.severity for each in said(host) if each.code == UNREAD] == [Severity.BLIND]
    if os.geteuid() == 0:
        os.chown(there, 1234, 1234)
        assert [each.severity for each in said(host) if each.code == UNREAD] == [Severity.NOTE]

"""A journal says what was intended and what ended, whatever moment it was cut off at."""

import errno
import json
import os
from pathlib import Path

import pytest
from tests.support.values import EDIT_NUMBERS

from bbolt_surgery import Receipt, RootHeader
from drydock.model.data import Fingerprint
from drydock.model.documents.journal import EditNumbers, ManifestMember
from drydock.model.errors import ActionFailed, EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.plans import Outcome, Removal, Status, Target
from drydock.reclaim.journal import Note, read_journal
from drydock.reclaim.journal_writer import JournalWriter
from drydock.reclaim.state_dir import JOURNAL

ROOT = RawPath(b"/var/lib/\xff\n")


def aim(number):
    """A removal with a hostile name."""
    path = RawPath(b"x/snapshots/%d\x1b\xfe" % number)
    return Removal(Target.SNAPSHOT, ROOT, path, Fingerprint(1, 2**63, 3, 4, 5, -6), 7, "no record")


@pytest.fixture
def writer(tmp_path):
    """An open journal."""
    fd = os.open(tmp_path, os.O_RDONLY)
    made = JournalWriter(fd, RawPath(os.fsencode(tmp_path)), ROOT, "a" * 64)
    os.close(fd)
    yield made
    made.close()


def fill(writer):
    """Two removals, a move, what was missing, and an edit; the second removal's end is not written."""
    one, two = writer.intend([aim(1), aim(2)], [None, None])
    writer.end_removal(one, Outcome(aim(1), Status.DONE, "", 4096))
    (three,) = writer.intend([aim(3)], [RawPath(b"/q/\xff")])
    writer.end_removal(three, Outcome(aim(3), Status.FAILED, "busy"))
    writer.note_missing([RawPath(b"s/metadata.db/\0\xff"), RawPath(b"s/1")])
    four = writer.intend_edit(RawPath(b"/m/meta.db"), {**EDIT_NUMBERS, "backup": "meta.db"})
    writer.end(four, Status.DONE)
    return two


def test_reads_what_it_wrote(writer):
    """All values come back, raw bytes included, and only what has no end is pending."""
    two = fill(writer)
    journal = read_journal(writer.path)
    assert (journal.root, journal.plan, journal.finished, journal.torn) == (ROOT, "a" * 64, None, False)
    assert [entry.do for entry in journal.entries] == ["remove", "remove", "move", "edit"]
    assert [entry.removal for entry in journal.entries] == [aim(1), aim(2), aim(3), None]
    assert journal.entries[2].to == b"/q/\xff"
    assert journal.entries[3].fields == {**EDIT_NUMBERS, "backup": "meta.db"}
    assert journal.missing == {b"s/metadata.db/\0\xff", b"s/1"}
    assert (journal.entries[0].ended.freed, journal.entries[2].ended.detail) == (4096, "busy")
    assert [entry.number for entry in journal.pending] == [two]
    writer.finish()
    assert read_journal(writer.path).finished is not None


def test_what_is_moved_has_its_owner_and_manifest(writer):
    """Both come back; a line without them, as of what is deleted and of older versions, has neither."""
    notes = [Note((1000, 0), ManifestMember(7, 90, "b" * 64)), Note(None, None)]
    writer.intend([aim(1), aim(2)], [RawPath(b"/q/1"), RawPath(b"/q/2")], notes)
    writer.intend([aim(3)], [None])
    assert [entry.note for entry in read_journal(writer.path).entries] == [*notes, Note(None, None)]
    assert "owner" not in Path(os.fsdecode(writer.path)).read_text().splitlines()[-1]


def test_is_true_when_torn_anywhere(writer, tmp_path):
    """Cut at each byte, it can be read, and says exactly what its whole lines said."""
    fill(writer)
    data = Path(os.fsdecode(writer.path)).read_bytes()
    header = data.index(b"\n") + 1
    for length in range(len(data)):
        torn = tmp_path / "torn"
        torn.write_bytes(data[:length])
        if length < header:
            with pytest.raises(EvidenceUnreadable):
                read_journal(RawPath(os.fsencode(torn)))
            continue
        journal = read_journal(RawPath(os.fsencode(torn)))
        whole = [json.loads(line) for line in data[:length].split(b"\n")[1:-1]]
        assert [entry.number for entry in journal.entries] == [line["n"] for line in whole if "n" in line]
        assert {entry.number for entry in journal.entries if entry.ended} == {
            line["ended"] for line in whole if "ended" in line
        }
        assert journal.torn == (data[length - 1] != ord("\n"))


@pytest.mark.parametrize("tail", [b"\0" * 512, b"\xff\n", b"{" * 100_000 + b"\n", b"[1]\n", b"[" * 100_000 + b"\n"])
def test_garbage_after_a_power_loss_ends_it(writer, tmp_path, tail):
    """What a file system may leave after the last synced byte is not read as a line."""
    fill(writer)
    with open(writer.path, "ab") as file:
        file.write(tail)
    journal = read_journal(writer.path)
    assert journal.torn
    assert len(journal.entries) == 4


@pytest.mark.parametrize(
    "line",
    [
        {"n": 1},
        {"missing": 1},
        {"ended": 9, "status": "done", "freed": 0, "detail": ""},
        {"n": 1, "do": "format", "path": "x", "target": "blob", "to": None, "bytes": 1, "why": "", "expect": [0] * 6},
        {"n": 1, "do": "remove", "path": 5, "target": "blob", "to": None, "bytes": 1, "why": "", "expect": [0] * 6},
        {"n": 1, "do": "remove", "path": "x", "target": "disk", "to": None, "bytes": 1, "why": "", "expect": [0] * 6},
        {"n": 1, "do": "remove", "path": "x", "target": "blob", "to": None, "bytes": 1, "why": "", "expect": [0]},
        {"n": 1, "do": "remove", "path": "x", "target": "blob", "to": None, "bytes": "1e", "why": "", "expect": None},
    ],
)
def test_a_forged_line_is_an_error(writer, line):
    """Whole lines that say what drydock never writes are refused, not guessed at."""
    with open(writer.path, "ab") as file:
        file.write(json.dumps(line).encode() + b"\n")
    with pytest.raises(EvidenceUnreadable):
        read_journal(writer.path)


INFINITE = float("inf")
REMOVAL = {"n": 1, "do": "move", "target": "blob", "path": "x", "to": "/q/x", "bytes": 1, "why": "",
           "expect": [0] * 6, "after_edit": True}  # fmt: skip
FIELDS = {**EDIT_NUMBERS, "backup": "/b/meta.db"}
EDIT = {"n": 1, "do": "edit", "path": "/m/meta.db", "fields": FIELDS}
ENDED = {"ended": 1, "status": "done", "freed": 0, "detail": ""}


@pytest.mark.parametrize(
    "lines",
    [
        *([{**REMOVAL, name: value}] for name in ("n", "bytes") for value in (INFINITE, 1e300, 10**40, True, "1", 1.5)),
        *([{**REMOVAL, "expect": [value, 2, 3, 4, 5, 6]}] for value in (INFINITE, float("nan"), 10**400)),
        [{**REMOVAL, "path": r"x/a\x00b"}],
        [{**REMOVAL, "to": r"/q/\x00"}],
        [{**EDIT, "path": r"/m/\x00"}],
        *([{**EDIT, "fields": {**FIELDS, "txid_after": value}}] for value in (INFINITE, None, -1, 1.0, True, 10**40)),
        [{**EDIT, "fields": {**FIELDS, "txid": 1}}],
        [{**EDIT, "fields": {name: value for name, value in FIELDS.items() if name != "grew_by"}}],
        [{**EDIT, "fields": {**FIELDS, "backup": r"/b/\x00"}}],
        [{**EDIT, "fields": "txid"}],
        [{**EDIT, "to": None}],
        [{**REMOVAL, "owner": [0]}],
        [{**REMOVAL, "owner": [-1, 0]}],
        [{**REMOVAL, "owner": [0, (1 << 32) - 1]}],
        [{**REMOVAL, "owner": "00"}],
        [{**REMOVAL, "manifest": [0, 1]}],
        [{**REMOVAL, "manifest": [0, INFINITE, "a" * 64]}],
        [{**REMOVAL, "manifest": {"at": 0}}],
        *(
            [{**REMOVAL, name: value}]
            for name, value in (
                ("new", 1),
                ("to", None),
                ("do", "remove"),
                ("do", ["move"]),
                ("after_edit", 1),
                ("why", "\ud800"),
                ("manifest", [0, 1, "x"]),
                ("manifest", [0, -1, "a" * 64]),
                ("manifest", [0, 1 << 63, "a" * 64]),
            )
        ),
        [{name: value for name, value in REMOVAL.items() if name != "after_edit"}],
        [{"missing": "x", "new": 1}],
        [{"missing": "x", "finished": "t"}],
        [{"finished": "t", "by": "earlier"}],
        [{"finished": None}],
        [{"schema": "drydock.journal/1", "tool": "", "time": "", "root": "/", "plan": "a" * 64}],
        [REMOVAL, {**ENDED, "new": 1}],
        [REMOVAL, {**ENDED, "status": "perhaps"}],
        [REMOVAL, {**ENDED, "freed": INFINITE}],
        [REMOVAL, {**ENDED, "ended": INFINITE}],
    ],
    ids=str,
)
def test_numbers_and_paths_that_there_are_not(writer, lines):
    """Numbers without end, fractions and paths with a NUL are no journal's; the same lines without them are."""
    with open(writer.path, "ab") as file:
        file.writelines(json.dumps(line).encode() + b"\n" for line in lines)
    with pytest.raises(EvidenceUnreadable):
        read_journal(writer.path)


def test_what_an_edit_writes_down_is_what_its_line_has():
    """A receipt of bbolt_surgery, in its order, and the copy."""
    root = RootHeader(1, 2)
    receipt = Receipt(1, 2, root, root, 5, 6, 7, 8)
    assert (*receipt.numbers(), "backup") == EditNumbers.__struct_fields__


def test_a_name_of_any_length_is_not_repeated_in_an_error(writer):
    """Nor are the characters in it that reorder text or move the cursor."""
    with open(writer.path, "ab") as file:
        file.write(json.dumps({**REMOVAL, "\u202e\x1b" * 50_000: 1}).encode() + b"\n")
    with pytest.raises(EvidenceUnreadable) as refused:
        read_journal(writer.path)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


def test_the_lines_that_those_are_made_of_are_sound(writer):
    """So it is the number or the path that is refused."""
    with open(writer.path, "ab") as file:
        file.writelines(json.dumps(line).encode() + b"\n" for line in (REMOVAL, ENDED, EDIT))
    assert len(read_journal(writer.path).entries) == 2


def test_a_root_with_a_nul_is_refused(tmp_path):
    """No folder is looked for."""
    path = tmp_path / "journal"
    header = {"schema": "drydock.journal/1", "tool": "x", "time": "t", "root": r"/a\x00", "plan": "a" * 64}
    path.write_text(json.dumps(header) + "\n")
    with pytest.raises(EvidenceUnreadable, match="NUL"):
        read_journal(RawPath(os.fsencode(path)))


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b'{"schema":"drydock.journal/2"}\n', b'{"schema":"drydock.journal/1"}\n']
)
def test_what_is_no_journal_is_refused(tmp_path, content):
    """Empty, foreign, newer and incomplete headers are refused with the path."""
    path = tmp_path / "journal"
    path.write_bytes(content)
    with pytest.raises(EvidenceUnreadable, match="journal"):
        read_journal(RawPath(os.fsencode(path)))


@pytest.mark.parametrize("call", ["write", "fdatasync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failed_write_ends_it_for_good(writer, monkeypatch, call, number):
    """After one error nothing more is promised, even when the disk seems to work again."""

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(ActionFailed, match=os.strerror(number)):
        writer.intend([aim(1)], [None])
    monkeypatch.undo()
    with pytest.raises(ActionFailed):
        writer.intend([aim(2)], [None])
    with pytest.raises(ActionFailed):
        writer.finish()


def test_syncs_before_it_returns(writer, monkeypatch):
    """An intention is synced after its last byte is written, and before the call comes back."""
    calls = []
    write, sync = os.write, os.fdatasync
    monkeypatch.setattr(os, "write", lambda fd, data: (calls.append("write"), write(fd, data[:100]))[1])
    monkeypatch.setattr(os, "fdatasync", lambda fd: (calls.append("sync"), sync(fd))[1])
    writer.intend([aim(1), aim(2)], [None, None])
    assert calls.count("sync") == 1
    assert calls[-1] == "sync"
    assert len(read_journal(writer.path).entries) == 2


def test_is_only_for_its_owner(writer):
    """Nobody else can read which paths a host had."""
    assert os.stat(writer.path).st_mode & 0o777 == 0o600
    assert os.path.basename(writer.path) == JOURNAL


def test_the_folder_of_a_run_is_no_journal(tmp_path):
    """The message names the file in it, and no descriptor stays open."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(EvidenceUnreadable, match=r"is a folder; the journal of a run is journal\.jsonl in it"):
        read_journal(RawPath(os.fsencode(tmp_path)))
    assert os.listdir("/proc/self/fd") == before

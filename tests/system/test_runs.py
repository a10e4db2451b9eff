"""``drydock runs`` on the journals of real runs: what they did, how they ended, and what undo can take back."""

import fcntl
import json
import os
import shutil

import pytest
from click.testing import CliRunner
from fixtures.breakages import BREAKAGES, Broken
from tests.support.captures import capture, unpack
from tests.support.documents import run
from tests.support.faults import run_counted
from tests.support.values import EDIT_NUMBERS

from bbolt_surgery import Insertion, change
from drydock.cli import main
from drydock.model.names import RawPath
from drydock.model.plans import Status
from drydock.reclaim import state_dir
from drydock.reclaim.journal_writer import JournalWriter

pytestmark = pytest.mark.root

CAPTURE = capture("docker-28.5-interrupted-pull")


class Host:
    """A capture on which runs are made, all with one state directory."""

    def __init__(self, folder):
        self.path = unpack(CAPTURE, folder)
        self.root = self.path / CAPTURE.root
        self.state = folder / "state"
        self.apart = self.path / "apart"
        self.apart.mkdir(mode=0o700)

    def words(self, *options):
        """A clean that ends temporary leases."""
        return ("clean", "--end-leases", "temporary", "--apply", "--yes", "--now", CAPTURE.taken_at,
                "--state", self.state, *options, self.path)  # fmt: skip

    def journals(self):
        """The journals, the oldest first."""
        return sorted(self.state.glob("*/journal.jsonl"), key=lambda path: path.stat().st_mtime_ns)

    def runs(self, status=0):
        """What is listed."""
        document = json.loads(run("runs", "--state", self.state, "--format", "json", status=status))
        return document["runs"], document["unread"]

    def blocks(self):
        """Bytes of the allocated blocks of all files but the databases."""
        return sum(path.lstat().st_blocks * 512 for path in self.root.rglob("*") if path.suffix != ".db")


@pytest.fixture(autouse=True)
def _no_other_runs(monkeypatch):
    """Leave this machine's own journals out."""
    monkeypatch.setattr(state_dir, "PLACES", ())


@pytest.fixture
def host(tmp_path):
    """One on which nothing ran yet."""
    yield Host(tmp_path)
    shutil.rmtree(tmp_path)


def lines(journal, **wanted):
    """The lines of a journal that have these values."""
    found = [json.loads(line) for line in journal.read_text().splitlines()]
    return [line for line in found if all(line.get(name) == value for name, value in wanted.items())]


def test_what_was_deleted_cannot_be_undone(host):
    """With the bytes by which the disk became emptier."""
    before = host.blocks()
    run(*host.words(), status=0)
    after = host.blocks()
    ((found,), unread) = host.runs()
    (journal,) = host.journals()
    assert unread == []
    assert found["journal"] == str(journal)
    assert found["root"] == str(host.root)
    assert found["began"] == lines(journal)[0]["time"]
    assert found["finished"] == lines(journal)[-1]["finished"]
    assert (found["end"], found["undo"], found["failed"]) == ("finished", "no", 0)
    assert found["deleted"] == len(lines(journal, do="remove")) > 0
    assert found["edited"] == len(lines(journal, do="edit")) > 0
    assert found["freed"] == before - after > 0
    assert (found["moved"], found["moved_bytes"]) == (0, 0)
    assert found["reason"] == f"{found['deleted']} files and directories were deleted"
    table = run("runs", "--state", host.state, status=0).splitlines()
    assert table[0].split()[:3] == ["BEGAN", "END", "DELETED"]
    assert str(journal) in table[1]
    assert table[2] == f"{journal}: cannot be undone: {found['reason']}"


def test_what_was_moved_can_be_undone_once(host):
    """Until it is undone; then the list says so."""
    run(*host.words("--quarantine", host.apart), status=0)
    ((found,), _) = host.runs()
    (journal,) = host.journals()
    assert (found["end"], found["undo"], found["reason"], found["deleted"]) == ("finished", "yes", "", 0)
    assert found["moved"] == len(lines(journal, do="move")) > 0
    assert found["moved_bytes"] == sum(line["bytes"] for line in lines(journal, do="move"))
    run("undo", journal, status=0)
    ((found,), _) = host.runs()
    assert (found["end"], found["undo"]) == ("finished", "undone")


def test_an_emptied_quarantine_is_no_way_back(host):
    """A thing that is in neither place is named; undo then fails, as was foretold."""
    run(*host.words("--quarantine", host.apart), status=0)
    (journal,) = host.journals()
    shutil.rmtree(next(host.apart.iterdir()))
    ((found,), _) = host.runs()
    gone = lines(journal, do="move")[0]["path"]
    assert (found["undo"], found["reason"]) == ("no", f"{gone} is in neither the quarantine nor its place")
    run("undo", journal, status=4)


def test_a_database_that_was_written_to_stays(host):
    """As after a start of the engine: the list says no, and undo fails."""
    run(*host.words("--quarantine", host.apart), status=0)
    (journal,) = host.journals()
    database = host.root / "io.containerd.metadata.v1.bolt/meta.db"
    with open(database, "r+b") as file:
        change(file.fileno(), os.fsencode(database), [], [Insertion((b"v1", b"moby", b"labels"), b"a", b"")])
    ((found,), _) = host.runs()
    assert (found["undo"], found["reason"]) == (
        "no",
        f"{database}: an engine or another run wrote to it since the edit",
    )
    run("undo", journal, status=4)


def test_a_repair_is_listed(host):
    """With its edits; nothing that it deletes can come back, and nothing was deleted here."""
    BREAKAGES["field_expiry"](Broken(host.root))
    options = ("--apply", "--yes", "--now", CAPTURE.taken_at, "--state", host.state)
    CliRunner().invoke(main, ["repair", *map(str, options), str(host.path)])
    ((found,), _) = host.runs()
    assert (found["end"], found["deleted"], found["undo"]) == ("finished", 0, "yes")
    assert found["edited"] == len(lines(host.journals()[0], do="edit")) > 0


def test_a_killed_run_is_unfinished_until_a_later_one_ends_it(host):
    """Both are listed, in their order."""
    ended = run_counted(*host.words("--quarantine", host.apart), kill_after=75)
    assert ended.signal
    ((found,), _) = host.runs()
    assert (found["end"], found["finished"], found["undo"]) == ("unfinished", None, "yes")
    run(*host.words("--quarantine", host.apart), status=0)
    first, *rest = host.runs()[0]
    assert (first["began"], first["end"]) == (found["began"], "finished later")
    assert [each["end"] for each in rest] == ["finished"]


def test_a_run_that_goes_on_is_running(host):
    """As long as its process holds the lock of the journal."""
    ended = run_counted(*host.words("--quarantine", host.apart), kill_after=75)
    assert ended.signal
    with host.journals()[0].open() as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        ((found,), _) = host.runs()
    assert (found["end"], found["undo"], found["reason"]) == ("running", "no", "the run goes on")


@pytest.mark.parametrize("damage", ["no header", "unknown line", "an end of nothing", "others may write"])
def test_a_damaged_journal_is_named_and_the_others_are_listed(host, damage):
    """On stderr and in the document; the status is 8."""
    run(*host.words("--quarantine", host.apart), status=0)
    (whole,) = host.journals()
    folder = host.state / "20260101T000000Z-1"
    folder.mkdir(mode=0o700)
    bad = folder / "journal.jsonl"
    text = whole.read_text().splitlines(keepends=True)
    texts = {
        "no header": "".join(text[1:]),
        "unknown line": text[0] + '{"future": 1}\n',
        "an end of nothing": text[0] + '{"ended": 7, "status": "done", "freed": 0, "detail": ""}\n',
        "others may write": "".join(text),
    }
    bad.write_text(texts[damage])
    bad.chmod(0o666 if damage == "others may write" else 0o600)
    runs, (unread,) = host.runs(status=8)
    assert [each["journal"] for each in runs] == [str(whole)]
    assert unread.startswith(f"{bad}: ")
    said = CliRunner().invoke(main, ["runs", "--state", str(host.state)])
    assert said.exit_code == 8
    assert f"drydock: {unread}; there may be runs that are not listed\n" in said.stderr
    assert str(whole) in said.stdout


def test_a_torn_line_ends_a_journal(host):
    """What came before it counts."""
    run(*host.words("--quarantine", host.apart), status=0)
    (journal,) = host.journals()
    text = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(text[:-1]) + text[-1][:9])
    ((found,), _) = host.runs()
    assert (found["end"], found["undo"]) == ("unfinished", "yes")
    assert found["moved"] > 0


def test_a_place_that_was_named_must_be_there(tmp_path):
    """A mistyped --state is not taken for one without runs; an empty one has none, and neither have the defaults."""
    said = CliRunner().invoke(main, ["runs", "--state", str(tmp_path / "no")])
    assert said.exit_code == 8
    assert f"{tmp_path}/no: No such file or directory" in said.stderr
    tmp_path.chmod(0o700)
    assert run("runs", "--state", tmp_path, status=0) == run("runs", status=0) == "No journal of a past run.\n"


@pytest.mark.slow
def test_a_journal_of_many_lines_stays_out_of_memory(tmp_path):
    """100,000 edits are counted; the memory that this takes does not hold their lines."""
    import tracemalloc

    tmp_path.chmod(0o700)
    folder = tmp_path / "run"
    folder.mkdir()
    directory = os.open(folder, os.O_RDONLY)
    writer = JournalWriter(directory, RawPath(bytes(folder)), RawPath(b"/nowhere"), "a" * 64)
    number = writer.intend_edit(RawPath(b"/nowhere/meta.db"), EDIT_NUMBERS)
    writer.end(number, Status.FAILED, detail="x" * 40)
    writer.close()
    os.close(directory)
    head, action, end = (folder / "journal.jsonl").read_text().splitlines()
    removal = {
        "n": 1, "do": "remove", "target": "blob", "path": "a" * 100, "to": None, "bytes": 4096, "why": "w" * 60,
        "expect": [1, 2, 3, 4, 5, 6], "after_edit": False,
    }  # fmt: skip
    done = {"ended": 1, "status": "done", "freed": 4096, "detail": ""}
    with (folder / "journal.jsonl").open("w") as file:
        file.write(f"{head}\n{action}\n{end}\n")
        for each in range(2, 100_002):
            file.write(json.dumps(removal | {"n": each}) + "\n" + json.dumps(done | {"ended": each}) + "\n")
    tracemalloc.start()
    try:
        (found,) = json.loads(run("runs", "--state", tmp_path, "--format", "json", status=0))["runs"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found["deleted"], found["freed"], found["failed"]) == (100_000, 100_000 * 4096, 1)
    assert peak < 8 << 20

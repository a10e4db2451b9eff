"""Undo on real captures: all comes back, or what cannot is said, and never a record without its data."""

import json
import os
import shutil
import stat

import pytest
from click.testing import CliRunner
from tests.support import gobbolt
from tests.support.captures import capture, unpack
from tests.support.documents import run, scan
from tests.support.faults import run_counted
from tests.support.records import METADATA, named_paths
from tests.support.roots import databases, dumps
from tests.support.trees import tree

from bbolt_reader import Database
from drydock.cli import main
from drydock.model.errors import ActionFailed
from drydock.reclaim import execute_edits

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

NAMES = ["docker-26.1-interrupted-pull", "docker-28.5-interrupted-pull", "containerd-1.6-planted-orphans"]
ONE = "docker-28.5-interrupted-pull"
PARTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 0.99)
"""Of the calls of a run: after which of them it is killed. All are tried in ./run prove."""


class Host:
    """A capture, unpacked to be cleaned and undone."""

    def __init__(self, name, folder):
        self.capture = capture(name)
        self.path = unpack(self.capture, folder)
        self.root = self.path / self.capture.root
        self.apart = self.path / "apart"
        self.apart.mkdir(mode=0o700)

    def clean_command(self, *options):
        """A clean that ends temporary leases."""
        return ("clean", "--end-leases", "temporary", "--apply", "--yes", "--now", self.capture.taken_at, "--state",
                self.path / "state", *options, self.path)  # fmt: skip

    def clean(self, *options, status=0):
        """Run it; its journal."""
        run(*self.clean_command(*options), status=status)
        return self.journal()

    def journal(self):
        """The one journal."""
        (journal,) = self.path.glob("state/*/journal.jsonl")
        return journal

    def seen(self):
        """Go's dumps, and the tree but for the databases' bytes, change times, and modification times of folders."""
        names = {bytes(path.relative_to(self.root)) for path in databases(self.root)}
        found = {}
        for name, (mode, *rest, times) in tree(self.root).items():
            if name not in names:
                found[name] = (mode, *rest, None if stat.S_ISDIR(mode) else times[0])
        return dumps(self.root), found


@pytest.fixture
def host(tmp_path):
    """The usual one."""
    yield Host(ONE, tmp_path)
    shutil.rmtree(tmp_path)


def rewrite(journal, change):
    """A journal with each line changed."""
    lines = [change(json.loads(line)) for line in journal.read_text().splitlines()]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))


def refusal(*command):
    """What a command says that ends with status 32."""
    result = CliRunner().invoke(main, [str(each) for each in command])
    assert result.exit_code == 32, result.output
    return result.output


def missing(host):
    """What records name and is not on disk, by Go's reading."""
    return {path for path in named_paths(host.root) if not os.path.lexists(host.root / path)}


@pytest.mark.parametrize("name", NAMES)
def test_what_was_quarantined_comes_back_byte_for_byte(name, tmp_path):
    """Tree and Go's dumps are as before the run; a second undo changes nothing, and says so with status 0."""
    host = Host(name, tmp_path)
    before = host.seen()
    journal = host.clean("--quarantine", host.apart)
    assert host.seen() != before
    run("undo", journal, status=0)
    assert host.seen() == before
    assert list(host.apart.iterdir()) == []
    for path in databases(host.root):
        assert gobbolt.check(path) == (0, "")
    raw = {path: path.read_bytes() for path in databases(host.root)}
    text = run("undo", journal, status=0)
    assert "as it was before the edit" in text
    assert host.seen() == before
    assert {path: path.read_bytes() for path in databases(host.root)} == raw


def test_what_was_deleted_cannot_come_back(host):
    """Status 4; each lost thing is named, and the backups; the databases stay as the run left them."""
    journal = host.clean()
    after = host.seen()
    raw = {path: path.read_bytes() for path in databases(host.root)}
    text = run("undo", journal, status=4)
    assert "cannot be put back" in text
    assert {path: path.read_bytes() for path in databases(host.root)} == raw
    assert host.seen() == after
    backups = sorted(journal.parent.glob("*.db"))
    assert len(backups) == 2
    for backup in backups:
        assert str(backup) in text
        assert gobbolt.check(backup) == (0, "")


def test_backups_are_the_databases_as_they_were(host):
    """By Go's dump, the backup of each database is what it was before the run."""
    before = dumps(host.root)
    journal = host.clean()
    found = {backup.name: gobbolt.dump(backup) for backup in journal.parent.glob("*.db")}
    assert len(found) == 2
    assert found.items() <= {name.replace("/", "."): dumped for name, dumped in before.items()}.items()


@pytest.mark.parametrize("which", [0, 1])
def test_a_database_that_somebody_wrote_to_is_left(host, which):
    """Go's bbolt wrote to meta.db, or to metadata.db: neither is put back, their data stays in quarantine."""
    before = missing(host)
    journal = host.clean("--quarantine", host.apart)
    written = databases(host.root)[which]
    assert gobbolt.churn(written, 1, 5) == ""
    after = host.seen()
    text = run("undo", journal, status=4)
    assert host.seen() == after
    assert "wrote to it since the edit" in text
    assert str(journal.parent / str(written.relative_to(host.root)).replace("/", ".")) in text
    assert str(host.apart) in text
    assert missing(host) == before


def test_what_is_no_longer_in_quarantine_keeps_its_record_away(host):
    """Somebody emptied the quarantine in part: the rest comes back, the databases do not."""
    before = missing(host)
    journal = host.clean("--quarantine", host.apart)
    blob = next(path for path in host.apart.glob("**/blobs/sha256/*") if path.is_file())
    blob.unlink()
    after = dumps(host.root)
    text = run("undo", journal, status=4)
    assert "not in quarantine" in text
    assert dumps(host.root) == after
    assert missing(host) <= before
    assert not list(host.apart.glob("**/blobs/sha256/*"))


def test_a_place_that_is_taken_again_keeps_the_records_away(host):
    """A blob was pulled again: it is not replaced, and the databases stay."""
    journal = host.clean("--quarantine", host.apart)
    blob = next(path for path in host.apart.glob("**/blobs/sha256/*") if path.is_file())
    again = host.root / "io.containerd.content.v1.content/blobs/sha256" / blob.name
    again.write_bytes(b"pulled again")
    after = dumps(host.root)
    assert "something else is in its place" in run("undo", journal, status=4)
    assert again.read_bytes() == b"pulled again"
    assert dumps(host.root) == after


def test_of_the_quarantine_only_empty_folders_go_that_the_run_made(host):
    """What the user put there stays, folders too; what one undo leaves keeps its folders, and the next takes them."""
    before = host.seen()
    journal = host.clean("--quarantine", host.apart)
    (made,) = host.apart.iterdir()
    folders = sorted(path for path in made.rglob("blobs/sha256"))
    (blob, *_) = (path for path in folders[0].iterdir() if path.is_file())
    blob.rename(host.path / "elsewhere")
    there = sorted(path for path in host.apart.rglob("*") if path.is_dir() and path.parent.name != "snapshots")
    assert "it is not in quarantine" in run("undo", journal, status=4)
    assert {*folders, made} <= set(there) & set(host.apart.rglob("*"))
    (host.path / "elsewhere").rename(blob)
    (folders[0].parent / "mine").mkdir()
    (host.apart / "20260101T000000Z-1").mkdir()
    run("undo", journal, status=0)
    assert host.seen() == before
    kept = [folders[0].parents[1], folders[0].parent, folders[0].parent / "mine"]
    assert sorted(host.apart.rglob("*")) == sorted([host.apart / "20260101T000000Z-1", made, *kept])


def test_after_a_whole_undo_what_went_since_is_said_to_be_nowhere(host):
    """The folders of the quarantine are gone, and the answer is the one that it was while they were there."""
    journal = host.clean("--quarantine", host.apart)
    blob = next(path for path in host.apart.glob("**/blobs/sha256/*") if path.is_file())
    run("undo", journal, status=0)
    (host.root / "io.containerd.content.v1.content/blobs/sha256" / blob.name).unlink()
    assert "failed: it is not in quarantine" in run("undo", journal, status=4)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS if "DRYDOCK_TEST_EVERY_KILL" in os.environ else PARTS[::2])
def test_a_killed_run_can_be_undone(host, tmp_path_factory, part):
    """Wherever a run with a quarantine was killed, undo brings back what was; the journal is closed with it."""
    trial = Host(ONE, tmp_path_factory.mktemp("trial"))
    calls = len(run_counted(*trial.clean_command("--quarantine", trial.apart)).calls)
    shutil.rmtree(trial.path)
    before = host.seen()
    ended = run_counted(*host.clean_command("--quarantine", host.apart), kill_after=int(calls * part))
    assert ended.signal
    run("undo", host.journal(), status=0)
    assert host.seen() == before
    assert list(host.apart.iterdir()) == []
    found = scan(host.capture, host.path, "--state", host.path / "state")
    assert [finding for finding in found["findings"] if finding["code"] == "unfinished-run"] == []


@pytest.mark.slow
@pytest.mark.parametrize("closed", [True, False], ids=["finished", "killed-too"])
@pytest.mark.parametrize("place", ["state", "elsewhere"])
def test_a_killed_run_that_a_later_one_went_on_from_keeps_its_databases(host, closed, place):
    """The later run deleted what the first had only let go of: no record of it comes back, wherever its journal is."""
    before = missing(host)
    trial = run_counted(*host.clean_command("--quarantine", host.apart), kill_after=75)
    assert trial.signal
    journal = host.journal()
    assert not [line for line in map(json.loads, journal.read_text().splitlines()) if line.get("target") == "snapshot"]
    assert '"do":"edit"' in journal.read_text()
    (host.path / "elsewhere").mkdir(mode=0o700)
    later = host.clean_command("--state", host.path / place)
    ended = run_counted(*later, kill_after=0 if closed else 35)
    assert ended.signal == (0 if closed else 9)
    after = dumps(host.root)
    assert "which its former records name, is gone" in run("undo", journal, status=4)
    assert dumps(host.root) == after
    assert missing(host) <= before


def test_a_run_whose_rows_a_later_one_removed_keeps_its_databases(host, monkeypatch):
    """metadata.db could not be edited, and the run ended so; the next, with another state directory, did that."""

    def fail_on_rows(lock, name, *rest, **options):
        if os.path.basename(name) == b"metadata.db":
            raise ActionFailed("no")
        return edit(lock, name, *rest, **options)

    edit = execute_edits.edit
    with monkeypatch.context() as patched:
        patched.setattr(execute_edits, "edit", fail_on_rows)
        journal = host.clean("--quarantine", host.apart, status=4)
    (host.path / "elsewhere").mkdir(mode=0o700)
    run(*host.clean_command("--state", host.path / "elsewhere"), status=0)
    after = dumps(host.root)
    text = run("undo", journal, status=4)
    assert "metadata.db/moby/" in text
    assert "which its former records name, is gone" in text
    assert dumps(host.root) == after


def test_a_killed_run_that_had_nothing_left_to_do_can_be_undone(host):
    """It was killed before its last line, and a later run that found nothing more closed its journal."""
    before = host.seen()
    journal = host.clean("--quarantine", host.apart)
    lines = journal.read_text().splitlines(keepends=True)
    assert lines[-1].startswith('{"finished":')
    journal.write_text("".join(lines[:-1]))
    run(*host.clean_command(), status=0)
    assert '"by"' in journal.read_text().splitlines()[-1]
    run("undo", journal, status=0)
    assert host.seen() == before


def test_the_second_of_two_killed_runs_can_be_undone(host):
    """Within a second of each other, too: which came first is still known."""
    first = run_counted(*host.clean_command(), kill_after=30)
    (earlier,) = host.path.glob("state/*/journal.jsonl")
    between = host.seen()
    second = run_counted(*host.clean_command("--quarantine", host.apart), kill_after=60)
    assert first.signal
    assert second.signal
    (journal,) = set(host.path.glob("state/*/journal.jsonl")) - {earlier}
    assert '"do":"edit"' in journal.read_text()
    first_time, second_time = (json.loads(each.read_text().splitlines()[0])["time"] for each in (earlier, journal))
    assert first_time < second_time
    run("undo", journal, status=0)
    assert host.seen() == between


@pytest.mark.slow
def test_an_undo_that_is_killed_is_finished_by_the_next(host, tmp_path):
    """At no moment of an undo does a record stand without its data; run again, it ends with all as before."""
    before, lacked = host.seen(), missing(host)
    journal = host.clean("--quarantine", host.apart)
    for _ in range(100):
        # Each time a little further: the first call that changes something, then the next.
        ended = run_counted("undo", journal, kill_after=3)
        assert missing(host) <= lacked
        for path in databases(host.root):
            assert gobbolt.check(path) == (0, "")
        if not ended.signal:
            break
    assert ended.status == 0, ended.output
    assert host.seen() == before
    assert list(host.apart.iterdir()) == []


@pytest.mark.parametrize("same", [True, False])
def test_the_journal_of_another_root_moves_nothing(host, tmp_path_factory, same):
    """A root under the journal's name that was not cleaned: all is there, by contents; what is not the same is said."""
    journal = host.clean("--quarantine", host.apart)
    other = Host(ONE, tmp_path_factory.mktemp("other"))
    moved = next(path for path in host.apart.glob("*/*/blobs/sha256/*") if path.stat().st_size)
    if not same:
        blob = other.root / "io.containerd.content.v1.content/blobs/sha256" / moved.name
        blob.write_bytes(bytes(blob.stat().st_size))
    before = other.seen()

    def move(line):
        text = json.dumps(line)
        kept = {field: line[field] for field in ("to",) if field in line}
        return {**json.loads(text.replace(str(host.root), str(other.root))), **kept}

    rewrite(journal, move)
    there = sorted(host.apart.rglob("*"))
    text = run("undo", journal, status=0 if same else 4)
    assert ("something else is in its place: " in text) != same
    assert other.seen() == before
    assert sorted(host.apart.rglob("*")) == there


@pytest.mark.parametrize("field", ["path", "to"])
@pytest.mark.parametrize(
    "place", ["../../../../../../etc/passwd", "/etc/passwd", "", "io.containerd.content.v1.content"]
)
def test_a_forged_journal_reaches_nothing(host, field, place, tmp_path):
    """Paths that lead out of the root or the quarantine, or to its folders: nothing is moved."""
    journal = host.clean("--quarantine", host.apart)
    after = host.seen()
    there = sorted(host.apart.rglob("*"))
    rewrite(journal, lambda line: {**line, field: place} if line.get("do") == "move" else line)
    run("undo", journal, status=4)
    assert host.seen() == after
    assert sorted(host.apart.rglob("*")) == there


ROOTS = {
    "the other meta": {"root_before": 0},
    "the freelist or a meta": {"root_before": 1},
    "the root that the edit made": {"root_before": "root_after"},
    "the page before": {"root_before": ("root_before", -1)},
    "the page after": {"root_before": ("root_before", 1)},
    "a page far away": {"root_before": 1 << 40},
    "another sequence": {"sequence_before": 7},
    "fewer pages": {"hwm_before": ("hwm_before", -1)},
    "another transaction": {"txid_before": ("txid_before", -2)},
    "as if the edit had not been made": {
        "txid_before": "txid_after", "root_before": "root_after", "sequence_before": "sequence_after",
        "hwm_before": "hwm_after", "txid_after": ("txid_after", 9),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "which", "copy"),
    [
        pytest.param(wrong, which, copy, id=f"{name}-{which}-{'copy' if copy else 'no copy'}")
        for name, wrong in ROOTS.items()
        for which, copy in (("meta.db", True), ("metadata.db", True), ("meta.db", False))
        if copy or "txid_after" not in wrong  # of that only the copy tells
    ],
)
def test_a_former_root_that_no_page_tells_of_is_refused(host, wrong, which, copy):
    """Status 32 with the page's number, though the journal says it was the root; nothing is moved or committed."""
    journal = host.clean("--quarantine", host.apart)
    after, there = host.seen(), sorted(host.apart.rglob("*"))

    def forge(line):
        if line.get("do") != "edit" or not line["path"].endswith(f"/{which}"):
            return line
        fields = dict(line["fields"])
        for name, value in wrong.items():
            named, add = value if isinstance(value, tuple) else (value, 0)
            fields[name] = line["fields"][named] + add if isinstance(named, str) else named
        return {**line, "fields": fields}

    if not copy:
        for backup in journal.parent.glob("*.db"):
            backup.unlink()
    rewrite(journal, forge)
    assert "the journal was changed" in refusal("undo", journal)
    assert host.seen() == after
    assert sorted(host.apart.rglob("*")) == there


def test_the_copy_alone_tells_the_former_root(host):
    """The database's older meta is damaged, and the copy is there: all comes back."""
    before = host.seen()
    journal = host.clean("--quarantine", host.apart)
    path = host.root / METADATA
    with Database.open(path) as database:
        older = 1 - database.meta.index
        offset = database.metas[older].offset
    with path.open("r+b") as file:
        file.seek(offset + 16)
        file.write(bytes(64))
    run("undo", journal, status=0)
    assert host.seen() == before


def test_a_journal_whose_root_is_gone(host):
    """Status 8, and nothing in quarantine is touched."""
    journal = host.clean("--quarantine", host.apart)
    host.root.rename(host.path / "elsewhere")
    there = sorted(host.apart.rglob("*"))
    run("undo", journal, status=8)
    assert sorted(host.apart.rglob("*")) == there


def test_a_journal_that_others_can_write_to_is_not_believed(host):
    """Status 8: what somebody else may have written moves nothing."""
    journal = host.clean("--quarantine", host.apart)
    after = host.seen()
    journal.chmod(0o666)
    run("undo", journal, status=8)
    assert host.seen() == after


def test_a_database_in_use_is_refused(host):
    """Somebody holds meta.db's lock: status 32, nothing is moved."""
    import fcntl

    journal = host.clean("--quarantine", host.apart)
    after = host.seen()
    with (host.root / METADATA).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        run("undo", journal, status=32)
    assert host.seen() == after

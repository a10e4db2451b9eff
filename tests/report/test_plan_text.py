"""What a plan shows before, and a run after."""

from tests.support.scans import HOSTILE, scan_of_everything
from tests.support.values import FINGERPRINT

from drydock.model.findings import Finding, FindingCode, Place, Severity
from drydock.model.names import RawPath
from drydock.model.plans import ContainerDrop, Outcome, Removal, Status, Target
from drydock.model.runs import EditOutcome, Run
from drydock.report.plan_text import plan_lines, run_lines, scan_lines


def removal(number, size):
    """A removal of so many bytes."""
    path = RawPath(b"blobs/\x1b[2J%d" % number)
    return Removal(Target.BLOB, RawPath(b"/store"), path, FINGERPRINT, size, "no record names it")


def test_removals_largest_first_and_bounded():
    """Sum and count of all; the largest are named, the rest is counted; no control character."""
    plan = scan_of_everything().plan._replace(
        removals=tuple(removal(number, number * 1024) for number in range(50)),
        leases=(), records=(), rows=(), withheld=(),
    )  # fmt: skip
    lines = list(plan_lines(plan))
    assert lines[0] == "/store: 1.2 MiB in 50 files and directories"
    assert lines[1].split()[:2] == ["49.0", "KiB"]
    assert sum("blobs/" in line for line in lines) == 40
    assert lines[-1].strip().startswith("and 10 more")
    assert all(line.isprintable() for line in lines)


def test_leases_and_records_are_named():
    """The lease that ends by its shown name, and how many records of each kind go."""
    lines = list(plan_lines(scan_of_everything().plan))
    assert any(line.startswith("  ends lease old\\x1b[31m") for line in lines)
    assert any("deletes from meta.db the records of" in line and "blob" in line for line in lines)
    assert all(line.isprintable() for line in lines)


def test_an_older_database_is_said_before_the_plan():
    """And what to do about it: after the removal it is too late."""
    scan = scan_of_everything()
    older = Finding(
        FindingCode.OLDER_DATABASE, Severity.NOTE, "it is older", Place(RawPath(b"/store/meta.db")), "x", "put it back"
    )
    scan.verdict.findings.append(older)
    lines = list(scan_lines(scan))
    assert lines[:2] == ["note: it is older", "  what to do: put it back"]
    assert lines[2:] == list(plan_lines(scan.plan))


def test_nothing_to_remove():
    """Says so, and what is kept with the reason."""
    lines = list(plan_lines(scan_of_everything(complete=False).plan))
    assert lines[0] == "/store: nothing to remove"
    assert lines[1].startswith("  kept: ")


def test_what_a_run_did():
    """Failures in full and without control characters, the rest counted, the bytes that went, backups and journal."""
    run = Run(RawPath(b"/store/" + HOSTILE), RawPath(b"/state/" + HOSTILE), "the default")
    run.outcomes = [
        Outcome(removal(1, 1), Status.DONE, freed=4096),
        Outcome(removal(2, 1), Status.DONE, freed=4096),
        Outcome(removal(3, 1), Status.GONE),
        Outcome(removal(4, 1), Status.FAILED, "Operation not permitted"),
        Outcome(removal(5, 1), Status.CHANGED, "its size changed"),
    ]
    run.edits = [EditOutcome(RawPath(b"/store/meta.db"), 1, 2, Status.DONE, backup=RawPath(b"/state/" + HOSTILE))]
    run.warnings = ["a warning"]
    text = "\n".join(run_lines(run))
    for words in (
        "database /store/meta.db: done: 2 entries, 1 lease. Backup: /state/",
        ": failed: Operation not permitted",
        ": changed since the plan: its size changed",
        "a warning",
        "2 done, 1 already gone, 1 failed, 1 changed since the plan; 8.0 KiB freed",
        "journal: /state/",
    ):
        assert words in text
    assert all(line.isprintable() for line in text.splitlines())


def test_what_an_undo_did():
    """What is in its place was not lost, and nothing was freed."""
    run = Run(RawPath(b"/store"), None, "", is_undo=True)
    ends = (Status.DONE, Status.GONE, Status.GONE, Status.FAILED)
    run.outcomes = [Outcome(removal(number, 1), end) for number, end in enumerate(ends, 1)]
    assert list(run_lines(run))[-1] == "  files and directories: 1 put back, 2 in place, 1 not put back"


def test_a_run_says_where_it_moved_data():
    """Nothing of that is freed."""
    run = Run(RawPath(b"/store"), None, "", quarantine=RawPath(b"/aside/" + HOSTILE))
    run.outcomes = [Outcome(removal(1, 1), Status.DONE), Outcome(removal(2, 1), Status.GONE)]
    *_, counted, quarantine = run_lines(run)
    assert counted == "  files and directories: 1 moved to quarantine, 1 already gone; 0 B freed"
    assert quarantine.startswith("  quarantine: /aside/")
    assert quarantine.isprintable()


def test_what_an_edit_did():
    """Only counts that are not 0, and no count at all where the detail says what happened."""
    path, backup = RawPath(b"/store/meta.db"), RawPath(b"/state/meta.db")
    run = Run(RawPath(b"/store"), None, "")
    run.edits = [
        EditOutcome(path, 0, 0, Status.DONE, backup=backup, fields=1),
        EditOutcome(path, 0, 0, Status.DONE, "its former contents are back", backup),
        EditOutcome(path, 5, 1, Status.FAILED, "no space", backup),
    ]
    assert list(run_lines(run))[1:4] == [
        "  database /store/meta.db: done: 1 key removed from other records. Backup: /state/meta.db",
        "  database /store/meta.db: done (its former contents are back). Backup: /state/meta.db",
        "  database /store/meta.db: failed (no space). Backup: /state/meta.db",
    ]


def test_a_name_is_one_word_of_a_command():
    """What is copied runs no other command, and drydock reads the name from it."""
    plan = scan_of_everything().plan._replace(
        containers=(ContainerDrop(b"", b"a" * 64, b"a;$(reboot) \x1b", 4096, "it is to go"),)
    )
    assert any("drydock export container 'a;$(reboot) \\x1b' -o FILE" in line for line in plan_lines(plan))

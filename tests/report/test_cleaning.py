"""What a clean shows before and after."""

from tests.support.scans import scan_of_everything
from tests.support.values import FINGERPRINT

from drydock.model.names import RawPath
from drydock.model.plans import Outcome, Removal, Status, Target
from drydock.report.cleaning import outcome_lines, removal_lines, withheld_lines


def removal(number, size):
    """A removal of so many bytes."""
    path = RawPath(b"blobs/\x1b[2J%d" % number)
    return Removal(Target.BLOB, RawPath(b"/store"), path, FINGERPRINT, size, "no record names it")


def test_removals_largest_first_and_bounded():
    """Sum and count of all; the largest are named, the rest is counted."""
    scan = scan_of_everything()
    scan.removals = [removal(number, number * 1024) for number in range(50)]
    lines = list(removal_lines(scan))
    assert lines[0] == "/store: 1.2 MiB in 50 objects that no record names"
    assert lines[1].split()[:2] == ["49.0", "KiB"]
    assert sum("blobs/" in line for line in lines) == 40
    assert lines[-1].strip().startswith("and 10 more")
    assert all(line.isprintable() for line in lines)


def test_nothing_to_remove():
    """Says so, in one line."""
    scan = scan_of_everything(complete=False)
    assert list(removal_lines(scan)) == ["/store: nothing to remove"]
    (line,) = withheld_lines(scan)
    assert line.startswith("  kept: 1 object that no record names, because ")


def test_outcomes():
    """Failures in full and without control characters, the rest counted, and the bytes that went."""
    outcomes = [
        Outcome(removal(1, 1), Status.DONE, freed=4096),
        Outcome(removal(2, 1), Status.DONE, freed=4096),
        Outcome(removal(3, 1), Status.GONE),
        Outcome(removal(4, 1), Status.FAILED, "Operation not permitted"),
        Outcome(removal(5, 1), Status.CHANGED, "its size changed"),
    ]
    lines = list(outcome_lines(outcomes))
    assert len(lines) == 3
    assert lines[0].endswith(": failed: Operation not permitted")
    assert lines[1].endswith(": changed since the plan: its size changed")
    assert lines[2] == "  2 done, 1 already gone, 1 failed, 1 changed since the plan; 8.0 KiB freed"
    assert all(line.isprintable() for line in lines)
    assert list(outcome_lines([])) == ["  nothing was to be done; 0 B freed"]

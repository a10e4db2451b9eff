"""Which measured snapshots are called far from what was recorded when they were committed, and which are not."""

import pytest
from tests.support.values import FINGERPRINT, NOW, blob, digest, image, snapshot, store

from drydock.model.data import Backend, LayoutKind, Occupancy, Row, RowKind, SnapshotEntry
from drydock.model.names import RawPath
from drydock.verdict.judge import judge

KIB = 1024


def findings(occupied, *, size, inodes, kind=RowKind.COMMITTED, held=True):
    """What is said of one snapshot: code and severity."""
    chain = {b"containerd.io/gc.ref.snapshot.overlayfs": b"top"}
    found = store(image(digest(1)), blob(digest(1), chain if held else {}), snapshot(b"top"), files=[digest(1)])
    (record,) = found.metadata.snapshots
    path = RawPath(b"io.containerd.snapshotter.v1.overlayfs/snapshots/7")
    found.backends = {
        b"overlayfs": Backend(
            b"overlayfs", RawPath(b"io.containerd.snapshotter.v1.overlayfs"), LayoutKind.OVERLAY,
            {record.name: Row(record.name, 7, kind, b"", size, inodes, {})}, 7,
            [SnapshotEntry(b"7", path, 7, FINGERPRINT, True, 0, occupied)],
        )
    }  # fmt: skip
    verdict, _ = judge(found, NOW)
    return [(each.code, each.severity.name.lower()) for each in verdict.findings if each.subject == "top"]


DAMAGE, NOTE = [("snapshot-size", "damage")], [("snapshot-size", "note")]


@pytest.mark.parametrize(
    ("occupied", "size", "inodes", "said"),
    [
        (Occupancy(3, 68 * KIB, 72 * KIB), 68 * KIB, 3, []),
        # A power cut: the entries are there, the bytes are not.
        (Occupancy(3, 8 * KIB, 8 * KIB), 68 * KIB, 3, DAMAGE),
        # An entry is gone, however small.
        (Occupancy(2, 68 * KIB, 72 * KIB), 68 * KIB, 3, DAMAGE),
        # Compressed, or with holes: the lengths still fit.
        (Occupancy(3, 9 * KIB, 70 * KIB), 68 * KIB, 3, []),
        # XFS had allocated ahead as much again, and a third of that is gone since.
        (Occupancy(3, 68 * KIB, 72 * KIB), 140 * KIB, 3, []),
        # Recorded by a file system that counts blocks late.
        (Occupancy(300, 1200 * KIB, 1200 * KIB), 150 * KIB, 300, []),
        (Occupancy(4, 72 * KIB, 76 * KIB), 68 * KIB, 3, NOTE),
        (Occupancy(3, 468 * KIB, 468 * KIB), 68 * KIB, 3, NOTE),
    ],
)
def test_what_is_far(occupied, size, inodes, said):
    """Fewer inodes, or much less than the files can take; more is a note; what a file system explains is nothing."""
    assert findings(occupied, size=size, inodes=inodes) == said


def test_what_is_not_compared():
    """A snapshot that is written to, one of which nothing was recorded, and one that was not measured."""
    empty = Occupancy(1, 4 * KIB, 4 * KIB)
    assert findings(empty, size=68 * KIB, inodes=3, kind=RowKind.ACTIVE) == []
    assert findings(empty, size=None, inodes=None) == []
    assert findings(None, size=68 * KIB, inodes=3) == []


def test_what_nothing_reaches_is_a_note():
    """The engine collects it, whatever is in it."""
    assert findings(Occupancy(1, 4 * KIB, 4 * KIB), size=68 * KIB, inodes=3, held=False) == NOTE

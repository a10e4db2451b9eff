"""Records and rows that contradict each other, and blobs with wrong bytes that a pull would adopt."""

from tests.support.values import NS, blob, digest, image, snapshot, store

from drydock.model.data import Backend, LayoutKind, Row, RowKind
from drydock.model.findings import Severity
from drydock.model.names import Kind, RawPath, Ref
from drydock.repairs.broken_chains import disagreements, wrong_orphans


def overlay(*rows):
    """A snapshotter with rows (name, parent)."""
    backend = Backend(b"overlayfs", RawPath(b"io.containerd.snapshotter.v1.overlayfs"), LayoutKind.OVERLAY)
    for number, (name, parent) in enumerate(rows, 1):
        row = Row(name, number, RowKind.COMMITTED, parent, None, None, {}, None, None)
        backend.rows[name] = row
    return {b"overlayfs": backend}


def said(found):
    """Code, severity and subject of each finding, with its records."""
    return [(each.code, each.severity, each.subject, refs) for each, refs in found]


def test_a_parent_without_a_record():
    """A parent without a record is damage, whatever the row has."""
    top = snapshot(b"top", b"base")
    read = store(top, backends=overlay((b"moby/1/top", b"moby/1/base"), (b"moby/1/base", b"")))
    assert said(disagreements(read, ())) == [("missing-parent", Severity.DAMAGE, "top", (top.ref,))]
    assert disagreements(read, ())[0][0].message == "snapshot top: its parent base has no record"


def test_a_row_with_another_parent_than_its_record():
    """A row with another parent than the record is damage; equal parents are no finding."""
    base, top = snapshot(b"base"), snapshot(b"top", b"base")
    rows = (b"moby/1/base", b""), (b"moby/1/other", b"")
    other = store(base, top, backends=overlay(*rows, (b"moby/1/top", b"moby/1/other")))
    assert said(disagreements(other, ())) == [("other-parent", Severity.DAMAGE, "top", (top.ref,))]
    same = store(base, top, backends=overlay(*rows, (b"moby/1/top", b"moby/1/base")))
    assert disagreements(same, ()) == []


def test_a_target_without_a_record_says_what_gives_it_one():
    """If the blob is on disk, its record can be added; else the image has to be pulled."""
    of = image(digest(1))
    read = store(of)
    target = Ref(Kind.BLOB, NS, digest(1))
    for adoptable, words in (((), "pull the image again"), ((target,), "run drydock repair --adopt")):
        ((finding, refs),) = disagreements(read, adoptable)
        assert (finding.code, refs) == ("missing-target", (of.ref,))
        assert finding.remedy.startswith(words)


def test_only_wrong_bytes_without_a_record_are_an_orphans():
    """A blob with wrong bytes and no record is a note with its path; with a record, another finding reports it."""
    read = store(blob(digest(1)), files=(digest(1), digest(2), digest(3)))
    read.wrong = frozenset((digest(1), digest(2)))
    (found,) = wrong_orphans(read)
    assert (found.code, found.severity, found.subject) == ("corrupt-orphan", Severity.NOTE, digest(2).decode())
    assert found.place.file.endswith(digest(2).partition(b":")[2])
    assert "clean --apply" in found.remedy

"""Dangling references: which are usual, what they may have meant, and what is withheld for it."""

import pytest
from fuzz.stores import digest
from tests.support.values import FINGERPRINT, NOW, NS, blob, image, lease, snapshot, store

from drydock.model.data import Backend, LayoutKind, Row, RowKind, SnapshotEntry
from drydock.model.findings import Severity
from drydock.model.names import Kind, RawPath, Ref
from drydock.model.policies import EndLeases, Policy
from drydock.model.records import Blob, Container, Ingest, Snapshot
from drydock.model.roots import DockerContainer, Owners
from drydock.reclaim.plan import make_plan
from drydock.verdict.judge import judge

CONTAINER = b"c" * 63 + b"0"
RECORD = b"0123456789abcdefghijklmno"
FLAT = {b"containerd.io/gc.flat": b"2026-01-01T00:00:00Z"}
PULL = {b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z"}
CHANGED = {f"{kind}_changed": NOW for kind in ("containers", "images", "build_records", "build_history")}


def owners(**known):
    """Docker's owners, all of them known."""
    names = {"containers": {}, "images": frozenset(), "build_records": frozenset(), "build_history": frozenset()}
    return Owners(**{**names, **CHANGED, **known})


def wrong(name):
    """The same name with one byte in it wrong."""
    return name[:20] + (b"0" if name[20:21] != b"0" else b"1") + name[21:]


def ingest(name):
    """A write that only a lease holds."""
    return Ingest(NS, name, NS + b"/1/" + name, None, None)


def planned(*records, policy=None, **known):
    """The verdict, the plan's records, and what is withheld, by key."""
    backend = Backend(b"overlayfs", RawPath(b"overlayfs"), LayoutKind.OVERLAY)
    for number, each in enumerate(records, 1):
        if isinstance(each, Snapshot):
            backend.rows[each.name] = Row(each.name, number, RowKind.ACTIVE, b"", None, None, {})
            path = RawPath(b"overlayfs/snapshots/%d" % number)
            backend.entries.append(SnapshotEntry(b"%d" % number, path, number, FINGERPRINT, True, 4096))
    files = [each.digest for each in records if isinstance(each, Blob)]
    of = store(*records, files=files, owners=owners(**known), backends={b"overlayfs": backend})
    verdict, reached = judge(of, NOW)
    plan = make_plan(verdict, reached, policy or Policy(), ())
    return verdict, {each.ref for each in plan.records}, {each.id: each.reason for each in plan.withheld}


def codes(verdict):
    """Code and severity of each finding."""
    return [(each.code, each.severity) for each in verdict.findings]


def test_an_ended_write_in_a_lease_is_a_note():
    """A lease that lists a write which was ended says nothing: what nothing holds goes."""
    pull = lease(b"pull", PULL, ingests=[b"layer-" + digest(1)])
    verdict, gone, withheld = planned(pull, ingest(b"layer-" + digest(2)))
    assert codes(verdict) == [("lease-names-absent", Severity.NOTE)]
    assert gone == {Ref(Kind.INGEST, NS, b"layer-" + digest(2))}
    assert not withheld


def test_a_write_that_is_called_nearly_as_a_listed_one_stays():
    """One byte of the name in the lease is wrong: the write may be the one that was meant."""
    near = b"layer-" + wrong(digest(1))
    verdict, gone, withheld = planned(lease(b"pull", PULL, ingests=[b"layer-" + digest(1)]), ingest(near))
    assert codes(verdict) == [("lease-names-absent", Severity.DAMAGE)]
    assert not gone
    assert "lease pull may mean it" in withheld[near.decode()]


def test_the_first_name_that_may_be_meant_is_told():
    """Of several the message names the one of the first reference, and not another one in each run."""
    listed = [digest(number) for number in range(1, 9)]
    verdict, _, _ = planned(lease(b"mine", blobs=listed), *(blob(wrong(each)) for each in listed))
    (finding,) = verdict.findings
    assert f"blob {wrong(listed[0]).decode()}, which nothing" in finding.message


@pytest.mark.parametrize(
    ("name", "labels", "known", "usual"),
    [
        (RECORD, FLAT, {"build_records": frozenset((RECORD,)), "build_blobs_only": frozenset((RECORD,))}, True),
        (RECORD, FLAT, {"build_records": frozenset((RECORD,))}, False),
        (RECORD, FLAT, {}, True),  # whether it was unpacked is not known
        (CONTAINER, {}, {"containers": {CONTAINER: DockerContainer(CONTAINER)}}, False),
        (b"pull", PULL, {}, False),
        (b"mine", {}, {}, False),
    ],
)
def test_an_absent_snapshot_keeps_others_unless_that_is_usual(name, labels, known, usual):
    """What is called quite otherwise stays only where no engine leaves a lease that lists what is not there."""
    verdict, gone, withheld = planned(lease(name, labels, snapshots=[b"sha256:chain"]), snapshot(b"other"), **known)
    assert codes(verdict) == [("lease-names-absent", Severity.NOTE if usual else Severity.DAMAGE)]
    assert bool(gone) == usual
    assert bool(withheld) != usual


def test_a_snapshot_of_the_leases_own_name_is_not_misnamed():
    """A crash before Prepare, or a snapshot that is lost: its name is right, so nothing else was meant."""
    known = {"build_records": frozenset((RECORD,))}
    verdict, gone, _ = planned(lease(RECORD, FLAT, snapshots=[RECORD]), snapshot(b"other"), **known)
    assert codes(verdict) == [("lease-names-absent", Severity.NOTE)]
    assert gone == {snapshot(b"other").ref}


def test_an_absent_blob_keeps_blobs_of_its_namespace_only():
    """Of another kind, and of another namespace, what nothing holds goes."""
    other = blob(digest(7), namespace=b"other")
    verdict, gone, withheld = planned(
        lease(b"mine", blobs=[digest(1)]), blob(digest(2)), other, ingest(b"layer"), lease(b"x", PULL)
    )
    assert codes(verdict) == [("lease-names-absent", Severity.DAMAGE)]
    assert gone == {other.ref, Ref(Kind.INGEST, NS, b"layer")}
    assert set(withheld) == {digest(2).decode()}


@pytest.mark.parametrize("end", [EndLeases.TEMPORARY, EndLeases.EXPIRED])
def test_a_lease_that_ends_keeps_nothing(end):
    """What an ended lease names says nothing about what stays."""
    _, gone, _ = planned(lease(b"pull", PULL, blobs=[digest(1)]), blob(digest(2)), policy=Policy(end=end))
    assert bool(gone) == (end is EndLeases.TEMPORARY)


def test_what_an_image_or_a_container_may_mean_stays():
    """A target, or a root file system, that has no record: what nothing holds of that kind stays, with a finding."""
    verdict, gone, _ = planned(image(digest(1)), blob(digest(2), {b"containerd.io/gc.ref.content.l.0": digest(3)}))
    assert codes(verdict) == [("missing-target", Severity.DAMAGE)]
    assert not gone
    container = Container(NS, b"c1", b"", b"overlayfs", b"work", b"", b"", {})
    verdict, gone, withheld = planned(container, snapshot(b"other"))
    assert ("missing-root", Severity.DAMAGE) in codes(verdict)
    assert not gone
    assert "container c1 may mean it" in withheld["overlayfs/other"]


def test_a_label_that_leads_nowhere_is_normal_unless_something_is_called_nearly_so():
    """Layers that were never fetched are named by labels; one that differs in a byte is the layer that was fetched."""
    named = {b"containerd.io/gc.ref.content.l.0": digest(4)}
    kept = (image(digest(1)), blob(digest(1), named))
    verdict, gone, _ = planned(*kept, blob(digest(9)))
    assert codes(verdict) == []
    assert gone == {blob(digest(9)).ref}
    verdict, gone, withheld = planned(*kept, blob(wrong(digest(4))), blob(digest(9)))
    assert [each for each in codes(verdict) if each[1] is Severity.DAMAGE] == [("misnamed", Severity.DAMAGE)]
    assert gone == {blob(digest(9)).ref}
    assert set(withheld) == {wrong(digest(4)).decode()}


def test_a_lease_that_is_called_nearly_as_its_owner_is_not_ownerless():
    """The owner has no lease, and the lease no owner: one of the two names is wrong."""
    other = RECORD.replace(b"a", b"b")
    far = RECORD[::-1]
    everything = Policy(end=EndLeases.OWNERLESS)
    for owner, kept in ((other, True), (far, False)):
        held = lease(RECORD, FLAT, created=NOW - 1, blobs=[digest(1)])
        _, gone, _ = planned(held, blob(digest(1)), policy=everything, build_records=frozenset((owner,)))
        assert bool(gone) != kept
    has_its_own = lease(other, FLAT, created=NOW - 1)
    _, gone, _ = planned(held, has_its_own, blob(digest(1)), policy=everything, build_records=frozenset((other,)))
    assert gone


def test_digests_of_one_length_are_not_near_for_that():
    """Names that differ in more than a few bytes side by side are others."""
    twice = wrong(wrong(digest(4))[::-1])[::-1]
    named = {b"containerd.io/gc.ref.content.l.0": digest(4)}
    _, gone, _ = planned(image(digest(1)), blob(digest(1), named), blob(twice))
    assert gone == {blob(twice).ref}


IMPORTED = {b"containerd.io/gc.bref.image": b"all:1", b"containerd.io/gc.expire": b"2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("beside", "labels", "schema", "stays"),
    [
        ((), IMPORTED, 4, False),
        ((image(digest(9), name=b"all:1"), blob(digest(9))), IMPORTED, 4, True),  # what it goes with is there
        (
            (image(digest(9), name=b"all:1", namespace=b"other"), blob(digest(9), namespace=b"other")),
            IMPORTED,
            4,
            False,
        ),
        ((lease(b"mine", images=[b"tag:1"]),), IMPORTED, 4, True),
        ((), IMPORTED, 3, True),  # containerd 1.7 keeps every image
        ((), {**IMPORTED, b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z"}, 4, True),
        ((), {b"containerd.io/gc.expire": b"2020-01-01T00:00:00Z"}, 4, True),  # says nothing of what it goes with
        ((), {b"containerd.io/gc.bref.image": b"all:1"}, 4, True),
        ((image(digest(1), name=b"all:2"),), IMPORTED, 4, True),  # of the same image, and called nearly so
        ((image(digest(9), name=b"all:2"), blob(digest(9))), IMPORTED, 4, False),  # another version of it
    ],
)
def test_an_image_that_expired_goes_with_what_it_names(beside, labels, schema, stays):
    """As containerd 2.3 collects what its import labels; with all that only such an image holds."""
    tag = image(digest(1), name=b"tag:1", labels=labels)
    of = store(tag, blob(digest(1)), *beside, files=[digest(1), digest(9)], owners=owners())
    of.metadata.schema_version = schema
    verdict, reached = judge(of, NOW)
    made = make_plan(verdict, reached, Policy(), ())
    assert {each.ref for each in made.records} == (set() if stays else {tag.ref, blob(digest(1)).ref})

"""What BuildKit drops by itself, row by row as its own source asks (cache/manager.go getRecord, v0.34)."""

import pytest
from tests.support.values import FINGERPRINT, NOW, blob, digest, lease, snapshot, store

from drydock.model.build_cache import BuildCache, CacheRecord
from drydock.model.data import Backend, LayoutKind, Row, RowKind, SnapshotEntry
from drydock.model.findings import Severity
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, RawPath, Ref
from drydock.model.objects import State
from drydock.model.policies import Policy
from drydock.model.records import Blob, Snapshot
from drydock.model.roots import BuildOwners, Owners
from drydock.reclaim.plan import make_plan
from drydock.verdict.build_cache import find_broken, find_dropped
from drydock.verdict.judge import judge

FLAT = {b"containerd.io/gc.flat": b"2026-01-01T00:00:00Z"}
REMOTE = {b"containerd.io/snapshot/remote": b""}
DATABASE = RawPath(b"/buildkit/containerd-overlayfs/metadata_v2.db")


def name(letter):
    """A record's name."""
    return letter.encode() * 25


def record(letter, *, committed=True, size=1, **fields):
    """A record that BuildKit keeps, but for what is said otherwise."""
    known = {
        "deleted": False, "snapshot": name(letter), "retain": False, "equal_mutable": b"", "parent": b"", "joined": (),
        "blob": b"", "blob_only": False,
    }  # fmt: skip
    return CacheRecord(id=name(letter), committed=committed, size=size, **{**known, **fields})


def cache(*records, is_dockers=True, snapshotter=b"overlayfs"):
    """The records of one worker."""
    return BuildCache(DATABASE, snapshotter, is_dockers, {each.id: each for each in records})


def dropped(of, *there):
    """The letters of the records that are dropped, if these records of meta.db are there."""
    return "".join(sorted(chr(each[0]) for each in find_dropped(store(*there), of)))


def snap(*letters, **more):
    """The snapshots of these records."""
    return [snapshot(name(letter), **more) for letter in letters]


MUTABLE = {"committed": False, "size": None}
ROWS = {
    "whole": ([record("a"), record("b", parent=name("a"))], snap("a", "b"), ""),
    "1: no parent": ([record("b", parent=name("a"))], snap("b"), "b"),
    "1: the parent is dropped, and its child": (
        [record("a", deleted=True), record("b", parent=name("a")), record("c", parent=name("b"))], snap(*"abc"), "abc",
    ),
    "1: one side of a merge": ([record("a"), record("m", joined=(name("a"), name("b")))], snap("a", "m"), "m"),
    "2: a pair, whatever the immutable says": (
        [record("m", committed=False), record("i", deleted=True, equal_mutable=name("m"))], snap("m"), "",
    ),
    "3: neither the mutable nor a snapshot": ([record("i", equal_mutable=name("m"))], [], "i"),
    "4: a crash while it was finalized": ([record("i", equal_mutable=name("m"))], snap("i"), ""),
    "5: deleted": ([record("a", deleted=True)], snap("a"), "a"),
    "5: deleted, of a pair": (
        [record("m", committed=False, deleted=True), record("i", equal_mutable=name("m"))], snap("m"), "im",
    ),
    "6: a mutable without snapshot": ([record("m", committed=False)], [], "m"),
    "6: its snapshot has its own name": ([record("m", committed=False, snapshot=name("x"))], snap("x"), "m"),
    "6: a merge is never mutable": ([record("a"), record("m", committed=False, joined=(name("a"),))], snap("a"), ""),
    "an immutable without snapshot stays": ([record("a")], [], ""),
    "7: only a blob, and it is missing": ([record("a", blob=digest(1), blob_only=True)], snap("a"), "a"),
    "7: only a blob": ([record("a", blob=digest(1), blob_only=True)], [blob(digest(1))], ""),
    "7: only a blob, and it is elsewhere": (
        [record("a", blob=digest(1), blob_only=True)], [blob(digest(1)), *snap("a", labels=REMOTE)], "a",
    ),
    "7: no blob at all": ([record("a", blob_only=True)], [], ""),
    "its blob may be missing": ([record("a", blob=digest(1))], snap("a"), ""),
    "usage: what a step left": ([record("m", **MUTABLE)], snap("m"), "m"),
    "usage: its size is known": ([record("m", committed=False, size=0)], snap("m"), ""),
    "usage: a cache mount": ([record("m", **MUTABLE, retain=True)], snap("m"), ""),
    "usage: a pair": ([record("m", **MUTABLE), record("i", equal_mutable=name("m"))], snap("m"), "im"),
    "usage: a pair whose immutable stays": (
        [record("m", **MUTABLE), record("i", equal_mutable=name("m"), retain=True)], snap("m"), "",
    ),
    "usage: a pair that is needed": (
        [record("m", **MUTABLE), record("i", equal_mutable=name("m")), record("c", parent=name("i"))],
        snap("m", "c"), "",
    ),
    "usage: an immutable": ([record("a", size=None)], snap("a"), ""),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWS)
def test_what_buildkit_drops(case):
    """Each question of BuildKit, in its order."""
    records, there, expected = ROWS[case]
    assert dropped(cache(*records), *there) == expected
    # In whatever order the database has them.
    assert dropped(cache(*reversed(records)), *there) == expected


def test_only_its_own_snapshots_count():
    """Those of another namespace or snapshotter are not the worker's."""
    of = [record("m", committed=False)]
    for more in ({"namespace": b"default"}, {"namespace": b"buildkit"}, {"snapshotter": b"native"}):
        assert dropped(cache(*of), *snap("m", **more)) == "m"
    assert dropped(cache(*of), *snap("m", namespace=b"moby-1000.1000")) == ""
    assert dropped(cache(*of, is_dockers=False), *snap("m", namespace=b"buildkit")) == ""
    assert dropped(cache(*of, is_dockers=False), *snap("m")) == "m"


def test_what_is_not_known_drops_nothing():
    """A running engine, a meta.db that was not read whole, an odd value, a chain without an end."""
    of = cache(record("m", **MUTABLE))
    whole, live = store(*snap("m")), store(*snap("m"))
    live.live = True
    assert set(find_dropped(whole, of)) == {name("m")}
    assert find_dropped(live, of) == find_dropped(store(*snap("m"), complete=False), of) == {}
    of.is_clear = False
    assert find_dropped(whole, of) == {}
    circle = cache(record("a", parent=name("b")), record("b", parent=name("a")), record("m", **MUTABLE))
    assert find_dropped(store(*snap("a", "b", "m")), circle) == {}


NEAR = b"a" * 24 + b"b"
MISNAMED = {
    "a mutable's snapshot": ([record("a", committed=False)], [snapshot(NEAR)]),
    "its snapshotter": ([record("a", committed=False)], snap("a", snapshotter=b"overlayft")),
    "a finalized record's snapshot": ([record("a")], [snapshot(NEAR)]),
    "a parent": ([record("a"), record("c", parent=NEAR)], snap("a", "c")),
    "the mutable of a pair": ([record("a", committed=False), record("i", equal_mutable=NEAR)], snap("a")),
    "a blob": ([record("c", blob=digest(1)[:-1] + b"x", blob_only=True)], [blob(digest(1))]),
}


@pytest.mark.parametrize("case", MISNAMED)
def test_one_wrong_byte_drops_nothing(case):
    """Not what it meant, and nothing else of that cache: a finding says so."""
    records, there = MISNAMED[case]
    of = cache(*records, record("m", **MUTABLE))
    there = [*there, *snap("m")]
    assert dropped(of, *there) == ""
    assert find_broken(store(*there), of) == []
    verdict, _ = _judged(of, *there)
    codes = [each.code for each in verdict.findings if each.place.file == DATABASE]
    assert codes == ["misnamed"]


def _judged(of, *records):
    owners = Owners(
        build_records=frozenset(of.records), build_records_changed=NOW, caches=[of],
        buildkitd=BuildOwners(frozenset(of.records), records_changed=NOW),
    )  # fmt: skip
    backend = Backend(b"overlayfs", RawPath(b"overlayfs"), LayoutKind.OVERLAY)
    for number, each in enumerate(records, 1):
        if isinstance(each, Snapshot):
            backend.rows[each.name] = Row(each.name, number, RowKind.ACTIVE, b"", None, None, {})
            path = RawPath(b"overlayfs/snapshots/%d" % number)
            backend.entries.append(SnapshotEntry(b"%d" % number, path, number, FINGERPRINT, True, 4096))
    files = [each.digest for each in records if isinstance(each, Blob)]
    return judge(store(*records, files=files, owners=owners, backends={b"overlayfs": backend}), NOW)


@pytest.mark.parametrize("is_dockers", [True, False])
def test_what_only_a_dropped_record_holds_is_unreachable(is_dockers):
    """Its leases hold nothing, and the plan ends them, whatever the policy; another record's are as before."""
    namespace = b"moby" if is_dockers else b"buildkit"
    of = cache(record("m", **MUTABLE), record("a"), is_dockers=is_dockers)
    held = [
        lease(name("m"), FLAT, namespace=namespace, created=NOW, snapshots=[name("m")], blobs=[digest(1)]),
        lease(name("m") + b"-variants", namespace=namespace, created=NOW, blobs=[digest(2)]),
        lease(name("a"), FLAT, namespace=namespace, created=NOW, snapshots=[name("a")], blobs=[digest(2)]),
    ]
    there = [*snap("m", "a", namespace=namespace), *(blob(digest(each), namespace=namespace) for each in (1, 2))]
    verdict, reached = _judged(of, *held, *there)
    classes = {each.ref.key: each.kind for each in verdict.leases}
    assert classes == {
        name("m"): LeaseClass.DROPPED, name("m") + b"-variants": LeaseClass.DROPPED, name("a"): LeaseClass.BUILD_CACHE,
    }  # fmt: skip
    states = {each.id: each.state for each in verdict.objects if each.refs}
    assert states[digest(1)] is State.UNREACHABLE
    assert states[digest(2)] is State.LIVE
    plan = make_plan(verdict, reached, Policy(), ())
    assert {each.ref.key for each in plan.leases} == {name("m"), name("m") + b"-variants"}
    assert {each.ref for each in plan.records} == {
        Ref(Kind.SNAPSHOT, namespace, b"overlayfs/" + name("m")), Ref(Kind.BLOB, namespace, digest(1)),
    }  # fmt: skip


def test_a_lease_of_another_namespace_is_not_dropped():
    """A record of dockerd's says nothing of a buildkitd's lease of that name, and the other way round."""
    for is_dockers, namespace in ((True, b"buildkit"), (False, b"moby")):
        of = cache(record("m", **MUTABLE), is_dockers=is_dockers)
        held = lease(name("m"), FLAT, namespace=namespace, created=NOW, snapshots=[name("m")])
        (found,) = _judged(of, held, *snap("m", namespace=namespace))[0].leases
        assert found.kind is LeaseClass.BUILD_CACHE


def test_two_workers_with_the_same_record():
    """One of them keeps it, and so the lease."""
    first, second = cache(record("m", **MUTABLE)), cache(record("m"), snapshotter=b"native")
    owners = Owners(build_records=frozenset((name("m"),)), caches=[first, second])
    held = lease(name("m"), FLAT, created=NOW, snapshots=[name("m")])
    verdict, _ = judge(store(held, *snap("m"), owners=owners), NOW)
    assert [each.kind for each in verdict.leases] == [LeaseClass.BUILD_CACHE]


BROKEN = {
    "finalized": ([record("a")], [], "a"),
    "its snapshot has another name": ([record("a", snapshot=b"x")], snap("a"), "a"),
    "with its snapshot": ([record("a")], snap("a"), ""),
    "of a pair": ([record("m", committed=False), record("i", equal_mutable=name("m"))], snap("m"), ""),
    "only a blob": ([record("a", blob=digest(1), blob_only=True)], [blob(digest(1))], ""),
    "a merge": ([record("a"), record("m", joined=(name("a"),))], snap("a"), ""),
    "dropped": ([record("a", deleted=True)], [], ""),
    "its child too": ([record("a"), record("b", parent=name("a"))], [], "ab"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_record_that_stays_without_its_snapshot_is_damage(case):
    """BuildKit loads it, and a build that uses it fails (buildkit issue 6977)."""
    records, there, expected = BROKEN[case]
    of = cache(*records)
    assert "".join(sorted(chr(each.id[0]) for each in find_broken(store(*there), of))) == expected
    verdict, _ = _judged(of, *there)
    found = [each for each in verdict.findings if each.code == "record-without-snapshot"]
    assert [each.place.bucket for each in found] == [(b"_main", name(letter)) for letter in expected]
    assert all(each.severity is Severity.DAMAGE and each.place.file == DATABASE for each in found)

"""States of small stores whose answer can be worked out by hand."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.values import NOW, blob, digest, image, lease, snapshot, store

from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, Ref
from drydock.model.objects import ObjectKind, State
from drydock.model.policies import BlobCheck
from drydock.model.records import Container, Ingest, Sandbox
from drydock.model.roots import DockerContainer, Owners
from drydock.verdict import states
from drydock.verdict.judge import judge, reach

EXPIRED = {b"containerd.io/gc.expire": b"2020-01-01T00:00:00Z"}
PULL = {b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z"}


def _refers(*numbers):
    return {b"containerd.io/gc.ref.content.l.%d" % n: digest(n) for n in numbers}


def _states(found):
    return {each.id: each.state for each in judge(found, NOW)[0].objects}


def test_an_image_keeps_what_its_labels_name_and_nothing_else():
    """Target, labelled children, the config's snapshot and its parents are live; a blob beside them is unreachable."""
    chain = {b"containerd.io/gc.ref.snapshot.overlayfs": b"top"}
    found = store(
        image(digest(1)),
        blob(digest(1), _refers(2, 3, 99)),
        blob(digest(2)),
        blob(digest(3), chain),
        blob(digest(4)),
        snapshot(b"top", b"base"),
        snapshot(b"base"),
        snapshot(b"other"),
        files=[digest(n) for n in (1, 2, 3, 4, 5)],
    )
    assert _states(found) == {
        digest(1): State.LIVE,
        digest(2): State.LIVE,
        digest(3): State.LIVE,
        digest(4): State.UNREACHABLE,
        digest(5): State.ORPHANED,
        b"top": State.LIVE,
        b"base": State.LIVE,
        b"other": State.UNREACHABLE,
    }


def test_a_flat_lease_keeps_parents_but_not_what_labels_name():
    """gc.flat: content refers to nothing, snapshots to their parents only."""
    flat = {b"containerd.io/gc.flat": b"", **PULL}
    found = store(
        lease(b"l", flat, blobs=[digest(1)], snapshots=[b"top"]),
        blob(digest(1), _refers(2)),
        blob(digest(2)),
        blob(digest(3)),
        snapshot(b"top", b"base", {b"containerd.io/gc.ref.content": digest(3)}),
        snapshot(b"base"),
        files=[digest(1), digest(2), digest(3)],
    )
    assert _states(found) == {
        digest(1): State.LEASED,
        digest(2): State.UNREACHABLE,
        digest(3): State.UNREACHABLE,
        b"top": State.LEASED,
        b"base": State.LEASED,
    }


def test_the_same_thing_flat_and_not_flat_expands_both_ways():
    """A second, unflat lease makes the labels count again."""
    flat = {b"containerd.io/gc.flat": b"", **PULL}
    found = store(
        lease(b"f", flat, blobs=[digest(1)]),
        lease(b"g", PULL, blobs=[digest(1)]),
        blob(digest(1), _refers(2)),
        blob(digest(2)),
        files=[digest(1), digest(2)],
    )
    assert _states(found) == {digest(1): State.LEASED, digest(2): State.LEASED}


def test_an_expired_lease_holds_nothing():
    """As if it were gone: the engine's next collection drops it and what it held."""
    found = store(lease(b"l", EXPIRED, blobs=[digest(1)]), blob(digest(1)), files=[digest(1)])
    assert _states(found) == {digest(1): State.UNREACHABLE}


def test_an_owned_lease_makes_things_live_and_an_image_wins_over_a_lease():
    """Live beats leased; the holders of a leased thing are all the leases that reach it."""
    owner = b"c" * 64
    owners = Owners({owner: DockerContainer(owner)})
    found = store(
        lease(owner, snapshots=[b"rw"]),
        lease(b"one", PULL, blobs=[digest(1), digest(2)]),
        lease(b"two", PULL, blobs=[digest(2)]),
        image(digest(1)),
        blob(digest(1)),
        blob(digest(2)),
        snapshot(b"rw"),
        files=[digest(1), digest(2)],
        owners=owners,
    )
    verdict, _ = judge(found, NOW)
    by = {each.id: each for each in verdict.objects}
    assert (by[b"rw"].state, by[digest(1)].state, by[digest(2)].state) == (State.LIVE, State.LIVE, State.LEASED)
    assert {ref.key for ref in by[digest(2)].held_by} == {b"one", b"two"}
    assert by[b"rw"].held_by == (Ref(Kind.LEASE, b"moby", owner),)


def test_bytes_that_only_one_lease_holds():
    """Shared between two leases, or with an image: nobody's alone."""
    found = store(
        lease(b"one", PULL, blobs=[digest(1), digest(2), digest(3)]),
        lease(b"two", PULL, blobs=[digest(2)]),
        image(digest(3)),
        blob(digest(1), _refers(4)),
        blob(digest(2)),
        blob(digest(3)),
        blob(digest(4)),
        files=[digest(n) for n in (1, 2, 3, 4)],
    )
    only = {holding.ref.key: holding.only for holding in judge(found, NOW)[0].leases}
    assert only == {b"one": 2 * 4096, b"two": 0}


def test_namespaces_do_not_see_each_other_and_the_strongest_decides():
    """Edges stay in a namespace; a blob of two namespaces is as live as in the one where it is most so."""
    found = store(
        image(digest(1), namespace=b"a"),
        blob(digest(1), namespace=b"a"),
        blob(digest(1), _refers(2), namespace=b"b"),
        blob(digest(2), namespace=b"a"),
        files=[digest(1), digest(2)],
    )
    verdict, _ = judge(found, NOW)
    by = {each.id: each for each in verdict.objects}
    assert by[digest(1)].state is State.LIVE
    assert by[digest(1)].namespaces == (b"a", b"b")
    assert by[digest(2)].state is State.UNREACHABLE


def test_roots_without_a_lease():
    """gc.root, a container's snapshot, a sandbox's labels, an unexpired write, and a back reference."""
    found = store(
        blob(digest(1), {b"containerd.io/gc.root": b"now", **_refers(2)}),
        blob(digest(2)),
        Container(b"moby", b"c1", b"", b"overlayfs", b"rw", b"", b"", {}),
        snapshot(b"rw"),
        Sandbox(b"moby", b"s1", b"", b"", _refers(3), outside_v1=True),
        blob(digest(3)),
        Ingest(b"moby", b"w", b"moby/1/w", NOW, digest(4)),
        Ingest(b"moby", b"late", b"moby/1/late", NOW - 1, digest(5)),
        blob(digest(5)),
        blob(digest(6), {b"containerd.io/gc.bref.container": b"c1"}),
        files=[digest(n) for n in range(1, 7)],
    )
    states = _states(found)
    assert {key: states[key] for key in (digest(1), digest(2), b"rw", digest(3), digest(6))} == dict.fromkeys(
        (digest(1), digest(2), b"rw", digest(3), digest(6)), State.LIVE
    )
    assert states[digest(4)] is State.LIVE, "no record, but a write in progress will adopt it"
    assert states[digest(5)] is State.UNREACHABLE
    assert (states[b"w"], states[b"late"]) == (State.LIVE, State.UNREACHABLE)


def test_conditions_and_dead_edges_keep_as_the_engine_does():
    """gc.cond: the image keeps the snapshot, not the reverse. gc.bref: also of what was named and never fetched."""
    used = {b"containerd.io/gc.cond.value-usedat": b"2026-01-01T00:00:00Z"}
    cached = {b"containerd.io/gc.cond.snapshot.overlayfs": b"usedat<24h|cached"}
    found = store(
        image(digest(1), labels=cached),
        blob(digest(1), _refers(2)),
        blob(digest(3), {b"containerd.io/gc.bref.content": digest(2)}),
        blob(digest(4), {b"containerd.io/gc.cond.snapshot.overlayfs": b"usedat<24h|base"}),
        blob(digest(5), {b"containerd.io/gc.bref.content": digest(6)}),
        snapshot(b"cached", b"base", used),
        snapshot(b"base"),
        files=[digest(n) for n in (1, 3, 4, 5)],
    )
    states = _states(found)
    assert {key for key, state in states.items() if state is State.LIVE} == {digest(1), digest(3), b"cached", b"base"}
    assert states[digest(4)] is states[digest(5)] is State.UNREACHABLE


def test_two_records_of_one_reference_both_count():
    """A sandbox in v1 and outside of it: the labels of both keep. An ingest of schema 1 does not end a later one."""
    found = store(
        Sandbox(b"moby", b"s1", b"", b"", _refers(1), outside_v1=False),
        Sandbox(b"moby", b"s1", b"", b"", _refers(2), outside_v1=True),
        blob(digest(1)),
        blob(digest(2)),
        Ingest(b"moby", b"w", b"moby/1/w", NOW, digest(3)),
        Ingest(b"moby", b"w", b"moby/2/w", None, None),
        blob(digest(3)),
        files=[digest(n) for n in (1, 2, 3)],
    )
    states = _states(found)
    assert [states[digest(n)] for n in (1, 2, 3)] == [State.LIVE] * 3
    assert states[b"w"] is State.LIVE


def test_a_file_that_is_gone_or_has_another_size():
    """Missing and corrupt say what the record was good for."""
    found = store(image(digest(1)), blob(digest(1), _refers(2)), blob(digest(2), size=7), files=[digest(2)])
    verdict, _ = judge(found, NOW)
    by = {each.id: each for each in verdict.objects}
    assert (by[digest(1)].state, by[digest(1)].reach) == (State.MISSING, State.LIVE)
    assert (by[digest(2)].state, by[digest(2)].reach) == (State.CORRUPT, State.LIVE)
    assert {finding.code for finding in verdict.findings} == {"missing-blob", "corrupt-blob"}


def test_cycles_and_long_chains_end():
    """Labels can form a cycle and parents a chain of any length; marking takes each once."""
    chain = [snapshot(b"%d" % n, b"%d" % (n + 1)) for n in range(30_000)]
    found = store(
        image(digest(1)),
        blob(digest(1), _refers(2)),
        blob(digest(2), {**_refers(1), b"containerd.io/gc.ref.snapshot.overlayfs": b"0"}),
        *chain,
    )
    assert {state for key, state in _states(found).items() if key.isdigit()} == {State.LIVE}


def test_ending_a_lease_marks_again_without_it():
    """What the plan asks: the same store as if a lease were gone."""
    held = lease(b"l", PULL, blobs=[digest(1)])
    found = store(held, blob(digest(1)))
    assert reach(found, NOW).holders(Ref(Kind.BLOB, b"moby", digest(1)))[0] is State.LEASED
    assert Ref(Kind.BLOB, b"moby", digest(1)) not in reach(found, NOW, [held.ref])
    assert reach(found, NOW).classes[held.ref][0] is LeaseClass.TEMPORARY


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    recorded=st.dictionaries(st.integers(0, 12), st.sampled_from([3, 3, 3, 4, None]), min_size=1),
    again=st.sets(st.integers(0, 12), max_size=1),
    files=st.sets(st.integers(0, 12)) | st.just(set(range(13))),
    imaged=st.sets(st.integers(0, 12)) | st.just(set(range(13))),
    wrong=st.sets(st.integers(0, 12), max_size=1),
    verified=st.sampled_from(BlobCheck),
)
def test_many_blobs_together(monkeypatch, *, recorded, again, files, imaged, wrong, verified):
    """Looked at by parts, of which most are usual, they are the objects that they are one by one, in their order."""
    found = []
    for part in (1, 2, 4, 256, None):
        made = store(
            *(image(digest(number), name=b"%d" % number) for number in sorted(imaged)),
            *(blob(digest(number), size=size) for number, size in sorted(recorded.items())),
            *(blob(digest(number), namespace=b"other") for number in sorted(again)),
            files=[digest(number) for number in sorted(files)],
        )
        made.verified, made.wrong = verified, frozenset(map(digest, wrong & files))
        with monkeypatch.context() as patch:
            patch.setattr(states, "_PART", part or 256)
            if part is None:
                patch.setattr(states._BlobJudge, "_are_usual", lambda *_: False)
            found.append([each for each in judge(made, NOW)[0].objects if each.kind is ObjectKind.BLOB])
    assert all(each == found[-1] for each in found)
    assert {each.id for each in found[-1]} == {digest(number) for number in {*recorded, *again, *files}}

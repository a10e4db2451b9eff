"""What a prune of the build cache removes, against a model that asks one record after the other as BuildKit does."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.values import blob, digest, image, snapshot, store

from drydock.model.build_cache import BuildCache, CacheRecord
from drydock.model.names import RawPath
from drydock.verdict.build_prune import find_pruned
from drydock.verdict.graph import Graph

NAMES = [letter.encode() * 25 for letter in "abcdefgh"]
_PLAIN = MappingProxyType(
    {
        "deleted": False, "committed": True, "size": 1, "retain": True, "equal_mutable": b"", "parent": b"",
        "joined": (), "blob": b"", "blob_only": False,
    }
)  # fmt: skip


def record(name, **fields):
    """A record that BuildKit keeps, with its snapshot."""
    return CacheRecord(id=name, snapshot=name, **{**_PLAIN, **fields})


def pruned(records, *there, everything=False, kept=(), is_dockers=True):
    """What goes, of records that all have their snapshots."""
    namespace = b"moby" if is_dockers else b"buildkit"
    made = store(*(snapshot(each.id, namespace=namespace) for each in records), *there)
    cache = BuildCache(RawPath(b"/b/containerd-overlayfs/metadata_v2.db"), b"overlayfs", is_dockers)
    cache.records = {each.id: each for each in records}
    return find_pruned(made, Graph(made.metadata), cache, everything=everything, kept=kept)


def model(records, *, everything, kept):
    """BuildKit's loop (cache/manager.go pruneOnce): of all that nothing uses, one goes; until nothing does."""
    left = {each.id: each for each in records}
    while True:
        uses = [parent for each in left.values() for parent in each.parents]
        for each in left.values():
            twin = next((other for other in left.values() if other.equal_mutable == each.id), None)
            its = [each.id] if twin is None else [each.id, twin.id]
            if each.equal_mutable in left or any(name in uses or name in kept for name in its):
                continue
            if not everything and each.kind in (b"internal", b"frontend"):
                continue
            for name in its:
                del left[name]
            break
        else:
            return sorted({each.id for each in records} - left.keys())


@st.composite
def hosts(draw):
    """Records that need earlier ones, some of them pairs."""
    made = []
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        earlier = [each.id for each in made if each.committed]
        kind = draw(st.sampled_from([b"", b"", b"internal", b"frontend", b"source.local"]))
        fields = {"kind": kind}
        how = draw(st.sampled_from(["base", "layer", "merge", "mutable", "twin"]))
        mutables = [
            each for each in made
            if not each.committed and each.id not in {other.equal_mutable for other in made}
        ]  # fmt: skip
        if how == "twin" and mutables:
            of = draw(st.sampled_from(mutables))
            fields.update(equal_mutable=of.id, parent=of.parent)
        elif how == "mutable":
            fields.update(committed=False, parent=draw(st.sampled_from([b"", *earlier])))
        elif earlier and how == "layer":
            fields["parent"] = draw(st.sampled_from(earlier))
        elif earlier and how == "merge":
            fields["joined"] = tuple(draw(st.lists(st.sampled_from(earlier), min_size=1, max_size=3)))
        made.append(record(name, **fields))
    return made


@given(hosts(), st.booleans(), st.sets(st.sampled_from(NAMES), max_size=2))
def test_it_is_what_buildkits_loop_removes(records, everything, kept):
    """On made-up hosts; and nothing stays whose parent goes, whatever is kept."""
    gone = pruned(records, everything=everything, kept=kept)
    assert gone == model(records, everything=everything, kept=kept)
    assert not kept.intersection(gone)
    for each in records:
        assert each.id in gone or not set(each.parents) & set(gone)
    if everything and not kept:
        assert gone == sorted(each.id for each in records)


def _manifest(*layers):
    labels = {b"containerd.io/gc.ref.content.l.%d" % number: each for number, each in enumerate(layers)}
    return blob(digest(100), {**labels, b"containerd.io/gc.ref.content.config": digest(101)})


A, B, C, D = NAMES[:4]
SHARED = {
    "all layers of an image": ([record(A, blob=digest(1)), record(B, parent=A, blob=digest(2))], [1, 2], []),
    "not all of them": ([record(A, blob=digest(1)), record(B, parent=A, blob=digest(2))], [1, 2, 3], [A, B]),
    "more than all of them": (
        [record(A, blob=digest(1)), record(B, parent=A, blob=digest(2)), record(C, parent=B, blob=digest(3))],
        [1, 2], [C],
    ),
    "a step above it that has no blob": (
        [record(A, blob=digest(1)), record(B, parent=A, blob=digest(2)), record(C, parent=B)], [1, 2], [],
    ),
    "no blob at all": ([record(A)], [1, 2], [A]),
    "a merge": (
        [record(A, blob=digest(1)), record(B, blob=digest(2)), record(C, joined=(A, B))], [1, 2], [],
    ),
    "a diff that has its own blob": (
        [record(A, blob=digest(1)), record(B, blob=digest(2)),
         record(C, joined=(A, B), is_diff=True, blob=digest(3))], [3], [],
    ),
    "a diff of the upper one": (
        [record(A, blob=digest(1)), record(B, blob=digest(2)), record(C, joined=(A, B), is_diff=True)], [2], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SHARED)
def test_what_an_image_shares_stays(case):
    """Unless everything goes, or the image is another namespace's, or there are no images as in a buildkitd."""
    records, layers, gone = SHARED[case]
    there = [image(digest(100)), _manifest(*map(digest, layers))]
    assert pruned(records, *there) == gone
    every = sorted(each.id for each in records)
    assert pruned(records, *there, everything=True) == every
    assert pruned(records, *there, is_dockers=False) == every
    assert pruned(records, *there[1:]) == every


def test_damaged_records_neither_hang_it_nor_fill_the_memory():
    """A circle stays, because all in it are needed; each merge of two merges doubles what is compared."""
    circle = [record(A, parent=B, blob=digest(1)), record(B, parent=A, blob=digest(2)), record(C, parent=B)]
    there = [image(digest(100)), _manifest(digest(1), digest(2))]
    assert pruned(circle, *there) == [C]
    merges = [record(b"0", blob=digest(1))]
    for number in range(1, 50):
        below = merges[-1].id
        merges.append(record(b"%d" % number, joined=(below, below)))
    assert pruned(merges, *there) == sorted(each.id for each in merges)


def test_records_that_buildkit_drops_need_nothing():
    """They go by themselves, so they are not pruned, and what they need may go."""
    records = [record(A), record(B, parent=A, deleted=True)]
    assert pruned(records) == [A]


def test_what_was_used_lately_stays():
    """With what it needs; what was never used goes, however new it is, as with BuildKit's own filter.

    Not what BuildKit uses itself when it starts, to learn its size.
    """
    records = [
        record(A, last_used=1), record(B, parent=A, last_used=9), record(C, last_used=5), record(D),
        record(NAMES[4], last_used=1), record(NAMES[5], committed=False, size=None),
    ]  # fmt: skip
    made = store(*(snapshot(each.id) for each in records))
    cache = BuildCache(RawPath(b"/b/containerd-overlayfs/metadata_v2.db"), b"overlayfs", True)
    cache.records = {each.id: each for each in records}
    assert find_pruned(made, Graph(made.metadata), cache, everything=True, before=5) == [C, D, NAMES[4]]
    assert find_pruned(made, Graph(made.metadata), cache, everything=True, before=4) == [D, NAMES[4]]
    assert NAMES[5] in find_pruned(made, Graph(made.metadata), cache, everything=True)

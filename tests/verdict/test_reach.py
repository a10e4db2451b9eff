"""Marks that keep blobs by their places are those of a walk over the references, one by one."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.values import NOW, NS, blob, digest, image, lease, snapshot, store

from drydock.model.names import Ref
from drydock.verdict.graph import Flat, Graph, visited
from drydock.verdict.judge import reach
from drydock.verdict.reach import mark

MANY = 6
NUMBERS = st.integers(0, MANY + 1)  # the last ones have no record
CONTENT, OTHER = b"containerd.io/gc.ref.content.l.0", b"containerd.io/gc.ref.content"
ROOT, BACK = b"containerd.io/gc.root", b"containerd.io/gc.bref.content.x"
LABELS = st.dictionaries(
    st.sampled_from([CONTENT, CONTENT + b"1", OTHER, ROOT, BACK, b"team"]), NUMBERS.map(digest), max_size=3
)
SNAPSHOT = {b"containerd.io/gc.ref.snapshot.overlayfs": b"s"}
RECORDS = st.builds(
    lambda blobs, again, images, leases: [
        *(image(digest(each), name=b"image %d" % number) for number, each in enumerate(images)),
        *(blob(digest(number), labels) for number, labels in sorted(blobs.items())),
        *(blob(digest(number), namespace=b"other") for number in sorted(blobs)[:2]),
        *(blob(digest(number), labels) for number, labels in again.items()),
        snapshot(b"s"),
        *(lease(b"lease %d" % number, labels, blobs=held) for number, (labels, held) in enumerate(leases)),
    ],
    st.dictionaries(st.integers(0, MANY - 1), LABELS | st.just(SNAPSHOT), max_size=MANY),
    st.dictionaries(st.integers(0, MANY - 1), LABELS, max_size=1),  # one digest twice, as in a damaged database
    st.lists(NUMBERS, max_size=2),
    st.lists(
        st.tuples(st.sampled_from([{}, {b"containerd.io/gc.flat": b""}]), st.lists(NUMBERS.map(digest), max_size=3)),
        max_size=2,
    ),
)


def _walk(graph, starts, within=()):
    reached, queue = {}, []
    for start in starts:
        if start not in reached and start not in within:
            reached[start] = start
            queue.append(start)
    while queue:
        node = queue.pop()
        for edge in graph.edges(node):
            if edge.target not in reached and edge.target not in within:
                reached[edge.target] = reached[node]
                queue.append(edge.target)
    return reached


@settings(deadline=None)
@given(RECORDS)
def test_marks(records):
    """The same nodes in the same order, each from the same start; recorded or not, flat or not, of two namespaces."""
    metadata = store(*records).metadata
    graph = Graph(metadata)
    roots, leases = [ref for ref, _ in graph.roots(NOW)], [each.ref for each in metadata.leases]
    live, expected = mark(graph, roots), _walk(graph, roots)
    assert list(live.items()) == list(expected.items())
    assert len(live) == len(expected)
    refs = list(metadata.blobs.refs())
    firsts = [expected.get(ref) if ref not in refs[:place] else None for place, ref in enumerate(refs)]
    assert live.starts() == firsts
    for each in leases:
        later = _walk(graph, [each], expected)
        assert list(mark(graph, [each], within=live).items()) == list(later.items())
    everywhere = {Ref(each.kind, NS, each.key) for each in (*graph.records, *map(visited, expected))}
    for node in (*everywhere, *map(Flat, everywhere)):
        assert (node in live, live.get(node)) == (node in expected, expected.get(node))
        assert set(graph.targets(node)) == {edge.target for edge in graph.edges(node)}


@given(RECORDS)
def test_records(records):
    """Each reference leads to the first record that has it."""
    metadata = store(*records).metadata
    expected = {}
    for kind in (metadata.images, metadata.blobs, metadata.snapshots, metadata.leases):
        for record in kind:
            expected.setdefault(record.ref, record)
    found = Graph(metadata).records
    assert dict(found) == expected
    assert len(found) == len(expected)
    assert all(ref in found for ref in expected)
    assert Ref(*next(iter(expected), (None, b"", b""))[:1], b"nowhere", b"k") not in found
    marks = reach(store(*records), NOW)
    reached = {*map(visited, marks.live), *marks.leased}
    assert marks.absent() == {ref for ref in reached if ref not in expected}

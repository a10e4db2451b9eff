"""Blob records in columns are the records that went in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.model.names import Digest, Kind, Ref
from drydock.model.records import Blob, BlobRecords

EDGES = st.one_of(st.none(), st.sampled_from([0, -1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**80]), st.integers())
RECORDS = st.lists(
    st.builds(
        lambda namespace, number, size, labels, times: Blob(
            Ref(Kind.BLOB, namespace, Digest(b"sha256:%064x" % number)), size, labels, *times
        ),
        st.sampled_from([b"moby", b"k8s.io"]),
        st.integers(0, 5),
        EDGES,
        st.sampled_from([{}, {b"a": b"b"}]),
        st.tuples(EDGES, EDGES),
    ),
    max_size=9,
)


@given(RECORDS)
def test_records_come_back(records):
    """Whatever their values: none, of any size, in any order of namespaces, one digest twice."""
    columns = BlobRecords(records)
    assert columns == records
    assert list(columns) == records
    assert (len(columns), columns[1:-1]) == (len(records), records[1:-1])
    assert [columns[place - len(records)] for place in range(len(records))] == records
    assert list(columns.refs()) == [each.ref for each in records]
    assert [columns.ref(place) for place in range(len(records))] == [each.ref for each in records]
    assert columns.digests == [each.digest for each in records]
    assert list(columns.sizes()) == [columns.size(place) for place in range(len(records))]
    assert list(columns.sizes()) == [each.size for each in records]
    assert columns.labels == {place: each.labels for place, each in enumerate(records) if each.labels}
    assert columns.label_names() == ({b"a"} if columns.labels else set())
    rows = [(namespace, place) for namespace, row in columns.rows() for place in row]
    assert rows == [(each.namespace, place) for place, each in enumerate(records)]
    with pytest.raises(IndexError):
        columns[len(records)]


def test_what_differs_is_not_equal():
    """A value that differs, or is not there, is seen."""
    record = Blob(Ref(Kind.BLOB, b"moby", Digest(b"sha256:1")), 3, {}, 4, 5)
    for other in (record._replace(size=None), record._replace(created=6), record._replace(labels={b"a": b"b"})):
        assert BlobRecords([record]) != BlobRecords([other])
    assert BlobRecords([record]) != [record, record]
    assert BlobRecords([record]) != 7

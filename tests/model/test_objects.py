"""The objects of a root, of which usual blobs are columns, are the objects that went in."""

import pytest
from tests.support.values import FINGERPRINT, NS, digest

from drydock.model.data import BlobFile, BlobFiles
from drydock.model.names import Kind, Ref
from drydock.model.objects import ObjectKind, State, StoreObject, StoreObjects

FILES = BlobFiles.of({digest(number): BlobFile.of(digest(number), FINGERPRINT, 4096) for number in range(4)})
START = Ref(Kind.IMAGE, NS, b"docker.io/library/x:1")


def _usual(number, allocated):
    record = Ref(Kind.BLOB, NS, digest(number))
    return StoreObject(
        ObjectKind.BLOB, digest(number), State.LIVE, allocated, FILES, record, State.LIVE, held_by=(START,)
    )


def _other(name, state=State.MISSING, allocated=5):
    return StoreObject(ObjectKind.SNAPSHOT, name, state, allocated, None)


def test_usual_blobs_and_others_keep_their_places():
    """Each object is at the place where it was added, made or kept; sums of columns are those of the objects."""
    objects = StoreObjects((), FILES)
    objects.extend_usual([digest(0)], [START], [7])
    objects.append(_other(b"a"))
    objects.extend_usual([digest(1)], [START], [0])
    objects.extend([_other(b"b"), _other(b"c")])
    expected = [_usual(0, 7), _other(b"a"), _usual(1, 0), _other(b"b"), _other(b"c")]
    assert list(objects) == expected
    assert [objects[place] for place in range(len(objects))] == expected
    assert (objects[1:3], objects[-1]) == (expected[1:3], expected[-1])
    assert list(objects.others()) == [expected[1], *expected[3:]]
    assert list(objects.usual()) == [(START, 7)]
    assert objects.sum_usual() == (2, 7)
    assert objects[0].path == FILES[digest(0)].path
    assert objects[0].fingerprint == FINGERPRINT
    with pytest.raises(IndexError):
        objects[5]


def test_an_object_that_is_kept_can_be_changed():
    """What is no usual blob is one and the same object each time."""
    objects = StoreObjects([_other(b"a")])
    objects[0].state = State.CORRUPT
    assert next(iter(objects)).state is State.CORRUPT
    assert next(objects.others()) is objects[0]

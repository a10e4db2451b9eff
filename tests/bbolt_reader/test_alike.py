"""A page like others met before is read as it would be alone: what was checked once hides no damage of the next."""

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support import boltwriter

from bbolt_reader import BoltError, Bucket, Corrupt, Database, Form, Truncated

PAGE = 1024
LAST = b"record9"
TREE = {
    b"records": {
        b"record%d" % number: {
            b"createdat": b"%015d" % number,
            b"labels": {b"one": b"%d" % number, b"two": b"data"},
            b"size": b"%04d" % number,
            b"updatedat": b"%015d" % number,
        }
        for number in range(10)
    }
}
SOUND = boltwriter.image(TREE, page_size=PAGE)
AT = SOUND.roots[b"records", LAST] * PAGE
LABELS = SOUND.data.index(b"labels", AT) + len(b"labels")


def plain(bucket):
    """A bucket as a dict, or the error that reading it ends with."""
    try:
        return {key: plain(value) if isinstance(value, Bucket) else value for key, value in bucket.items()}
    except BoltError as error:
        return str(error), error.page, error.offset


def last(path, *, likes, mapped):
    """The last record, read after those like it, which are remembered or forgotten."""
    with Database.open(path, mapped=mapped) as database:
        found = None
        for _, record in database.root.bucket(b"records").buckets():
            if not likes:
                database.root.tree.forget()
            found = plain(record)
        return found


def elements(page):
    """The bytes by which a page is recognised: from behind its id to the end of its elements."""
    return bytes(SOUND.data[page + 8 : page + 16 + 16 * SOUND.data[page + 10]])


_PATCHES = [
    (0, "<Q", 2),  # its id
    (8, "<H", 1),  # flags
    (10, "<H", 3),  # count
    (10, "<H", 5),
    (12, "<I", 1),  # overflow
    (16, "<I", 1),  # the first element: flags, position, sizes
    (20, "<I", 60),
    (24, "<I", 10),
    (28, "<I", 900),
    (LABELS - AT, "<Q", 2),  # the labels: root, then flags, count and an element of the inline page
    (LABELS - AT + 24, "<H", 1),
    (LABELS - AT + 26, "<H", 1),
    (LABELS - AT + 26, "<H", 60000),
    (LABELS - AT + 32, "<I", 1),
    (LABELS - AT + 36, "<I", 4000),
    (LABELS - AT + 8, "<Q", 2),  # their sequence, which may be any number
]
"""Offset in the last page, format and value of what each example changes."""


def damaged(test):
    """Call a test with any bytes of the last page changed: ``patches`` are offsets and bytes."""
    anywhere = st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=8)), min_size=1, max_size=3)
    for offset, form, value in _PATCHES:
        test = example(patches=[(offset, struct.pack(form, value))], mapped=True)(test)
    return settings(max_examples=300)(given(patches=anywhere, mapped=st.booleans())(test))


def last_damaged(path, patches):
    """Write the file with these changes in its last page."""
    data = bytearray(SOUND.data)
    for offset, raw in patches:
        data[AT + offset : AT + offset + len(raw)] = raw
    path.write_bytes(data)


@damaged
def test_damage_to_a_page_is_seen_after_its_likes(tmp_path_factory, patches, mapped):
    """Any bytes of the last of ten pages of one kind changed: the same as where nothing is remembered of the nine."""
    path = tmp_path_factory.getbasetemp() / "alike.db"
    last_damaged(path, patches)
    assert last(path, likes=True, mapped=mapped) == last(path, likes=False, mapped=mapped)


def test_the_examples_are_of_the_page_that_is_meant(tmp_path):
    """Without damage the record is what was written, and its page is one that is recognised."""
    SOUND.save(tmp_path / "file.db")
    assert last(tmp_path / "file.db", likes=True, mapped=True) == TREE[b"records"][LAST]
    with Database.open(tmp_path / "file.db") as database:
        tree = database.root.tree
        for _, record in database.root.bucket(b"records").buckets():
            plain(record)
        assert elements(AT) in tree.leaves
        assert elements(LABELS + 16) in tree.inlines


def test_a_page_named_twice_is_seen_though_it_is_like_others(tmp_path):
    """Each page belongs to one bucket, also where it is recognised."""
    name = SOUND.data.index(LAST) + len(LAST)
    image = boltwriter.image(TREE, page_size=PAGE)
    image.patch(name, struct.pack("<Q", SOUND.roots[b"records", b"record3"])).save(tmp_path / "file.db")
    with Database.open(tmp_path / "file.db") as database:
        *others, last_one = [record for _, record in database.root.bucket(b"records").buckets()]
        assert all(plain(record) == TREE[b"records"][record.path[-1]] for record in others)
        with pytest.raises(Corrupt, match="referenced here and at"):
            last_one.items()


def test_what_was_learned_can_be_forgotten(tmp_path):
    """Released in the middle, a database reads on, and gives the same."""
    SOUND.save(tmp_path / "file.db")
    with Database.open(tmp_path / "file.db") as database:
        read = {}
        for key, record in database.root.bucket(b"records").buckets():
            read[key] = plain(record)
            database.release()
        assert read == TREE[b"records"]
        assert not database.root.tree.leaves


def test_the_overflow_of_each_page_is_claimed(tmp_path):
    """Pages that take several places are alike as well: every place of the second is known to be taken."""
    boltwriter.write(
        tmp_path / "file.db", {b"%d" % one: {b"key": b"%d" % one * 3000} for one in range(3)}, page_size=PAGE
    )
    with Database.open(tmp_path / "file.db") as database:
        for _, bucket in database.root.buckets():
            plain(bucket)
        tree = database.root.tree
        assert set(tree.claimed()) == set(range(2, tree.meta.high_water)) - {tree.meta.freelist}


@pytest.mark.parametrize("kept", [80, 200, PAGE - 1])
def test_a_page_that_the_file_ends_in(tmp_path, kept):
    """The last page begins like others and is cut off, in its elements or its entries: it is missing."""
    image = boltwriter.image(TREE, page_size=PAGE)
    pgid = image.high_water
    cut = (struct.pack("<Q", pgid) + image.data[AT + 8 : AT + PAGE])[:kept]
    image.patch(image.data.index(LAST) + len(LAST), struct.pack("<Q", pgid))
    image.patch_meta(high_water=pgid + 1).data.extend(cut)
    image.save(tmp_path / "file.db")
    with Database.open(tmp_path / "file.db") as database:
        *others, last_one = [record for _, record in database.root.bucket(b"records").buckets()]
        assert all(plain(record) == TREE[b"records"][record.path[-1]] for record in others)
        with pytest.raises(Truncated):
            last_one.items()


def test_entries_as_they_lie_in_their_pages(tmp_path):
    """Each number gives the value or bucket of the key; an inline bucket of a known form is taken apart in one call."""
    records = {b"record%03d" % number: {b"one": b"%03d" % number, b"two": b"2"} for number in range(500)}
    tree = {
        b"records": records | {b"record%03d" % 77: {b"large": b"1" * 900}, b"record%03d" % 78: {b"one": {}}},
        b"mixed": {b"a": b"1", b"b": {b"c": b"2"}, b"d": b"3"},
        b"empty": {},
        b"alike": {b"a": {b"one": b"xyz", b"owt": b"2"}, b"b": {b"on": b"123", b"etwo": b"2"}},
    }
    form = Form.of((b"one", b"two"), (3, 1))
    boltwriter.image(tree, page_size=PAGE).save(tmp_path / "file.db")
    with Database.open(tmp_path / "file.db") as database:
        for name, expected in tree.items():
            bucket, found, given = database.root.bucket(name), {}, 0
            for leaf in bucket.leaves():
                for index, (key, inline) in enumerate(zip(leaf.keys, leaf.inlines(), strict=True)):
                    value = leaf.value(index)
                    found[key] = plain(value) if isinstance(value, Bucket) else value
                    if inline is None or len(inline) != form.size:
                        continue
                    parts = form.unpack(inline)
                    if parts[::2] == form.fixed:
                        assert dict(zip((b"one", b"two"), parts[1::2], strict=True)) == found[key]
                        given += 1
            assert found == expected
            assert given == (498 if name == b"records" else 0)


def by_form(bucket):
    """A bucket as a dict by the form of its page; None if it has no form yet, or the error that this ends with."""
    try:
        formed = bucket.formed()
    except BoltError as error:
        return str(error), error.page, error.offset
    if formed is None:
        return None
    form, fields = formed
    values = iter(form.values_of(fields))
    return {
        key: next(values) if names is None else {name: next(values) for name in names}
        for key, names in zip(form.keys_of(fields), form.below, strict=True)
    }


@damaged
def test_a_form_hides_no_damage(tmp_path_factory, patches, mapped):
    """Any bytes of the last of ten pages of one form changed: it has no form then, or says what it says without one."""
    path = tmp_path_factory.getbasetemp() / "formed.db"
    last_damaged(path, patches)
    with Database.open(path, mapped=mapped) as database:
        *others, damaged = [record for _, record in database.root.bucket(b"records").buckets()]
        for number, record in enumerate(others):
            found = by_form(record)
            # The first is looked at byte by byte, and the form is worked out when there is a second page like it.
            assert found == (None if number < 2 else TREE[b"records"][record.path[-1]])
            assert plain(record) == TREE[b"records"][record.path[-1]]
        assert by_form(damaged) in (None, last(path, likes=False, mapped=mapped))


def test_a_form_claims_its_page(tmp_path):
    """A page of two buckets is seen by the form, too."""
    name = SOUND.data.index(LAST) + len(LAST)
    image = boltwriter.image(TREE, page_size=PAGE)
    image.patch(name, struct.pack("<Q", SOUND.roots[b"records", b"record3"])).save(tmp_path / "file.db")
    with Database.open(tmp_path / "file.db") as database:
        *others, last_one = [record for _, record in database.root.bucket(b"records").buckets()]
        for record in others:
            assert by_form(record) is None or plain(record) == by_form(record)
            plain(record)
        with pytest.raises(Corrupt, match="referenced here and at"):
            last_one.formed()


INLINE = Form.of((b"one", b"two"), (3, 1))
BUCKET = bytes(16) + b"".join((INLINE.fixed[0], b"123", INLINE.fixed[1], b"4"))


@pytest.mark.parametrize(
    ("bucket", "keys"),
    [
        (BUCKET, (b"one", b"two")),
        (bytes(16) + struct.pack("<HHI", 2, 0, 0), ()),
        (BUCKET + b"\0", None),
        (BUCKET[:-1], None),
        (BUCKET.replace(b"one", b"two"), None),
        (bytes(16) + b"".join((*Form.of((b"two", b"one"), (0, 0)).fixed,)), None),
        (BUCKET[:24] + b"\1" + BUCKET[25:], None),  # flags of the first entry: a bucket in it
        (BUCKET[:16] + b"\1" + BUCKET[17:], None),  # flags of the page
        (BUCKET[:18] + b"\xff\xff" + BUCKET[20:], None),  # its count
        (BUCKET[:20], None),
        (b"", None),
    ],
)
def test_only_what_bbolt_writes_has_a_form(bucket, keys):
    """A form of an inline bucket is one that leaves nothing in it unchecked, the order of its keys among it."""
    met = Form.met(bucket)
    assert (None if met is None else met.keys) == keys
    if met is not None:
        made = Form.of(keys, (3, 1)[: len(keys)])
        assert (met.size, met.fixed, met.codes) == (made.size, made.fixed, made.codes)

"""Declared documents are written as json writes the same values, read strictly, and described by a JSON Schema."""

import json
from collections.abc import Sequence
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from msgspec import UNSET, Meta, UnsetType

from drydock.model.documents.common import (
    Count,
    LazyList,
    ReportPart,
    Sha256,
    Shown,
    StrictPart,
    canonical,
    compact,
    in_ascii,
    indented,
    json_schema,
    read_document,
)

EVERY_CHARACTER = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x10000), 0x1F600, 0x10FFFF)))
HUGE = 1 << 90


class Leaf(StrictPart, kw_only=True):
    """A part."""

    name: Shown
    more: Annotated[Shown | UnsetType, Meta(description="not always there")] = UNSET
    size: Annotated[Count, Meta(description="bytes")]
    marks: Annotated[tuple[int, int], Meta(description="two numbers")]
    above: Annotated[Shown | None, Meta(description="what it hangs on")]


class Branch(StrictPart):
    """A part with a list that grows."""

    leaves: Annotated[Sequence[Leaf], Meta(description="its leaves")]
    labels: Annotated[dict[str, str], Meta(description="its labels")]


class Tree(StrictPart, tag_field="schema", tag="drydock.tree/1"):
    """A document."""

    height: Annotated[int, Meta(description="its height")]
    branches: Annotated[Sequence[Branch], Meta(description="its branches")]
    is_green: Annotated[bool, Meta(description="whether it is green")]


class Root(ReportPart):
    """A part that a later version may add to."""

    depth: int
    seal: Sha256 | None


def tree(leaves):
    """A tree with a bare branch and one of ``leaves`` leaves, none of which is in memory, and its values."""
    names = [EVERY_CHARACTER, *map(str, range(1, leaves))][:leaves]
    branches = [Branch([], {}), Branch(LazyList(names, leaf), {EVERY_CHARACTER: "x"})]
    made = Tree(HUGE, LazyList(branches, lambda each: each), is_green=True)
    values = [
        {"name": name, **({"more": "x"} if name == "1" else {}), "size": 3, "marks": [1, -HUGE], "above": None}
        for name in names
    ]
    plain = [{"leaves": [], "labels": {}}, {"leaves": values, "labels": {EVERY_CHARACTER: "x"}}]
    return made, {"schema": "drydock.tree/1", "height": HUGE, "branches": plain, "is_green": True}


def leaf(name):
    """One leaf."""
    return Leaf(name=name, more="x" if name == "1" else UNSET, size=3, marks=(1, -HUGE), above=None)


@pytest.mark.parametrize("leaves", [0, 1, 2, 255, 256, 257, 1000])
def test_written_as_json_writes_it(leaves):
    """Indented, compact, and sorted in ASCII, whatever the number of entries, with every character there is."""
    made, values = tree(leaves)
    assert "".join(indented(made)) == json.dumps(values, indent=1, ensure_ascii=False)
    assert "".join(indented(made, "\n   ")) == json.dumps(values, indent=1, ensure_ascii=False).replace("\n", "\n   ")
    assert in_ascii(compact.encode(made)) == json.dumps(values, separators=(",", ":")).encode()
    assert b"".join(canonical(made)) == json.dumps(values, separators=(",", ":"), sort_keys=True).encode()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@given(VALUES)
def test_whatever_the_values_are(value):
    """Values without a struct are written byte for byte as json writes them."""
    assert "".join(indented(value)) == json.dumps(value, indent=1, ensure_ascii=False)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_with_a_point_keep_their_value(number):
    """Where the text is another than that of json (``1e16``), a reader has the same number."""
    assert json.loads("".join(indented([number]))) == [number]


def test_only_a_few_entries_are_in_memory():
    """A list that grows is written while it is made: what was written before its end is all that was made."""
    made = []
    entries = LazyList(range(10_000), lambda number: made.append(number) or leaf(str(number)))
    pieces = indented(Branch(entries, {}))
    while "1000" not in next(pieces):
        pass
    assert 1000 <= len(made) < 2000


def test_a_lazy_list_is_a_sequence():
    """Its length, its entries by place, and slices of it."""
    entries = LazyList([1, 2, 3], str)
    assert (len(entries), entries[0], entries[-1], entries[1:], [*entries]) == (
        3,
        "1",
        "3",
        ["2", "3"],
        ["1", "2", "3"],
    )
    with pytest.raises(IndexError):
        entries[3]


def test_read_as_written():
    """What is written is read again, with every character."""
    made, _ = tree(3)
    read = read_document("".join(indented(made)).encode(), Tree)
    assert [*read.branches[1].leaves] == [*made.branches[1].leaves]
    assert read.branches[1].labels == made.branches[1].labels
    assert [*canonical(read)] == [*canonical(made)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"drydock.tree/1"', b'"drydock.tree/2"', "its schema is 'drydock.tree/2', not drydock.tree/1"),
        (b'"schema"', b'"Schema"', "missing required field `schema`"),
        (b'"size":3', b'"size":true', "`int`, got `bool`"),
        (b'"size":3', b'"size":3.0', "`int`, got `float`"),
        (b'"size":3', b'"size":"3"', "`int`, got `str`"),
        (b'"size":3', b'"size":-1', ">= 0"),
        (b'"size":3', b'"size":9223372036854775808', "<= 9223372036854775807"),
        (b'"size":3', b'"size":NaN', "malformed"),
        (b'"size":3', b'"size":1e999', "out of range"),
        (b'"size":3', b'"size":' + b"9" * 5000, "out of range"),
        (b'"size":3', b'"size":3,"new\\u202e":1', r"unknown field `new\\u202e`"),
        (b'"size":3', b'"size":3,"new":' + b"[" * 100_000, "nested too deeply"),
        (b'"size":3,', b"", "missing required field `size`"),
        (b'"more":"x"', b'"more":null', "`str`, got `null`"),
        (b'"marks":[1,', b'"marks":[1,1,', "length 2"),
        (b'"name":"1"', b'"name":"\\ud800"', "truncated|malformed|surrogate"),
        (b'"name":"1"', b'"name":"\xff"', "utf-8"),
        (b'"is_green":true', b'"is_green":1', "`bool`, got `int`"),
        (b'"is_green":true}', b'"is_green":true} x', "trailing"),
    ],
    ids=range(19),
)
def test_nothing_else_is_read(old, new, message):
    """Another schema, a field too many, one too few, one of another type or out of bounds, and what is no JSON."""
    data = compact.encode(tree(2)[0])
    assert read_document(data, Tree)
    assert old in data
    with pytest.raises(ValueError, match=message) as refused:
        read_document(data.replace(old, new), Tree)
    assert str(refused.value).isprintable()


def test_a_report_may_have_more():
    """A field of a later version is passed over."""
    made = json.dumps({"depth": 1, "seal": "0" * 64, "new": [1]})
    assert json_schema("root", "a root", Root)["$defs"]["Root"].get("additionalProperties") is None
    Draft202012Validator(json_schema("root", "a root", Root)).validate(json.loads(made))


def test_described_by_a_schema():
    """The schema takes what is written, has the descriptions, and refuses a field too many."""
    schema = json_schema("tree", "a tree", Tree)
    Draft202012Validator.check_schema(schema)
    check = Draft202012Validator(schema)
    values = tree(3)[1]
    check.validate(values)
    assert (schema["$id"], schema["title"]) == ("urn:drydock:tree:1", "a tree")
    assert schema["$defs"]["Leaf"]["properties"]["size"]["description"] == "bytes"
    values["branches"][1]["leaves"][0]["new"] = 1
    with pytest.raises(ValidationError):
        check.validate(values)


def test_a_schema_of_one_of_several():
    """As a line of a journal is."""
    check = Draft202012Validator(json_schema("either", "a tree or a leaf", Tree, Leaf))
    check.validate(tree(3)[1])
    check.validate(tree(3)[1]["branches"][1]["leaves"][0])
    with pytest.raises(ValidationError):
        check.validate(tree(3)[1]["branches"][1])

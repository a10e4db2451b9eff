"""One page of a bbolt file as text, and as the document ``drydock.bolt-page/1``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from drydock.model.names import RawPath
from drydock.model.text import shown

if TYPE_CHECKING:
    from bbolt_reader import Dissection, Field

_LEAST = 20
"""Columns that a value has in any case."""


def page_lines(page: Dissection, columns: int) -> Iterator[str]:
    """A table of the fields in the order of the file, then what is wrong.

    Args:
        page: what to show.
        columns: what a line should fit in; longer values are cut, and end in ``...``.
    """
    kind = f"overflow of page {page.owner}" if page.kind == "overflow" else page.kind
    yield f"page {page.page}: {kind}, {page.length} bytes from offset {page.offset:#x}"
    end = page.offset + page.length
    places = max(len(f"{end:#x}"), len("offset"))
    sizes = max(len(str(page.length)), len("bytes"))
    names = max(len("field"), *(len(field.name) for field in page.fields))
    yield f"{'offset':<{places}}  {'bytes':>{sizes}}  {'field':<{names}}  value"
    for field in page.fields:
        room = max(columns - places - sizes - names - 6, _LEAST)
        where = f"{field.offset:<#{places}x}  {field.length:>{sizes}}"
        yield f"{where}  {field.name:<{names}}  {_value(field, room)}".rstrip()
    for problem in page.problems:
        yield f"problem: {problem}"


def page_document(file: RawPath, page: Dissection) -> dict[str, Any]:
    """Every field with its offset in the file; keys and values both shown and in hexadecimal."""
    return {
        "schema": "drydock.bolt-page/1",
        "path": shown(file),
        "page": page.page,
        "offset": page.offset,
        "bytes": page.length,
        "kind": page.kind,
        "overflow_of": page.owner if page.kind == "overflow" else None,
        "fields": [_field(field) for field in page.fields],
        "problems": page.problems,
    }


def _field(field: Field) -> dict[str, Any]:
    value = field.value
    row: dict[str, Any] = {"offset": field.offset, "bytes": field.length, "field": field.name}
    if isinstance(value, int):
        row["value"] = value
    elif not field.meaning:  # zeros need not be written out
        row |= {"value": shown(value), "hex": value.hex()}
    return row | ({"meaning": field.meaning} if field.meaning else {})


def _value(field: Field, room: int) -> str:
    if isinstance(field.value, int):
        return f"{field.value} ({field.meaning})" if field.meaning else str(field.value)
    if field.meaning:
        return field.meaning
    # What is cut off need not be escaped.
    text = shown(field.value[: room + 1])
    return text if len(text) <= room and len(field.value) <= room else f"{text[: room - 3]}..."

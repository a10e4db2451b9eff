"""How a document is declared, written, read, and described by its JSON Schema.

A document is a struct whose tag is the name of its schema: ``class ScanDocument(Report, tag="drydock.scan/1")``. Its
parts are structs too. Fields are written in the order of their declaration, and each has a description:
``Annotated[str, Meta(description="…")]``. A field that is not always there is declared as ``X | UnsetType = UNSET``.

What drydock reads to change a store is made of :class:`StrictPart`: an unknown field in it is an error. What only
people and other programs read is made of :class:`ReportPart`: a later version may add fields, and readers pass over
them.

A list that grows with a store is a :class:`LazyList`: its entries are made while they are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import Annotated, Any, Final, Generic, TypeVar, overload

import msgspec
from msgspec import UNSET, Meta, Struct

from drydock.model.names import RawPath
from drydock.model.text import printable, unshown

_Source = TypeVar("_Source")
_Entry = TypeVar("_Entry")
_Read = TypeVar("_Read", bound=Struct)

_LARGEST: Final = (1 << 63) - 1
_BATCH: Final = 256
"""Entries of a list that are written at a time."""
_MESSAGE: Final = 150
"""Characters of an error's text."""
_NO_ASCII: Final = re.compile(r"[^\x00-\x7e]")

Shown = Annotated[
    str,
    Meta(description="a name or path as shown: what cannot be shown is escaped, a backslash is doubled"),
]
"""A name or path, as :func:`drydock.model.text.shown` gives it."""
Line = Annotated[str, Meta(description="one line for people")]
"""A text of one line for people: a reason, a cause, a message."""
Time = Annotated[str, Meta(description="a time in UTC, as in RFC 3339")]
Nanoseconds = Annotated[int, Meta(description="nanoseconds since 1970")]
Count = Annotated[int, Meta(ge=0, le=_LARGEST)]
"""A number of things, or of bytes."""
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", min_length=64, max_length=64)]


class StrictPart(Struct, forbid_unknown_fields=True, gc=False):
    """A part of a document that drydock reads before it changes a store."""


class ReportPart(Struct, gc=False):
    """A part of a document that only people and other programs read."""


class Report(ReportPart, tag_field="schema"):
    """A document that only people and other programs read."""

    drydock: Annotated[str, Meta(description="version of drydock that wrote it")]
    now: Annotated[Time, Meta(description="the time that expiries and ages were compared with")]


class LazyList(Sequence[_Entry], Generic[_Entry]):
    """A list of a document that makes each entry anew when it is asked for it: the whole list is never in memory."""

    def __init__(self, sources: Sequence[_Source], make: Callable[[_Source], _Entry]) -> None:
        """Have an entry for each of ``sources``, made by ``make``."""
        self._sources: Sequence[Any] = sources
        self._make: Callable[[Any], _Entry] = make

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, place: int) -> _Entry: ...

    @overload
    def __getitem__(self, place: slice) -> list[_Entry]: ...

    def __getitem__(self, place: int | slice) -> _Entry | list[_Entry]:
        if isinstance(place, slice):
            return [self._make(source) for source in self._sources[place]]
        return self._make(self._sources[place])

    def __iter__(self) -> Iterator[_Entry]:
        return map(self._make, self._sources)


compact: Final = msgspec.json.Encoder(enc_hook=list)
"""Encodes a document or a part of one without blanks; in UTF-8."""
_sorted: Final = msgspec.json.Encoder(enc_hook=list, order="sorted")


def indented(value: object, margin: str = "\n") -> Iterator[str]:
    """The text of a document, in pieces: the whole text of a large one is never in memory.

    The same text as ``json.dumps(…, indent=1, ensure_ascii=False)`` gives for the same values.

    Args:
        value: a struct, or what a struct has as a field.
        margin: what each line but the first begins with.
    """
    inner = margin + " "
    if isinstance(value, LazyList):
        yield from _indented_list(value, margin)
    elif isinstance(value, Struct) and _is_lazy(value):
        mark = "{"
        for name, each in fields_of(value).items():
            yield f'{mark}{inner}"{name}": '
            yield from indented(each, inner)
            mark = ","
        yield margin + "}"
    else:
        yield _text(value).replace("\n", margin)


def _indented_list(entries: LazyList[Any], margin: str) -> Iterator[str]:
    inner, mark = margin + " ", "["
    for start in range(0, len(entries), _BATCH):
        batch = entries[start : start + _BATCH]
        if _is_lazy(batch[0]):
            for each in batch:
                yield mark + inner
                yield from indented(each, inner)
                mark = ","
        else:
            # Without the bracket and the line of its end.
            yield mark + _text(batch)[1:-2].replace("\n", margin)
            mark = ","
    yield "[]" if mark == "[" else margin + "]"


def _is_lazy(value: object) -> bool:
    return isinstance(value, Struct) and any(isinstance(each, LazyList) for each in fields_of(value).values())


def _text(value: object) -> str:
    return msgspec.json.format(compact.encode(value), indent=1).decode()


def fields_of(part: Struct) -> dict[str, Any]:
    """What a part of a document has, by the names that are written, in their order."""
    config = part.__struct_config__
    named = {} if config.tag_field is None else {config.tag_field: config.tag}
    values = zip(part.__struct_encode_fields__, part.__struct_fields__, strict=True)
    return named | {name: value for name, attribute in values if (value := getattr(part, attribute)) is not UNSET}


def canonical(value: object) -> Iterator[bytes]:
    """JSON with sorted keys, without blanks, in ASCII, in pieces: the same bytes for the same values, to be hashed.

    Args:
        value: as for :func:`indented`.
    """
    if isinstance(value, Struct):
        mark = "{"
        for name, each in sorted(fields_of(value).items()):
            yield f'{mark}"{name}":'.encode()
            yield from canonical(each)
            mark = ","
        yield b"}"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        mark = "["
        for start in range(0, len(value), _BATCH):
            yield mark.encode()
            yield in_ascii(_sorted.encode(value[start : start + _BATCH]))[1:-1]
            mark = ","
        yield b"[]" if mark == "[" else b"]"
    else:
        yield in_ascii(_sorted.encode(value))


def in_ascii(data: bytes) -> bytes:
    """JSON in UTF-8 with every character beyond ASCII escaped, as :mod:`json` writes it unless it is told otherwise."""
    if data.isascii() and b"\x7f" not in data:
        return data
    return _NO_ASCII.sub(lambda found: encode_basestring_ascii(found[0])[1:-1], data.decode()).encode()


class _SchemaName(Struct):
    schema: str


def read_document(data: bytes | str, kind: type[_Read]) -> _Read:
    """The document that ``data`` has, every type and bound in it checked.

    Args:
        data: JSON, in UTF-8.
        kind: its struct.

    Raises:
        ValueError: it is another document or none, a field is missing or of another type, or, of a strict part, a field
            is not known. The message is one shown line.
    """
    expected = kind.__struct_config__.tag
    try:
        found = msgspec.json.decode(data, type=_SchemaName).schema
        if found != expected:
            raise ValueError(f"its schema is {found[:40]!r}, not {expected}")
        return msgspec.json.decode(data, type=kind)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(reason_of(error)) from error


def raw_path(text: str) -> RawPath:
    """The path that a document shows.

    Raises:
        ValueError: no file has such a path.
    """
    raw = unshown(text)
    if b"\0" in raw:
        raise ValueError("a path with a NUL")
    return RawPath(raw)


def reason_of(error: Exception) -> str:
    """Why something is not what a document has, as one shown line; it may name a field of any length."""
    return printable(str(error)[:_MESSAGE])


def json_schema(name: str, title: str, *kinds: type[Struct]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a document.

    Args:
        name: of the document, such as ``scan``.
        title: what it is; one line.
        kinds: its struct; several where it is one of them.
    """
    found, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    body: Mapping[str, Any] = found[0] if len(found) == 1 else {"oneOf": list(found)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:drydock:{name}:1",
        "title": title,
        **body,
        "$defs": dict(sorted(parts.items())),
    }

"""One page, field by field: the name, the value and the byte of the file of each number, key and value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from construct import Struct

from bbolt_reader import layout
from bbolt_reader.declared import (
    BRANCH,
    BUCKET,
    FREELIST,
    LEAF,
    MAX_KEY,
    read_meta,
)
from bbolt_reader.errors import Truncated
from bbolt_reader.lenient import LenientPages
from bbolt_reader.meta import NO_FREELIST, PAGE_META
from bbolt_reader.parsing import (
    FREE_PAGE,
    HEADER,
    META,
    Fields,
    parse_branch,
    parse_bucket,
    parse_freelist,
    parse_header,
    parse_leaf,
    parse_meta,
)
from bbolt_reader.source import READ_LIMIT

KINDS: Final = {BRANCH: "branch", LEAF: "leaf", PAGE_META: "meta", FREELIST: "freelist"}
"""The kinds of pages, by their flags."""
_WITH_OVERFLOW: Final = frozenset(("branch", "leaf", "freelist"))


_IDS_SHOWN: Final = 1 << 20
"""The most ids of a freelist that are shown; the others are shown as bytes. bbolt needs so many for 4 GiB of free
pages."""


class Field(NamedTuple):
    """One field of a page."""

    offset: int
    """Byte of the file."""
    length: int
    name: str
    """The name in the declaration: ``count``; in an element ``[3].pos``, and in an element of its inline bucket
    ``[3].page[0].pos``."""
    value: int | bytes
    meaning: str = ""
    """The meaning of a number, if it has another than itself."""


class Dissection(NamedTuple):
    """One page."""

    page: int
    offset: int
    length: int
    """With its overflow."""
    kind: str
    """``meta``, ``branch``, ``leaf``, ``freelist``, ``overflow``, or ``unknown``."""
    owner: int
    """The page itself; for an overflow, the page that it belongs to."""
    fields: list[Field]
    """In the order of the file. Together they are all bytes of the page, unless damaged elements overlap."""
    problems: list[str]
    """Differences from what bbolt writes, one line each. In a free page they are no damage: it may have any bytes."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The header of a page."""

    page: int
    kind: str
    count: int
    overflow: int
    id: int


def list_pages(lenient: LenientPages) -> Iterator[Listed]:
    """The header of every page by position; the places of overflow are skipped."""
    position, end = 0, lenient.source.size // lenient.page_size
    while position < end:
        own, flags, count, overflow = lenient.header(position)
        kind = KINDS.get(flags, "unknown")
        yield Listed(position, kind, count, overflow, own)
        # Overflow has no headers. A place that does not look like a page of the file is skipped by itself.
        sound = own == position and kind in _WITH_OVERFLOW
        position += 1 + (overflow if sound else 0)


def dissect(lenient: LenientPages, pgid: int) -> Dissection:
    """Take a page apart, whatever is wrong with it.

    Args:
        lenient: the file.
        pgid: the page's position.

    Raises:
        Truncated: the file has no such page.
        BoltError: the file cannot be read.
    """
    size, offset = lenient.page_size, pgid * lenient.page_size
    if not 0 <= pgid < lenient.count:
        raise Truncated(f"there is no page {pgid}: the file has {lenient.count} pages", file=lenient.source.name)
    data = lenient.source.read(offset, min(size, lenient.source.size - offset), pgid)
    if len(data) < HEADER:
        return Dissection(
            pgid, offset, len(data), "unknown", pgid, _unused(offset, data), ["the file ends in its header"]
        )
    header = parse_header(data)
    kind = KINDS.get(header["flags"], "unknown")
    problems: list[str] = []
    if header["id"] != pgid:
        owner = _owner(lenient, pgid)
        if owner != pgid:
            return Dissection(pgid, offset, len(data), "overflow", owner, [Field(offset, len(data), "data", data)], [])
        if any(data):
            problems.append(f"the page is overwritten: its header has the number {header['id']}")
    length = (header["overflow"] + 1) * size
    if header["overflow"] and kind in _WITH_OVERFLOW:
        if length <= READ_LIMIT and offset + length <= lenient.source.size:
            data = lenient.source.read(offset, length, pgid)
        else:
            problems.append(f"overflow of {header['overflow']} pages: more than there is, or than is read")
    if len(data) < size:
        problems.append("the file ends in this page")
    fields = [*_numbers(layout.PAGE_HEADER, header, offset, flags=KINDS)]
    used = _PageDissection(data, offset, fields, problems)
    if kind == "meta":
        used.meta(read_meta(lenient.source, pgid, offset).reason)
    elif kind == "leaf":
        used.leaf(0, len(data), header["count"], "")
    elif kind == "branch":
        used.branch(header["count"])
    elif kind == "freelist":
        used.freelist(header["count"])
    elif any(data):
        problems.append(f"flags {header['flags']:#x}: no kind of page")
    fields.sort(key=lambda field: field.offset)
    return Dissection(pgid, offset, len(data), kind, pgid, _filled(fields, data, offset), problems)


class _PageDissection:
    """The part of a page behind its header; fields and problems are added to those of the caller."""

    def __init__(self, data: bytes, offset: int, fields: list[Field], problems: list[str]) -> None:
        self.data = data
        self.offset = offset
        self.fields = fields
        self.problems = problems

    def meta(self, reason: str) -> None:
        if reason:
            self.problems.append(f"not valid: {reason}")
        if len(self.data) < HEADER + META:
            return
        meta = parse_meta(self.data)
        for field in _numbers(layout.META, meta, self.offset + HEADER):
            meaning = ""
            if field.name == "freelist" and field.value == NO_FREELIST:
                meaning = "not kept"
            elif field.name in {"magic", "checksum", "flags"}:
                meaning = f"{meta[field.name]:#x}"
            self.fields.append(field._replace(meaning=meaning))

    def leaf(self, start: int, stop: int, count: int, name: str) -> None:
        """The elements of a leaf page, or of the page in an inline bucket, from one byte of ``data`` to another."""
        if not self._fits(start, stop, count, name):
            return
        end = start + HEADER * (count + 1)
        for index, element in enumerate(parse_leaf(self.data[start:stop], count)):
            at, each = start + HEADER * (index + 1), f"{name}[{index}]"
            flags = element["flags"]
            self._add(layout.LEAF_ELEMENT, element, at, f"{each}.", {BUCKET: "bucket"})
            key, value = at + element["pos"], at + element["pos"] + element["ksize"]
            behind = value + element["vsize"]
            if key < end or behind > stop or not 0 < element["ksize"] <= MAX_KEY:
                self.problems.append(f"{each}: its key or value is not where it can be")
                continue
            end = behind
            self._bytes(key, value, f"{each}.key")
            if flags != BUCKET or behind - value < HEADER:
                if flags:
                    self.problems.append(f"{each}: flags {flags:#x}, and a value of {behind - value} bytes")
                self._bytes(value, behind, f"{each}.value")
                continue
            bucket = parse_bucket(self.data[value : value + HEADER])
            self._add(layout.BUCKET_HEADER, bucket, value, f"{each}.")
            if bucket["root"]:
                self._bytes(value + HEADER, behind, f"{each}.rest")
            else:
                self._inline(value + HEADER, behind, f"{each}.page", nested=bool(name))

    def _inline(self, start: int, stop: int, name: str, *, nested: bool) -> None:
        if nested or stop - start < HEADER:
            self.problems.append(f"{name}: {'in an inline bucket' if nested else 'too short for a page'}")
            self._bytes(start, stop, name)
            return
        header = parse_header(self.data[start : start + HEADER])
        self._add(layout.PAGE_HEADER, header, start, f"{name}.", KINDS)
        if header["flags"] != LEAF:
            self.problems.append(f"{name}: flags {header['flags']:#x}")
        else:
            self.leaf(start, stop, header["count"], name)

    def branch(self, count: int) -> None:
        if not self._fits(0, len(self.data), count, ""):
            return
        if not count:
            self.problems.append("a branch without children")
        end = HEADER * (count + 1)
        for index, element in enumerate(parse_branch(self.data, count)):
            at = HEADER * (index + 1)
            self._add(layout.BRANCH_ELEMENT, element, at, f"[{index}].")
            key = at + element["pos"]
            if key < end or key + element["ksize"] > len(self.data) or not 0 < element["ksize"] <= MAX_KEY:
                self.problems.append(f"[{index}]: its key is not where it can be")
                continue
            end = key + element["ksize"]
            self._bytes(key, end, f"[{index}].key")

    def freelist(self, count: int) -> None:
        found = parse_freelist(self.data, count)
        if found.first > HEADER:
            self.fields.append(Field(self.offset + HEADER, FREE_PAGE, "real count", found.declared_count))
        if found.declared_count > len(found.ids):
            self.problems.append(f"{found.declared_count} free pages in {len(self.data)} bytes")
        if len(found.ids) > _IDS_SHOWN:
            self.problems.append(f"of {len(found.ids)} ids the first {_IDS_SHOWN} are shown one by one")
        for index, each in enumerate(found.ids[:_IDS_SHOWN]):
            at = found.first + FREE_PAGE * index
            self._add(layout.FREE_PAGE, {"id": each}, at, f"[{index}].")

    def _fits(self, start: int, stop: int, count: int, name: str) -> bool:
        if HEADER * (count + 1) <= stop - start:
            return True
        self.problems.append(f"{name and f'{name}: '}{count} elements in {stop - start} bytes")
        return False

    def _add(
        self, declaration: Struct, values: Fields, at: int, name: str, flags: dict[int, str] | None = None
    ) -> None:
        self.fields += _numbers(declaration, values, self.offset + at, name, flags)

    def _bytes(self, start: int, stop: int, name: str) -> None:
        if start < stop or name.endswith(("key", "value")):
            self.fields.append(Field(self.offset + start, stop - start, name, self.data[start:stop]))


def _numbers(
    declaration: Struct, values: Fields, offset: int, name: str = "", flags: dict[int, str] | None = None
) -> Iterator[Field]:
    """The fields of a declaration, one behind the other."""
    for field in declaration.subcons:
        value, length = values[field.name], field.sizeof()
        meaning = ""
        if field.name == "flags" and flags is not None:
            meaning = flags.get(value, f"{value:#x}" if value else "")
        yield Field(offset, length, name + field.name, value, meaning)
        offset += length


def _owner(lenient: LenientPages, pgid: int) -> int:
    """The page whose overflow covers a place, by its header; the place itself if there is none."""
    for listed in list_pages(lenient):
        if listed.page >= pgid:
            break
        if listed.id == listed.page and listed.kind in _WITH_OVERFLOW and pgid <= listed.page + listed.overflow:
            return listed.page
    return pgid


def _filled(fields: list[Field], data: bytes, offset: int) -> list[Field]:
    """The fields of a page, and the bytes between them as fields too."""
    filled: list[Field] = []
    end = offset
    for field in fields:
        if field.offset > end:
            filled += _unused(end, data[end - offset : field.offset - offset])
        filled.append(field)
        end = max(end, field.offset + field.length)
    return filled + _unused(end, data[end - offset :])


def _unused(offset: int, data: bytes) -> list[Field]:
    if not data:
        return []
    return [Field(offset, len(data), "unused", data, "" if any(data) else "zeros")]

"""Pages, keys and values of a bbolt file as lines and documents, and what can be read of a damaged one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from drydock.model.names import RawPath
from drydock.model.records import Image, Lease
from drydock.model.text import quoted_path, shown
from drydock.model.times import show_known, show_time
from drydock.report.wording import show_bytes, show_count

if TYPE_CHECKING:
    from bbolt_reader import Bucket, Damage, DeclaredDatabase, Dissection, Field, Meta
    from bbolt_reader.dissection import Listed
    from bbolt_reader.statements import Salvage, Statement
    from drydock.model.remnants import Rebuilt, Remnant

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


def salvage_hint(file: RawPath) -> str:
    """The command that shows what can be read of a damaged file."""
    return f"drydock bolt salvage {quoted_path(file)}   # shows what can be read; docs/salvage.md has the next steps"


def info_document(file: RawPath, database: DeclaredDatabase) -> dict[str, Any]:
    """``drydock.bolt-info/1``: the page size, both metas, and which one counts."""
    return {"schema": "drydock.bolt-info/1", "path": shown(file), **_info(database)}


def info_lines(database: DeclaredDatabase) -> Iterator[str]:
    """The same as text."""
    document = _info(database)
    for name in ("size", "page_size", "pages", "high_water", "txid", "freelist"):
        yield f"{name.replace('_', ' '):<11}{document[name]}"
    for meta in document["metas"]:
        yield f"meta {meta['page']}     txid {meta['txid']}, root page {meta['root']}, {meta['state']}"


def check_document(file: RawPath, damages: Iterable[Damage]) -> dict[str, Any]:
    """``drydock.bolt-check/1``: each damage with its place."""
    rows = [damage._asdict() for damage in damages]
    return {"schema": "drydock.bolt-check/1", "path": shown(file), "damage": rows}


def check_lines(file: RawPath, damages: Sequence[Damage]) -> Iterator[str]:
    """One line for each damage or note, and whether the file is sound."""
    for damage in damages:
        place = "" if damage.page is None else f" page {damage.page}"
        place += "" if damage.offset is None else f" offset {damage.offset:#x}"
        yield f"{damage.code if damage.severe else 'note'}:{place} {damage.message}"
    yield f"damaged\n{salvage_hint(file)}" if any(damage.severe for damage in damages) else "sound"


def bucket_line(bucket: Bucket) -> str:
    """A bucket by its path, with its sequence and root page."""
    place = f"page {bucket.root}" if bucket.root else "inline"
    return f"{joined(bucket.path)}\tsequence {bucket.sequence}\t{place}"


def key_line(key: bytes, value: bytes | Bucket) -> str:
    """A key with the length of its value; one that names a bucket ends in a slash."""
    return f"{shown(key)}\t{show_count(len(value), 'byte')}" if isinstance(value, bytes) else f"{shown(key)}/"


def dump_lines(start: Bucket) -> Iterator[str]:
    """Everything in a bucket and those in it, in hexadecimal, in the order of the keys."""
    path = "/".join(name.hex() for name in start.path)
    yield f"bucket {path or '/'} {start.sequence}"
    stack = [(f"{path}/" if path else "", start.items())]
    while stack:
        prefix, items = stack[-1]
        for key, value in items:
            path = prefix + key.hex()
            if isinstance(value, bytes):
                yield f"key {path} {value.hex()}"
            else:
                yield f"bucket {path} {value.sequence}"
                stack.append((f"{path}/", value.items()))
                break
        else:
            stack.pop()


def pages_document(file: RawPath, listed: Iterable[Listed]) -> dict[str, Any]:
    """``drydock.bolt-pages/1``: each page as its header describes it."""
    return {"schema": "drydock.bolt-pages/1", "path": shown(file), "pages": list(map(dataclasses.asdict, listed))}


def listed_page_line(listed: Listed) -> str:
    """The same as a line."""
    elements = show_count(listed.count, "element")
    return f"{listed.page}\t{listed.kind}\t{elements}\t{listed.overflow} overflow\tid {listed.id}"


def joined(path: Sequence[bytes]) -> str:
    """A path of buckets and a key, shown; a slash in a name is escaped."""
    return "/".join(shown(name).replace("/", r"\x2f") for name in path)


def salvage_document(
    file: RawPath,
    found: Salvage,
    statements: Sequence[Statement],
    remnants: Sequence[Remnant],
    rebuilt: Rebuilt | None,
) -> dict[str, Any]:
    """``drydock.bolt-salvage/1``: every key that can be read, the records made of them, and what is wrong."""
    document: dict[str, Any] = {
        "schema": "drydock.bolt-salvage/1",
        "path": shown(file),
        "page_size": found.page_size,
        "txid": found.txid,
        "guessed_root": found.guessed_root,
        "counts": _counts(found),
        "problems": [
            {
                "code": each.code,
                "message": each.message,
                "page": each.page,
                "offset": each.offset,
                "standing": each.standing.value,
            }
            for each in found.problems
        ],
        "lost": [
            {
                "bucket": [shown(name) for name in hole.path],
                "from": shown(hole.low),
                "to": None if hole.high is None else shown(hole.high),
            }
            for hole in found.holes
        ],
        "statements": [
            {
                "standing": each.standing.value,
                "bucket": [shown(name) for name in each.path],
                "fragment": each.fragment,
                "key": shown(each.key),
                "value": None if each.value is None else each.value.hex(),
                "sequence": each.sequence if each.value is None else None,
                "page": each.page,
                "offset": each.offset,
                "linked": each.linked,
            }
            for each in statements
        ],
        "records": [_record(each) for each in remnants],
        "rebuilt": None,
    }
    if rebuilt is not None:
        document["rebuilt"] = {
            "path": shown(rebuilt.path),
            "used": rebuilt.used,
            "left_out": [[shown(name) for name in path] for path in rebuilt.left_out],
        }
    return document


def _record(each: Remnant) -> dict[str, Any]:
    record = each.record
    row: dict[str, Any] = {
        "kind": record.ref.kind.value,
        "standing": each.standing.value,
        "namespace": shown(record.namespace) or None,
        "name": shown(each.name) or None,
        "created": show_known(record.created),
        "updated": None if isinstance(record, Lease) else show_known(record.updated),
        "labels": {shown(key): shown(value) for key, value in sorted(record.labels.items())},
        "page": each.page,
        "offset": each.offset,
    }
    if isinstance(record, Image):
        row |= {"target": shown(record.target) or None, "media_type": shown(record.media_type)}
    elif isinstance(record, Lease):
        row |= {
            "blobs": [shown(digest) for digest in record.blobs],
            "ingests": [shown(name) for name in record.ingests],
            "snapshots": [[shown(snapshotter), shown(key)] for snapshotter, key in record.snapshots],
        }
    else:
        row |= {
            "image": shown(record.image),
            "snapshotter": shown(record.snapshotter),
            "snapshot": shown(record.snapshot_key),
        }
    return row


def salvage_lines(
    found: Salvage,
    statements: Sequence[Statement],
    remnants: Sequence[Remnant],
    rebuilt: Rebuilt | None,
) -> Iterator[str]:
    """The keys, the records, what is wrong and what is lost, a sum, and the new database."""
    for each in statements:
        yield f"{each.standing.value}\tpage {each.page} offset {each.offset:#x}\t{_name(each)}{_length(each)}"
    for remnant in remnants:
        record = remnant.record
        names = (shown(record.namespace) or "?", shown(remnant.name) or "?")
        yield "\t".join((f"{remnant.standing.value} {record.ref.kind.value}", *names, _about(remnant)))
    for problem in found.problems:
        older = "" if problem.standing.value == "current" else " (older meta)"
        yield f"problem: {problem.code} page {problem.page} offset {problem.offset:#x}: {problem.message}{older}"
    for hole in found.holes:
        first, last = shown(hole.low) or "the first", "the last" if hole.high is None else shown(hole.high)
        yield f"lost: {joined(hole.path) or 'the root bucket'}: keys from {first} to {last}"
    if found.guessed_root is not None:
        yield f"both metas are lost: page {found.guessed_root} was taken for the root"
    yield ", ".join(f"{count} {standing}" for standing, count in _counts(found).items())
    if rebuilt is not None:
        for path in rebuilt.left_out:
            yield f"left out: {joined(path)}: nothing of it can be read but its name"
        used = ", ".join(f"{count} {standing}" for standing, count in rebuilt.used.items())
        yield f"{shown(rebuilt.path)}: written, from {used}; a scan removes nothing there until `drydock bolt trust`"


def _counts(found: Salvage) -> dict[str, int]:
    counts: dict[str, int] = {"current": 0, "previous": 0, "deleted": 0}
    for each in found.statements:
        counts[each.standing.value] += 1
    return counts


def _name(each: Statement) -> str:
    start = "" if each.fragment is None else f"?{each.fragment}/"
    return start + joined((*each.path, each.key))


def _length(each: Statement) -> str:
    return "/" if each.value is None else f"\t{show_count(len(each.value), 'byte')}"


def _about(each: Remnant) -> str:
    record, last = each.record, each.last
    when = "" if last is None else f", {show_time(last)}"
    if isinstance(record, Image):
        return (shown(record.target) or "target not known") + when
    if isinstance(record, Lease):
        parts = {"blob": record.blobs, "snapshot": record.snapshots, "ingest": record.ingests}
        return ", ".join(show_count(len(listed), kind) for kind, listed in parts.items()) + when
    return f"image {shown(record.image) or '?'}{when}"


def _info(database: DeclaredDatabase) -> dict[str, Any]:
    meta = database.meta
    return {
        "size": database.size,
        "page_size": database.page_size,
        "pages": database.pages,
        "high_water": meta.high_water,
        "txid": meta.txid,
        "freelist": f"page {meta.freelist}" if meta.has_freelist else "not kept",
        "metas": [
            {"page": one.index, "txid": one.txid, "root": one.root, "state": _state(one, database)}
            for one in database.metas
        ],
    }


def _state(meta: Meta, database: DeclaredDatabase) -> str:
    if not meta.valid:
        return f"not valid: {meta.reason}"
    return "in use" if meta is database.meta else "valid, older"


def use_line(file: RawPath, size: int, used: int) -> str:
    """How much of a database is in use."""
    free = size - used
    return f"{shown(file)}: {show_bytes(size)}, of which about {show_bytes(free)} ({100 * free // size} %) are free"


def compacted_line(before: int, after: int, freed: int) -> str:
    """What compacting a database did."""
    return f"{show_bytes(before)} before, {show_bytes(after)} after; the file system got {show_bytes(freed)} back"

"""``drydock bolt``: what a bbolt file holds, and whether it is sound."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.options import Group, file_argument, format_option
from drydock.cli.output import print_json
from drydock.cli.progress import show_progress
from drydock.cli.salvage import salvage, trust
from drydock.evidence.host.locks import hold
from drydock.model.errors import DrydockError, EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.progress import counter
from drydock.model.text import quoted_path, shown, unshown

if TYPE_CHECKING:
    from bbolt_reader import Bucket, Database, DeclaredDatabase, Dissection, Field, Meta
    from bbolt_reader.lenient import LenientPages


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


_DAMAGED = 2

_names = click.argument("names", metavar="[NAME]...", nargs=-1)
_format = format_option("text", "json")


@click.group(cls=Group)
def bolt() -> None:
    """Read a bbolt file, such as meta.db or metadata.db, that no engine has open.

    Names that are not plain text are printed with escapes, and can be typed that way.
    """


bolt.add_command(salvage)
bolt.add_command(trust)


@bolt.command()
@file_argument
@_format
def info(file: RawPath, form: str) -> None:
    """Print the page size of FILE, both metas, and which one counts."""
    with _declared(file) as database:
        document = _info(database)
        if form == "json":
            print_json({"schema": "drydock.bolt-info/1", "path": shown(file), **document}, sys.stdout)
            return
        for name in ("size", "page_size", "pages", "high_water", "txid", "freelist"):
            click.echo(f"{name.replace('_', ' '):<11}{document[name]}")
        for meta in document["metas"]:
            click.echo(f"meta {meta['page']}     txid {meta['txid']}, root page {meta['root']}, {meta['state']}")


@bolt.command()
@file_argument
@_format
def check(file: RawPath, form: str) -> int:
    """Check every page and entry of FILE; exit status 2 means damage."""
    from bbolt_reader import check as check_pages  # noqa: PLC0415 - help must not load the reader

    salvaging = f"drydock bolt salvage {quoted_path(file)}   # shows what can be read of it; docs/salvage.md goes on"
    try:
        with show_progress() as progress, _declared(file) as database:
            pages = min(database.pages, database.meta.high_water)
            damages = list(check_pages(database, counter(progress, "pages checked", pages)))
    except EvidenceUnreadable as error:
        if not _has_pages(file):
            raise
        raise EvidenceUnreadable(f"{error}; {salvaging}") from error
    severe = any(damage.severe for damage in damages)
    if form == "json":
        rows = [damage._asdict() for damage in damages]
        print_json({"schema": "drydock.bolt-check/1", "path": shown(file), "damage": rows}, sys.stdout)
    else:
        for damage in damages:
            place = "" if damage.page is None else f" page {damage.page}"
            place += "" if damage.offset is None else f" offset {damage.offset:#x}"
            click.echo(f"{damage.code if damage.severe else 'note'}:{place} {damage.message}")
        click.echo(f"damaged\n{salvaging}" if severe else "sound")
    return _DAMAGED if severe else 0


@bolt.command()
@file_argument
@_names
def buckets(file: RawPath, names: tuple[str, ...]) -> None:
    r"""List the buckets of FILE, with sequence and root page.

    With NAME..., only the buckets in that bucket are listed. A slash in a name is printed as \x2f.
    """
    with _opened(file) as database:
        start = _bucket(database, names)
        sys.stdout.writelines(
            f"{_joined(value.path)}\tsequence {value.sequence}\t{f'page {value.root}' if value.root else 'inline'}\n"
            for _, value in _walk(start)
            if not isinstance(value, bytes)
        )


@bolt.command()
@file_argument
@_names
def keys(file: RawPath, names: tuple[str, ...]) -> None:
    """List the keys of the bucket NAME..., or of the root bucket.

    A key that names a bucket ends in a slash.
    """
    with _opened(file) as database:
        sys.stdout.writelines(
            f"{shown(key)}\t{len(value)} bytes\n" if isinstance(value, bytes) else f"{shown(key)}/\n"
            for key, value in _bucket(database, names).items()
        )


@bolt.command()
@file_argument
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--format", "form", type=click.Choice(("text", "hex", "raw")), default="text", show_default=True)
def get(file: RawPath, names: tuple[str, ...], form: str) -> None:
    """Print one value.

    NAME... are the buckets that lead to it, from the root on, and its key.
    """
    with _opened(file) as database:
        bucket, key = _bucket(database, names[:-1]), unshown(names[-1])
        value = bucket.get(key)
        if value is None:
            what = "a bucket, not a value" if bucket.bucket(key) else "no such key"
            raise EvidenceUnreadable(f"{_joined((*bucket.path, key))}: {what}")
    if form == "raw":
        sys.stdout.flush()
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
    else:
        click.echo(value.hex() if form == "hex" else shown(value))


@bolt.command()
@file_argument
@_names
def dump(file: RawPath, names: tuple[str, ...]) -> None:
    """Print all sequences, keys and values in hexadecimal, one a line.

    Lines are in the order of the keys, so that diff compares two files.
    """
    with _opened(file) as database:
        start = _bucket(database, names)
        sys.stdout.write(f"bucket {_hex(start.path) or '/'} {start.sequence}\n")
        sys.stdout.writelines(
            f"key {path} {value.hex()}\n" if isinstance(value, bytes) else f"bucket {path} {value.sequence}\n"
            for path, value in _hexed(start)
        )


@bolt.command()
@file_argument
@_format
@click.option("--page", type=click.IntRange(min=0), metavar="N", help="Show every field of page N, with its offset.")
def pages(file: RawPath, form: str, page: int | None) -> None:
    """List the pages of FILE, or show every field of one page.

    Pages are listed by position, as their headers describe them. This also works where no meta is valid. A page that
    is free may hold anything: whether the file is damaged, `check` says.
    """
    from bbolt_reader.dissection import dissect, list_pages  # noqa: PLC0415 - help must not load the reader

    with _lenient(file) as lenient:
        if page is not None:
            found = dissect(lenient, page)
            if form == "json":
                print_json(page_document(file, found), sys.stdout)
            else:
                sys.stdout.writelines(f"{line}\n" for line in page_lines(found, shutil.get_terminal_size().columns))
            return
        rows = (dataclasses.asdict(listed) for listed in list_pages(lenient))
        if form == "json":
            print_json({"schema": "drydock.bolt-pages/1", "path": shown(file), "pages": list(rows)}, sys.stdout)
            return
        sys.stdout.writelines(
            f"{row['page']}\t{row['kind']}\t{row['count']} elements\t{row['overflow']} overflow\tid {row['id']}\n"
            for row in rows
        )


@contextmanager
def _opened(file: RawPath) -> Iterator[Database]:
    """The database, locked against engines.

    Raises:
        Refused: an engine has it.
        EvidenceUnreadable: it cannot be read.
    """
    from bbolt_reader import BoltError, Database  # noqa: PLC0415 - help must not load the reader

    with hold(file, exclusive=False) as lock:
        try:
            with Database.from_fd(lock.fd, file) as database:
                yield database
        except BoltError as error:
            raise EvidenceUnreadable(f"{shown(file)}: {error}") from error


@contextmanager
def _declared(file: RawPath) -> Iterator[DeclaredDatabase]:
    """The same, read by the declarations.

    Raises: as :func:`_opened`.
    """
    from bbolt_reader import BoltError, DeclaredDatabase  # noqa: PLC0415 - help must not load the reader

    with hold(file, exclusive=False) as lock:
        try:
            with DeclaredDatabase.from_fd(lock.fd, file) as database:
                yield database
        except BoltError as error:
            raise EvidenceUnreadable(f"{shown(file)}: {error}") from error


def _has_pages(file: RawPath) -> bool:
    """Whether there is anything that salvage can read."""
    with suppress(DrydockError), _lenient(file):
        return True
    return False


@contextmanager
def _lenient(file: RawPath) -> Iterator[LenientPages]:
    """The pages by position, also where no meta is valid.

    Raises: as :func:`_opened`.
    """
    from bbolt_reader import BoltError  # noqa: PLC0415 - help must not load the reader
    from bbolt_reader.lenient import LenientPages  # noqa: PLC0415 - the same
    from bbolt_reader.probe import probe  # noqa: PLC0415 - the same
    from bbolt_reader.source import Source  # noqa: PLC0415 - the same

    with hold(file, exclusive=False) as lock:
        try:
            source = Source(lock.fd, file, owned=False, mapped=False)
            yield LenientPages(source, probe(source).page_size)
        except BoltError as error:
            raise EvidenceUnreadable(f"{shown(file)}: {error}") from error


def _bucket(database: Database, names: tuple[str, ...]) -> Bucket:
    """The bucket that is named from the root on."""
    bucket = database.root
    for name in names:
        key = unshown(name)
        inner = bucket.bucket(key)
        if inner is None:
            raise EvidenceUnreadable(f"{_joined((*bucket.path, key))}: no such bucket")
        bucket = inner
    return bucket


def _walk(start: Bucket) -> Iterator[tuple[bytes, bytes | Bucket]]:
    """Everything in a bucket and those in it; as deep as the reader allows buckets to be."""
    stack = [start.items()]
    while stack:
        for key, value in stack[-1]:
            yield key, value
            if not isinstance(value, bytes):
                stack.append(value.items())
                break
        else:
            stack.pop()


def _hexed(start: Bucket) -> Iterator[tuple[str, bytes | Bucket]]:
    stack = [(f"{path}/" if (path := _hex(start.path)) else "", start.items())]
    while stack:
        prefix, items = stack[-1]
        for key, value in items:
            path = prefix + key.hex()
            yield path, value
            if not isinstance(value, bytes):
                stack.append((f"{path}/", value.items()))
                break
        else:
            stack.pop()


def _hex(path: tuple[bytes, ...]) -> str:
    return "/".join(name.hex() for name in path)


def _joined(path: tuple[bytes, ...]) -> str:
    return "/".join(shown(name).replace("/", r"\x2f") for name in path)


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

"""``drydock bolt salvage`` and ``trust``: a damaged bbolt file, and one rebuilt of what could be read of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.options import file_argument, format_option
from drydock.cli.output import print_json
from drydock.cli.progress import show_progress
from drydock.model.names import RawPath
from drydock.model.text import shown
from drydock.model.times import show_known, show_time
from drydock.streams import keep_going

if TYPE_CHECKING:
    from bbolt_reader.statements import Problem, Salvage, Statement
    from drydock.model.remnants import Rebuilt, Remnant

_DAMAGED = 2


@click.command()
@file_argument
@format_option("text", "json")
@click.option("--deleted", is_flag=True, help="Also list keys on pages that nothing links to any more.")
@click.option(
    "--rebuild", metavar="OUT", type=click.Path(path_type=bytes), help="Write a new database; OUT must not exist."
)
@click.option(
    "--from",
    "choice",
    type=click.Choice(("current", "previous", "all")),
    default="previous",
    show_default=True,
    help="What --rebuild puts in place of lost keys: nothing, keys of the older meta, or keys of any page.",
)
def salvage(file: RawPath, form: str, deleted: bool, rebuild: RawPath | None, choice: str) -> int:
    """Show what can still be read of a damaged FILE.

    FILE may have lost its metas, pages or its end. Each key is shown with its page and offset, and as current, as
    previous (only the older meta leads to it) or as deleted. The exit status is 2 if anything is wrong.
    """
    from drydock.salvage.database import open_salvage  # noqa: PLC0415 - the same
    from drydock.salvage.database import rebuild as write  # noqa: PLC0415 - the same
    from drydock.salvage.remnants import find_remnants  # noqa: PLC0415 - help must not load the reader

    if rebuild is not None:
        keep_going()
    with show_progress() as progress, open_salvage(file, progress) as (lock, found):
        if progress is not None:
            progress("putting records together" if rebuild is None else "writing the new database", 0)
        remnants = find_remnants(found.statements)
        rebuilt = None if rebuild is None else write(lock, found, rebuild, choice)
    if not deleted:
        remnants = [each for each in remnants if each.standing != "deleted"]
    statements = [each for each in found.statements if deleted or each.standing.value != "deleted"]
    if form == "json":
        print_json(_document(file, found, statements, remnants, rebuilt), sys.stdout)
    else:
        _print(found, statements, remnants, rebuilt)
    return _DAMAGED if any(_is_severe(problem) for problem in found.problems) or found.guessed_root else 0


@click.command()
@file_argument
def trust(file: RawPath) -> None:
    """Rely on FILE again after `salvage --rebuild` wrote it.

    Scans then treat data that FILE has no record of as garbage. Look through its records first, and take out what you
    want to keep.
    """
    from drydock.salvage.database import trust_rebuilt  # noqa: PLC0415 - help must not load the reader

    keep_going()
    click.echo("trusted" if trust_rebuilt(file) else "nothing to do: this file was not rebuilt")


def _is_severe(problem: Problem) -> bool:
    """Whether something that counts is concerned: bbolt goes on without the other meta, and without its tree."""
    return problem.standing.value == "current" and problem.code != "meta"


def _document(
    file: RawPath,
    found: Salvage,
    statements: Sequence[Statement],
    remnants: Sequence[Remnant],
    rebuilt: Rebuilt | None,
) -> dict[str, Any]:
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
    from drydock.model.records import Image, Lease  # noqa: PLC0415 - help must not load the model

    record = each.record
    row: dict[str, Any] = {
        "kind": record.ref.kind.value,
        "standing": each.standing,
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


def _print(
    found: Salvage,
    statements: Sequence[Statement],
    remnants: Sequence[Remnant],
    rebuilt: Rebuilt | None,
) -> None:
    write = sys.stdout.writelines
    write(
        f"{each.standing.value}\tpage {each.page} offset {each.offset:#x}\t{_name(each)}{_length(each)}\n"
        for each in statements
    )
    for each in remnants:
        record = each.record
        names = (shown(record.namespace) or "?", shown(each.name) or "?")
        write(("\t".join((f"{each.standing} {record.ref.kind.value}", *names, _about(each))), "\n"))
    write(
        f"problem: {one.code} page {one.page} offset {one.offset:#x}: {one.message}"
        f"{'' if one.standing.value == 'current' else ' (older meta)'}\n"
        for one in found.problems
    )
    write(
        f"lost: {_joined(hole.path) or 'the root bucket'}: keys from {shown(hole.low) or 'the first'}"
        f" to {'the last' if hole.high is None else shown(hole.high)}\n"
        for hole in found.holes
    )
    if found.guessed_root is not None:
        write((f"both metas are lost: page {found.guessed_root} was taken for the root\n",))
    write((", ".join(f"{count} {standing}" for standing, count in _counts(found).items()), "\n"))
    if rebuilt is not None:
        write(f"left out: {_joined(path)}: nothing of it can be read but its name\n" for path in rebuilt.left_out)
        used = ", ".join(f"{count} {standing}" for standing, count in rebuilt.used.items())
        write(
            (f"{shown(rebuilt.path)}: written, from {used}; a scan removes nothing there until `drydock bolt trust`\n",)
        )


def _counts(found: Salvage) -> dict[str, int]:
    counts: dict[str, int] = {"current": 0, "previous": 0, "deleted": 0}
    for each in found.statements:
        counts[each.standing.value] += 1
    return counts


def _name(each: Statement) -> str:
    start = "" if each.fragment is None else f"?{each.fragment}/"
    return start + _joined((*each.path, each.key))


def _length(each: Statement) -> str:
    return "/" if each.value is None else f"\t{len(each.value)} bytes"


def _joined(path: Sequence[bytes]) -> str:
    return "/".join(shown(name).replace("/", r"\x2f") for name in path)


def _about(each: Remnant) -> str:
    from drydock.model.records import Image, Lease  # noqa: PLC0415 - help must not load the model

    record, last = each.record, each.last
    when = "" if last is None else f", {show_time(last)}"
    if isinstance(record, Image):
        return (shown(record.target) or "target not known") + when
    if isinstance(record, Lease):
        return f"{len(record.blobs)} blobs, {len(record.snapshots)} snapshots, {len(record.ingests)} ingests{when}"
    return f"image {shown(record.image) or '?'}{when}"

"""``drydock bolt``: what a bbolt file holds, and whether it is sound."""

from __future__ import annotations

import shutil
import sys

import click

from drydock import commands, report
from drydock.cli.options import Group, absolute_path, file_argument, format_option
from drydock.cli.output import confirm, print_json
from drydock.cli.progress import show_progress
from drydock.model.errors import Usage
from drydock.model.names import RawPath
from drydock.model.text import shown, unshown
from drydock.streams import keep_going

_DAMAGED = 2

_names = click.argument(
    "names", metavar="[NAME]...", nargs=-1, callback=lambda _, __, words: tuple(map(unshown, words))
)
_format = format_option("text", "json")


@click.group(
    cls=Group,
    examples={
        "Check every page of a database": "drydock bolt check meta.db",
        "List the keys of a bucket": "drydock bolt keys meta.db v1 moby images",
        "Show what a damaged database still has": "drydock bolt salvage meta.db",
    },
)
def bolt() -> None:
    """Read a bbolt file, such as meta.db or metadata.db, that no engine has open.

    Names that are not plain text are printed with escapes. You can type them that way.
    """


@bolt.command(
    examples={
        "Show which meta of a database counts": "drydock bolt info meta.db",
        "The same for a program": "drydock bolt info meta.db --format json",
    },
)
@file_argument
@_format
def info(file: RawPath, form: str) -> None:
    """Print the page size of FILE, both metas, and which one counts."""
    with commands.bolt.declared(file) as database:
        if form == "json":
            print_json(report.bolt.info_document(file, database), sys.stdout)
        else:
            sys.stdout.writelines(f"{line}\n" for line in report.bolt.info_lines(database))


@bolt.command(
    examples={
        "Check every page of a database": "drydock bolt check meta.db",
        "The same for a program": "drydock bolt check meta.db --format json",
    },
)
@file_argument
@_format
def check(file: RawPath, form: str) -> int:
    """Check every page and entry of FILE.

    Exit status: 0 sound, 2 damage, 8 FILE could not be read.
    """
    with show_progress() as progress:
        damages = commands.bolt.check(file, progress)
    if form == "json":
        print_json(report.bolt.check_document(file, damages), sys.stdout)
    else:
        sys.stdout.writelines(f"{line}\n" for line in report.bolt.check_lines(file, damages))
    return _DAMAGED if any(damage.severe for damage in damages) else 0


@bolt.command(
    examples={
        "List the buckets of the root": "drydock bolt buckets meta.db",
        "List the buckets of a namespace": "drydock bolt buckets meta.db v1 moby",
    },
)
@file_argument
@_names
def buckets(file: RawPath, names: tuple[bytes, ...]) -> None:
    r"""List the buckets of FILE, with sequence and root page.

    With NAME..., only the buckets in that bucket are listed. A slash in a name is printed as \x2f.
    """
    with commands.bolt.opened(file) as database:
        found = commands.bolt.buckets_in(commands.bolt.find_bucket(database, names))
        sys.stdout.writelines(f"{report.bolt.bucket_line(bucket)}\n" for bucket in found)


@bolt.command(
    examples={
        "List the images of a namespace": "drydock bolt keys meta.db v1 moby images",
        "List its leases": "drydock bolt keys meta.db v1 moby leases",
    },
)
@file_argument
@_names
def keys(file: RawPath, names: tuple[bytes, ...]) -> None:
    """List the keys of the bucket NAME..., or of the root bucket.

    A key that ends in a slash is a bucket.
    """
    with commands.bolt.opened(file) as database:
        items = commands.bolt.find_bucket(database, names).items()
        sys.stdout.writelines(f"{report.bolt.key_line(key, value)}\n" for key, value in items)


@bolt.command(
    examples={
        "Print the version of the schema": "drydock bolt get meta.db v1 version --format hex",
        "Print when a lease was made": "drydock bolt get meta.db v1 moby leases LEASE createdat",
    },
)
@file_argument
@click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, callback=lambda _, __, words: tuple(map(unshown, words))
)
@format_option("text", "hex", "raw")
def get(file: RawPath, names: tuple[bytes, ...], form: str) -> None:
    """Print one value.

    NAME... are the buckets that lead to the value, from the root, and its key.
    """
    with commands.bolt.opened(file) as database:
        value = commands.bolt.find_value(database, names)
    if form == "raw":
        sys.stdout.flush()
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
    else:
        click.echo(value.hex() if form == "hex" else shown(value))


@bolt.command(
    short_help="Print all keys and values in hexadecimal.",
    examples={
        "Print all keys and values": "drydock bolt dump meta.db",
        "Print those of one namespace": "drydock bolt dump meta.db v1 moby",
    },
)
@file_argument
@_names
def dump(file: RawPath, names: tuple[bytes, ...]) -> None:
    """Print all sequences, keys and values in hexadecimal, one in each line.

    The lines are in the order of the keys, so that diff can compare two files.
    """
    with commands.bolt.opened(file) as database:
        start = commands.bolt.find_bucket(database, names)
        sys.stdout.writelines(f"{line}\n" for line in report.bolt.dump_lines(start))


@bolt.command(
    examples={
        "List all pages": "drydock bolt pages meta.db",
        "Show every field of one page": "drydock bolt pages meta.db --page 3",
    },
)
@file_argument
@_format
@click.option("--page", type=click.IntRange(min=0), metavar="N", help="Show every field of page N, with its offset.")
def pages(file: RawPath, form: str, page: int | None) -> None:
    """List the pages of FILE, or show every field of one page.

    Pages are listed by position, as their headers describe them. This also works where no meta is valid. A page that
    is free may hold anything; `drydock bolt check` tells whether the file is damaged.
    """
    if page is not None:
        dissected = commands.bolt.dissect_page(file, page)
        if form == "json":
            print_json(report.bolt.page_document(file, dissected), sys.stdout)
        else:
            columns = shutil.get_terminal_size().columns
            sys.stdout.writelines(f"{line}\n" for line in report.bolt.page_lines(dissected, columns))
        return
    listed = commands.bolt.list_pages(file)
    if form == "json":
        print_json(report.bolt.pages_document(file, listed), sys.stdout)
    else:
        sys.stdout.writelines(f"{report.bolt.listed_page_line(each)}\n" for each in listed)


@bolt.command(
    examples={
        "Show what a damaged database still has": "drydock bolt salvage meta.db",
        "Show deleted keys too": "drydock bolt salvage meta.db --deleted",
        "Write what can be read to a new database": "drydock bolt salvage meta.db --rebuild new.db",
    },
)
@file_argument
@_format
@click.option("--deleted", is_flag=True, help="Also list keys on pages that nothing links to any more.")
@click.option(
    "--rebuild", metavar="OUT", type=click.Path(path_type=bytes), help="Write a new database. OUT must not exist."
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

    FILE may have lost its metas, some pages, or its end. Each key is shown with its page and offset, and as current, as
    previous (only the older meta leads to it) or as deleted.

    Exit status: 0 sound, 2 damage, 8 nothing can be read.
    """
    if rebuild is not None:
        keep_going()
    with show_progress() as progress:
        salvaged = commands.bolt.salvage(file, rebuild, choice, progress)
    found, remnants, rebuilt = salvaged
    if not deleted:
        remnants = [each for each in remnants if each.standing.value != "deleted"]
    statements = [each for each in found.statements if deleted or each.standing.value != "deleted"]
    if form == "json":
        print_json(report.bolt.salvage_document(file, found, statements, remnants, rebuilt), sys.stdout)
    else:
        lines = report.bolt.salvage_lines(found, statements, remnants, rebuilt)
        sys.stdout.writelines(f"{line}\n" for line in lines)
    return _DAMAGED if salvaged.is_damaged else 0


@bolt.command(
    short_help="Let clean rely on a rebuilt FILE.",
    examples={
        "Look through the records of a rebuilt database": "drydock bolt dump meta.db",
        "Then let clean rely on it": "drydock bolt trust meta.db",
    },
)
@file_argument
def trust(file: RawPath) -> None:
    """Let clean remove data by the records of FILE again, after `salvage --rebuild` wrote it.

    drydock removes nothing on the strength of a rebuilt database, because its lost records may have named data. After
    trust, data that FILE has no record of counts as garbage. Before that, look through the records, and take out what
    you want to keep.
    """
    keep_going()
    click.echo("trusted" if commands.bolt.trust(file) else "nothing to do: this file was not rebuilt")


@bolt.command(
    short_help="Make FILE shorter, in place.",
    examples={
        "Show how much of a database is free": "drydock bolt compact meta.db",
        "Give that back to the file system": "drydock bolt compact --apply meta.db",
    },
)
@file_argument
@click.option("--apply", "do", is_flag=True, help="Compact FILE, after asking.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--state",
    metavar="DIR",
    callback=absolute_path,
    help="Also look in DIR for runs that changed FILE and can still be undone.",
)
def compact(file: RawPath, do: bool, yes: bool, state: RawPath | None) -> None:
    """Show how much of FILE is free pages. With --apply, give them back to the file system.

    bbolt never shortens a file. Compact moves pages from the end of FILE to free places, and cuts the end off. The
    contents stay the same, and so does the inode. If compact is killed, FILE is whole, and at most as long as before.

    This cannot be undone, and no earlier run that changed FILE can be undone afterwards: compact refuses while one can.

    Exit status: 0 done or nothing to do, 4 FILE is damaged or cannot be written, 8 there is no such file, 32 an engine
    has FILE open, or a run that changed it can still be undone.
    """
    if yes and not do:
        raise Usage("--yes needs --apply")
    if yes:
        keep_going()

    def agree(found: commands.bolt.Compacted) -> bool:
        click.echo(report.bolt.use_line(file, found.size, found.used))
        return do and confirm(yes=yes)

    with show_progress() as progress:
        done = commands.bolt.compact(
            file, agree=progress.cleared(agree) if progress else agree, state=state, progress=progress
        )
    if done.after is not None:
        click.echo(report.bolt.compacted_line(done.size, done.after, done.freed))
    elif done.used >= done.size:
        click.echo("nothing to do: no page of it is free")
    elif not do:
        click.echo("Nothing was changed. With --apply, compact makes it shorter; this cannot be undone.")

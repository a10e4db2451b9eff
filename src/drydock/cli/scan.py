"""``drydock scan``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

import click

from drydock.cli.live import live_option, offer_live
from drydock.cli.options import absolute_path, now_option, where_argument
from drydock.cli.output import (
    Plain,
    console,
    no_storage,
    open_binary,
    open_output,
    print_json,
    status_of,
    use_utf8,
    warn_unread,
)
from drydock.cli.progress import show_progress
from drydock.commands.scan import scan as run
from drydock.model.names import RawPath, UnixNano
from drydock.model.policies import BlobCheck, SizeSource
from drydock.model.text import shown
from drydock.session import Access

if TYPE_CHECKING:
    from drydock.model.scans import Scan


@click.command()
@where_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "tree", "json", "jsonl", "csv", "markdown", "html", "prometheus", "parquet")),
    default="table",
    show_default=True,
)
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")
@click.option(
    "--depth", type=click.IntRange(0), default=3, show_default=True, help="With --format tree: levels below a root."
)
@click.option(
    "--top", type=click.IntRange(1), default=8, show_default=True, help="With --format tree: lines of each level."
)
@click.option("--holders", is_flag=True, help="With json and jsonl: add what each image, container and lease holds.")
@click.option(
    "--verify",
    type=click.Choice([each.value for each in BlobCheck]),
    default="size",
    show_default=True,
    help="How blobs are compared with their records; digest reads every byte.",
)
@click.option(
    "--measure",
    type=click.Choice([each.value for each in SizeSource]),
    default="recorded",
    show_default=True,
    help="Sizes of committed snapshots: as containerd recorded them, or by walking every directory.",
)
@click.option("--state", metavar="DIR", callback=absolute_path, help="Also look in DIR for runs that were interrupted.")
@live_option
@click.option("--host", metavar="NAME", help="Name of this host in documents. [default: its own]")
@now_option
@click.pass_context
def scan(
    ctx: click.Context,
    *,
    where: RawPath | None,
    form: str,
    output: str | None,
    depth: int,
    top: int,
    holders: bool,
    verify: str,
    measure: str,
    state: RawPath | None,
    live: bool,
    host: str | None,
    now: UnixNano,
) -> None:
    """Show what a store holds, by state, with bytes.

    Scan changes nothing. It needs the engine stopped, because it takes shared locks on the databases; with --live it
    looks beside a running engine. Exit status: 0, 1 something can be freed now, 2 damage, 8 something could not be
    read; they add up.
    """
    named = holders or form in ("tree", "markdown", "html", "prometheus", "parquet")
    began = time.monotonic()
    with show_progress() as progress, offer_live():
        scans = run(
            where,
            Access(
                now=now,
                measure=SizeSource(measure),
                verification=BlobCheck(verify),
                state=state,
                live=live,
                progress=progress,
            ),
            inventory=named,
        )
        if progress is not None:
            progress.pause_for_output(output, "writing the report")
        name = shown(os.fsencode(os.uname().nodename if host is None else host))
        if form == "parquet":
            _write_parquet(scans, now, name, output)
        else:
            with open_output(output) as file:
                if form == "table" and scans:
                    from drydock.report.table import print_scans  # noqa: PLC0415 - only what is asked for is loaded

                    print_scans(scans, console(file), where)
                elif form == "tree" and scans:
                    _print_tree(scans, file, depth, top)
                elif form in ("table", "tree"):
                    print(no_storage(where), file=file)
                elif form == "prometheus":
                    from drydock.report.prometheus import metric_lines  # noqa: PLC0415 - only what is asked for

                    use_utf8(file)
                    file.writelines(line + "\n" for line in metric_lines(scans, now, time.monotonic() - began))
                elif form in ("json", "jsonl"):
                    _print_document(scans, now, name, file, lines=form == "jsonl")
                else:
                    if form != "markdown":
                        use_utf8(file)
                    file.writelines(_text(form, scans, now, where))
    warn_unread(scans)
    ctx.exit(status_of(scans))


def _write_parquet(scans: list[Scan], now: UnixNano, name: str, output: str | None) -> None:
    from drydock.report.document import scan_lines  # noqa: PLC0415 - only what is asked for is loaded
    from drydock.report.parquet import line_rows, write_parquet  # noqa: PLC0415 - the same

    with open_binary(output) as raw:
        write_parquet(line_rows(scan_lines(scans, now, name)), raw)


def _print_document(scans: list[Scan], now: UnixNano, name: str, file: TextIO, *, lines: bool) -> None:
    from drydock.report.document import scan_document, scan_lines  # noqa: PLC0415 - only what is asked for is loaded

    if lines:
        use_utf8(file)
        file.writelines(line.text() for line in scan_lines(scans, now, name))
    else:
        print_json(scan_document(scans, now, name), file)


def _text(form: str, scans: list[Scan], now: UnixNano, where: RawPath | None) -> Iterable[str]:
    # Only what is asked for is loaded: a page brings a template engine with it.
    if form == "csv":
        from drydock.report.csv import csv_lines  # noqa: PLC0415 - see above

        return csv_lines(scans)
    if form == "markdown":
        from drydock.report.markdown import markdown_lines  # noqa: PLC0415 - see above

        return (line + "\n" for line in markdown_lines(scans, now, where))
    from drydock.report.page import render_page  # noqa: PLC0415 - see above

    return (render_page(scans, now, where),)


def _print_tree(scans: list[Scan], file: TextIO, depth: int, top: int) -> None:
    from drydock.report.tree import tree_lines  # noqa: PLC0415 - only what is asked for is loaded

    blocks = (getattr(file, "encoding", None) or "").lower().startswith("utf")
    printer = console(file)
    if isinstance(printer, Plain):
        for line in tree_lines(scans, depth=depth, top=top, width=None, blocks=blocks):
            print("".join(span.text for span in line).rstrip(), file=file)
        return
    from rich.text import Text  # noqa: PLC0415 - only a terminal pays for rich

    for line in tree_lines(scans, depth=depth, top=top, width=printer.width, blocks=blocks):
        printer.print(Text.assemble(*line), no_wrap=True, crop=False)

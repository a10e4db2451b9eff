"""``drydock scan``."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TextIO

import click

from drydock import commands, report
from drydock.cli.options import (
    Command,
    absolute_path,
    format_option,
    live_option,
    now_option,
    output_option,
    span,
    where_argument,
)
from drydock.cli.output import (
    PlainPrinter,
    no_storage,
    offer_live,
    open_binary,
    open_output,
    print_json,
    printer,
    status_of,
    use_utf8,
    warn_unread,
)
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.errors import DrydockError, Usage
from drydock.model.names import RawPath, UnixNano
from drydock.model.policies import BlobCheck, SizeSource
from drydock.model.text import shown

if TYPE_CHECKING:
    from drydock.model.scans import Scan


@click.command(
    cls=Command,
    examples={
        "See what fills the disk, beside a running engine": "drydock scan --live --measure disk",
        "Write one HTML page about a mounted disk": "drydock scan --format html -o report.html /mnt",
        "Show a tree with up to 20 lines on each level": "drydock scan --format tree --top 20",
        "Write metrics for node_exporter": "drydock scan --live --format prometheus -o drydock.prom",
    },
)
@where_argument
@format_option("table", "tree", "json", "jsonl", "csv", "markdown", "html", "prometheus", "parquet")
@output_option
@click.option(
    "--depth",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="With --format tree: show this many levels below a root.",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="With --format tree: show this many lines of each level.",
)
@click.option(
    "--holders", is_flag=True, help="With --format json or jsonl: add what each image, container and lease holds."
)
@click.option(
    "--verify",
    type=click.Choice([each.value for each in BlobCheck]),
    default="size",
    show_default=True,
    help="How to compare blobs with their records. digest reads every byte.",
)
@click.option(
    "--measure",
    type=click.Choice([each.value for each in SizeSource]),
    default="recorded",
    show_default=True,
    help="Where to take the sizes of committed snapshots from: containerd's records, or every directory on disk. disk "
    "also measures the rest of a Docker data root.",
)
@click.option("--state", metavar="DIR", callback=absolute_path, help="Also look in DIR for interrupted runs.")
@live_option
@click.option("--host", metavar="NAME", help="Name of this host in documents. [default: its host name]")
@now_option
@click.option(
    "--every",
    metavar="SPAN",
    callback=span,
    help="With --live and -o: scan again each time this long has passed (15min, 1d), until SIGTERM or Ctrl-C.",
)
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
    every: int | None,
) -> None:
    """Show what fills the disk, and what a store holds, by state, with sizes.

    Scan changes nothing. It takes shared locks on the databases, so the engine must be stopped. With --live, it looks
    beside a running engine and takes no lock.

    Exit status: 0 nothing to report, 1 something can be freed now, 2 damage, 8 something could not be read. If several
    apply, the status is their sum.
    """
    named = holders or form in ("tree", "markdown", "html", "prometheus", "parquet")

    def once(now: UnixNano) -> int:
        began = time.monotonic()
        with show_progress() as progress, offer_live():
            access = Access(
                live=live,
                now=now,
                measure=SizeSource(measure),
                verification=BlobCheck(verify),
                state=state,
                progress=progress,
            )
            scans = commands.scan.scan(where, access, inventory=named, steps=form == "html")
            if progress is not None:
                progress.pause_for_output(output, "writing the report")
            name = shown(os.fsencode(os.uname().nodename if host is None else host))
            if form == "parquet":
                with open_binary(output) as raw:
                    lines = report.document.scan_lines(scans, now, name)
                    report.parquet.write_parquet(report.rows.line_rows(lines), raw)
            else:
                with open_output(output) as file:
                    if form in ("table", "tree") and not scans:
                        print(no_storage(where), file=file)
                    elif form == "table":
                        report.table.print_scans(scans, printer(file), where)
                    elif form == "tree":
                        _print_tree(scans, file, depth, top)
                    elif form == "markdown":
                        file.writelines(f"{line}\n" for line in report.markdown.markdown_lines(scans, now, where))
                    elif form == "json":
                        print_json(report.document.scan_document(scans, now, name), file)
                    else:
                        use_utf8(file)
                        if form == "jsonl":
                            file.writelines(line.text() for line in report.document.scan_lines(scans, now, name))
                        elif form == "csv":
                            file.writelines(report.csv.csv_lines(scans))
                        elif form == "prometheus":
                            seconds = time.monotonic() - began
                            file.writelines(f"{line}\n" for line in report.prometheus.metric_lines(scans, now, seconds))
                        else:
                            file.write(report.page.render_page(scans, now, where, name))
        warn_unread(scans)
        return status_of(scans)

    if every is None:
        ctx.exit(once(now))
    if not live or output in (None, "-"):
        raise Usage("--every needs --live and -o FILE")
    if every == 0 or ctx.get_parameter_source("now") is not click.core.ParameterSource.DEFAULT:
        raise Usage("--every needs a length of time above 0, and the clock instead of --now")
    _repeat(once, every / 1e9)


def _repeat(once: Callable[[UnixNano], int], seconds: float) -> NoReturn:
    """Scan, wait, and so on. A scan that fails leaves the file of the one before; stderr has the reason."""
    interrupt = signal.getsignal(signal.SIGINT)
    if callable(interrupt):
        # Without a handler, process 1 of a container ignores SIGTERM.
        signal.signal(signal.SIGTERM, interrupt)
    while True:
        began = time.monotonic()
        try:
            once(UnixNano(time.time_ns()))
        except DrydockError as error:
            click.echo(f"drydock: {error}", err=True)
        time.sleep(max(0.0, began + seconds - time.monotonic()))


def _print_tree(scans: list[Scan], file: TextIO, depth: int, top: int) -> None:
    blocks = (getattr(file, "encoding", None) or "").lower().startswith("utf")
    on = printer(file)
    width = None if isinstance(on, PlainPrinter) else on.width
    for line in report.tree.tree_lines(scans, depth=depth, top=top, width=width, blocks=blocks):
        on.print_spans(line)

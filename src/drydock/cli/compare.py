"""``drydock compare``."""

from __future__ import annotations

import os

import click

from drydock import report
from drydock.cli.options import Command, format_option, output_option
from drydock.cli.output import open_output, print_json, use_utf8


@click.command(
    cls=Command,
    examples={
        "Write a scan": "drydock scan --live --holders --measure disk --format json -o monday.json",
        "A day later, write another": "drydock scan --live --holders --measure disk --format json -o tuesday.json",
        "Show what changed": "drydock compare monday.json tuesday.json",
        "Write that as one HTML page": "drydock compare --format html -o change.html monday.json tuesday.json",
    },
)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@format_option("table", "json", "html")
@output_option
@click.option("--top", type=click.IntRange(1), default=15, show_default=True, help="Changes of each kind in the table.")
def compare(*, old: str, new: str, form: str, output: str | None, top: int) -> None:
    """Show what changed between two scans of a host: what came, what went, and what grew.

    OLD and NEW are files that scan wrote with --format json or jsonl. With --holders, images and containers are
    compared too; with --measure disk, volumes, logs and everything else of a Docker data root.

    Exit status: 0 the scans were compared, 8 a file is not a scan.
    """
    found = report.comparison.compare_scans(*(report.scan_files.read_scan(os.fsencode(each)) for each in (old, new)))
    with open_output(output) as file:
        if form == "json":
            print_json(found, file)
        elif form == "html":
            use_utf8(file)
            file.write(report.comparison_page.render_comparison(found))
        else:
            file.writelines(f"{line}\n" for line in report.comparison.comparison_lines(found, top))

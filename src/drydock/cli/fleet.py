"""``drydock fleet``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import click

from drydock import report
from drydock.cli.options import Command, format_option, output_option
from drydock.cli.output import open_output, print_json, use_utf8
from drydock.cli.progress import show_progress
from drydock.model.errors import EvidenceUnreadable, Usage

if TYPE_CHECKING:
    from drydock.report.fleet.database import Answer


@click.command(
    cls=Command,
    examples={
        "Summarize the reports in a folder": "drydock fleet reports/",
        "Write one HTML page about them": "drydock fleet --format html -o fleet.html reports/",
        "Show what changed on each host since its first report": "drydock fleet --over-time reports/",
        "Ask a question of your own": 'drydock fleet --sql "SELECT host, id FROM leases" reports/',
    },
)
@click.argument("reports", metavar="REPORT...", nargs=-1)
@format_option("table", "json", "html")
@output_option
@click.option("--sql", metavar="QUERY", help="Run QUERY instead; docs/fleet.md describes the tables.")
@click.option("--over-time", is_flag=True, help="Show what changed on each host from its first report to its last.")
@click.option("--top", type=click.IntRange(1), default=15, show_default=True, help="Rows of each answer.")
@click.option("--statements", is_flag=True, help="Print the SQL of all questions, for Spark, and run nothing.")
@click.pass_context
def fleet(
    ctx: click.Context,
    *,
    reports: tuple[str, ...],
    form: str,
    output: str | None,
    sql: str | None,
    over_time: bool,
    top: int,
    statements: bool,
) -> None:
    """Summarize the scans of many hosts: totals, the worst hosts, and images, layers and leases over all hosts.

    REPORT is a file that scan wrote with --format json, jsonl or parquet, or a folder of such files. If several reports
    are about the same root, the newest one counts. With --over-time, the first and the last report of each host are
    compared: what came, what went and what grew, by host, file system, category, image and container.

    Exit status: 0 all reports were read, 8 a file is not a report.
    """
    if statements:
        with open_output(output) as file:
            file.writelines(line + "\n" for line in report.fleet_sql.script_lines(top))
        return
    if not reports:
        raise Usage("name a REPORT, or a folder of reports")
    if over_time and sql is not None:
        raise Usage("--sql and --over-time exclude each other")
    refused: dict[int, str] = {}
    found = report.fleet.reports.find_reports([os.fsencode(each) for each in reports])
    answers, facts = _compared(found, refused, top) if over_time else _asked(found, refused, sql, top)
    facts |= {"reports": len(found) - len(refused), "refused": len(refused)}
    for line in refused.values():
        click.echo(f"drydock: {line}; not counted", err=True)
    if len(refused) == len(found):
        raise EvidenceUnreadable("no report could be read")
    with open_output(output) as file:
        if form == "json":
            print_json(report.fleet.answers.answers_document(answers, facts), file)
        elif form == "html":
            use_utf8(file)
            file.write(report.fleet.answers.render_answers(answers, facts, top if sql is None else None))
        else:
            if sql is None:
                print(f"{report.fleet.answers.facts_line(facts)}\n", file=file)
            file.writelines(line + "\n" for line in report.fleet.answers.answer_lines(answers))
    ctx.exit(EvidenceUnreadable.exit_code if refused else 0)


def _asked(
    found: Sequence[bytes], refused: dict[int, str], sql: str | None, top: int
) -> tuple[list[Answer], dict[str, int]]:
    """The answers of the database, and how many hosts and objects they are about."""
    with (
        show_progress() as progress,
        closing(
            report.fleet.database.FleetDatabase(
                report.fleet.reports.report_tables(found, refused.__setitem__, progress)
            )
        ) as store,
    ):
        if progress is not None:
            progress("asking", 0)
        store.forget(refused)
        if len(refused) == len(found):
            return [], {}
        return store.ask_all(top) if sql is None else [store.ask(sql)], store.facts()


def _compared(found: Sequence[bytes], refused: dict[int, str], top: int) -> tuple[list[Answer], dict[str, int]]:
    """The answers over time, and how many hosts, and objects in the last report of each, they are about."""
    with show_progress() as progress:
        series = report.fleet.over_time.read_series(found, refused.__setitem__, progress)
    facts = {
        "hosts": len({each.last.host for each in series}),
        "objects": sum(len(root.objects) for each in series for root in each.last.roots),
    }
    return report.fleet.over_time.answers_over_time(series, top), facts

"""``drydock fleet``."""

from __future__ import annotations

import os
from contextlib import closing

import click

from drydock import report
from drydock.cli.options import Command, format_option, output_option
from drydock.cli.output import open_output, print_json, use_utf8
from drydock.cli.progress import show_progress
from drydock.model.errors import EvidenceUnreadable, Usage


@click.command(
    cls=Command,
    examples={
        "Summarize the reports in a folder": "drydock fleet reports/",
        "Write one HTML page about them": "drydock fleet --format html -o fleet.html reports/",
        "Ask a question of your own": 'drydock fleet --sql "SELECT host, id FROM leases" reports/',
    },
)
@click.argument("reports", metavar="REPORT...", nargs=-1)
@format_option("table", "json", "html")
@output_option
@click.option("--sql", metavar="QUERY", help="Run QUERY instead; docs/fleet.md describes the tables.")
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
    top: int,
    statements: bool,
) -> None:
    """Summarize the scans of many hosts: totals, the worst hosts, and images, layers and leases over all hosts.

    REPORT is a file that scan wrote with --format json, jsonl or parquet, or a folder of such files. If several reports
    are about the same root, the newest one counts.

    Exit status: 0 all reports were read, 8 a file is not a report.
    """
    if statements:
        with open_output(output) as file:
            file.writelines(line + "\n" for line in report.fleet_sql.script_lines(top))
        return
    if not reports:
        raise Usage("name a REPORT, or a folder of reports")
    refused: dict[int, str] = {}
    found = report.fleet.reports.find_reports([os.fsencode(each) for each in reports])
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
        if len(refused) < len(found):
            answers = store.ask_all(top) if sql is None else [store.ask(sql)]
            facts = {**store.facts(), "reports": len(found) - len(refused), "refused": len(refused)}
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

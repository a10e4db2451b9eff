"""Asking before something is changed, and telling what was."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

import click

from drydock.model.errors import ActionFailed, Usage
from drydock.model.runs import Run
from drydock.model.text import shown
from drydock.report.plan_text import run_lines
from drydock.streams import is_lost, keep_going, need


def confirm(*, yes: bool) -> bool:
    """Ask on a terminal; ``yes`` is the answer that ``--yes`` gives.

    Raises:
        Usage: there is nobody to ask.
        ActionFailed: what is asked about cannot be shown.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise Usage("--apply asks first, and stdin is no terminal: --yes answers")
    if is_lost():
        raise ActionFailed("nothing was done: what would be asked about cannot be shown")
    agreed = click.confirm("Do this?", default=False)
    if agreed:
        keep_going()
    return agreed


def print_runs(runs: Iterable[Run], file: TextIO | None = None) -> int:
    """Say what became of each root, on stdout or in ``file``.

    Returns:
        The exit status: 4 when something of a plan was not done, else 0.
    """
    code = 0
    for run in runs:
        for line in run_lines(run):
            click.echo(line, file=file)
        if run.journal is not None:
            need(f"journal: {shown(run.journal)}")
        if run.failed:
            code = ActionFailed.exit_code
    return code

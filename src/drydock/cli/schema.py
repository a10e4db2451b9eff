"""``drydock schema``."""

from __future__ import annotations

from importlib.resources import files

import click

from drydock.cli.options import Command

_NAMES = ("scan", "plan", "journal", "explain", "pulls", "ls", "diff", "verify", "repair", "runs", "compare", "fleet")


@click.command(
    cls=Command,
    examples={
        "Print the schema of scan --format json": "drydock schema scan",
        "Print the schema of one line of a journal": "drydock schema journal",
    },
)
@click.argument("name", type=click.Choice(_NAMES))
def schema(name: str) -> None:
    """Print the JSON Schema of a document that drydock writes.

    The schema of the journal describes one of its lines.
    """
    click.echo(files("drydock").joinpath(f"schemas/{name}.json").read_text(encoding="utf-8"), nl=False)

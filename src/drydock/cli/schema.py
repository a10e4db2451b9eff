"""``drydock schema``."""

from __future__ import annotations

from importlib.resources import files

import click

_NAMES = ("scan", "plan", "journal", "explain", "pulls", "ls", "diff", "verify", "repair", "runs", "fleet")


@click.command()
@click.argument(
    "name",
    type=click.Choice(
        ("scan", "plan", "journal", "explain", "pulls", "ls", "diff", "verify", "repair", "runs", "fleet")
    ),
)
def schema(name: str) -> None:
    """Print the JSON Schema of a document that drydock writes.

    The schema of the journal describes one of its lines.
    """
    click.echo(files("drydock").joinpath(f"schemas/{name}.json").read_text(encoding="utf-8"), nl=False)

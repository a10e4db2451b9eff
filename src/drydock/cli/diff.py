"""``drydock diff``."""

from __future__ import annotations

import os

import click

from drydock.cli.groups import Group
from drydock.cli.options import mount_option, namespace_option, where_argument
from drydock.cli.output import open_output, print_json
from drydock.cli.progress import show_progress
from drydock.commands.export import diff_container
from drydock.model.names import RawPath
from drydock.model.text import shown, unshown
from drydock.session import Access


@click.group(cls=Group)
def diff() -> None:
    """List what a container changed."""


@diff.command()
@click.argument("name")
@where_argument
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@namespace_option
@mount_option
@click.pass_context
def container(
    ctx: click.Context, *, name: str, where: RawPath | None, form: str, namespace: bytes | None, mount: bool
) -> None:
    """List what container NAME changed against its image: A added, C changed, D deleted, as docker diff does.

    NAME is as for export container. Exit status: 0, 2 a file could not be compared, 8 a layer is missing, 16 NAME means
    several containers, 32 an engine runs.
    """
    with show_progress() as progress:
        changes, damage = diff_container(
            unshown(os.fsdecode(name)), where, Access(timed=False, progress=progress), namespace=namespace, mount=mount
        )
    with open_output(None) as file:
        if form == "json":
            entries = [{"kind": change.kind.value, "path": shown(change.path)} for change in changes]
            print_json({"schema": "drydock.diff/1", "changes": entries, "damage": damage}, file)
        else:
            file.writelines(f"{change.kind.value} {shown(change.path)}\n" for change in changes)
    for line in damage:
        click.echo(f"drydock: {line}", err=True)
    ctx.exit(2 if damage else 0)

"""``drydock export``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from drydock import commands, report
from drydock.cli.options import (
    Group,
    absolute_path,
    mount_option,
    namespace_option,
    store_option,
    typed_name,
    where_argument,
)
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.exports import Exported
from drydock.model.names import RawPath
from drydock.model.store_modes import StoreMode
from drydock.streams import stop_when_lost

_F = TypeVar("_F", bound=Callable[..., Any])


@click.group(
    cls=Group,
    examples={
        "Write an image for docker load": "drydock export image nginx:latest -o nginx.tar",
        "Write a container's files of a mounted disk": "drydock export container web /mnt -o web.tar",
        "Write a volume": "drydock export volume pgdata -o pgdata.tar",
    },
)
def export() -> None:
    """Write an image, the files of a container, or a volume to an archive.

    The host must be stopped, or mounted (WHERE). FILE must not exist; it appears when it is complete. With -o -, the
    archive goes to stdout. The store is not changed.
    """


def _file(ctx: click.Context, parameter: click.Parameter, value: str) -> RawPath | None:
    if value != "-":
        return absolute_path(ctx, parameter, value)
    stop_when_lost()
    return None


def _output_option(function: _F) -> _F:
    return click.option(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        callback=_file,
        help="Write to FILE, which must not exist. - is stdout.",
    )(function)


@export.command(
    examples={
        "Write an image for docker load": "drydock export image nginx:latest -o nginx.tar",
        "Write an image that only the classic store has": "drydock export image app:1 --store classic -o app.tar",
        "Write only its arm64 platform": "drydock export image nginx:latest --platform linux/arm64 -o nginx.tar",
    },
    short_help="Write an image as an archive.",
)
@click.argument("name")
@where_argument
@_output_option
@click.option(
    "--platform", metavar="OS/ARCH", help="Export only this platform. [default: all platforms that are complete]"
)
@namespace_option
@store_option
@click.pass_context
def image(
    ctx: click.Context,
    *,
    name: str,
    where: RawPath | None,
    output: RawPath | None,
    platform: str | None,
    namespace: bytes | None,
    store: StoreMode | None,
) -> None:
    """Write image NAME as an archive for docker load, ctr images import and skopeo.

    NAME is a name, a digest, or the beginning of a digest. Every digest is verified. If a blob is missing or wrong,
    drydock names the blob and leaves no file. An image of Docker's classic store (overlay2) is found by its name or its
    id; docker load gives it the same id.

    Exit status: 0 written, 4 FILE cannot be written, 8 a blob is missing or wrong, 16 NAME means several images or is
    the id of an image, 32 an engine runs.
    """
    wanted = None if platform is None else os.fsencode(platform)
    with show_progress() as progress:
        done = commands.export.export_image(
            typed_name(name),
            where,
            Access(timed=False, progress=progress),
            output=output,
            platform=wanted,
            namespace=namespace,
            only=store,
        )
    _end(ctx, done, "blobs")


@export.command(
    examples={
        "Write the files of a container": "drydock export container web -o web.tar",
        "Write them from a mounted disk": "drydock export container web /mnt -o web.tar",
    },
)
@click.argument("name")
@where_argument
@_output_option
@namespace_option
@mount_option
@click.pass_context
def container(
    ctx: click.Context,
    *,
    name: str,
    where: RawPath | None,
    output: RawPath | None,
    namespace: bytes | None,
    mount: bool,
) -> None:
    """Write the files of container NAME as a tar archive.

    The archive has what a mount of the container's layers would show. NAME is a container's name, its id or the
    beginning of its id, or the key of any snapshot. Volumes and other mounts are not in the archive; drydock names
    them. Unpack the archive as root: tar --xattrs --xattrs-include='*' -xpf FILE.

    Exit status: 0 written, 2 a file could not be read, 4 FILE cannot be written, 8 a layer is missing, 16 NAME means
    several containers, 32 an engine runs.
    """
    with show_progress() as progress:
        done = commands.export.export_container(
            typed_name(name),
            where,
            Access(timed=False, progress=progress),
            output=output,
            namespace=namespace,
            mount=mount,
        )
    _end(ctx, done, "entries")


@export.command(
    examples={
        "Write a volume": "drydock export volume pgdata -o pgdata.tar",
        "Write it from a mounted disk": "drydock export volume pgdata /mnt -o pgdata.tar",
    },
)
@click.argument("name")
@where_argument
@_output_option
@click.pass_context
def volume(ctx: click.Context, *, name: str, where: RawPath | None, output: RawPath | None) -> None:
    """Write what is in volume NAME of Docker as a tar archive.

    NAME is the volume's name; of an anonymous volume the beginning is enough. drydock ls volumes lists them. A volume
    whose data is elsewhere (NFS, CIFS, a device, a plugin) is refused. Mounts below a volume are not entered. Unpack
    the archive as root: tar --xattrs --xattrs-include='*' -xpf FILE.

    Exit status: 0 written, 2 a file could not be read, 4 FILE cannot be written, 8 there is no such volume or its data
    is elsewhere, 16 several data roots have such a volume, 32 an engine runs.
    """
    with show_progress() as progress:
        access = Access(timed=False, progress=progress)
        done = commands.export.export_volume(typed_name(name), where, access, output=output)
    _end(ctx, done, "entries")


def _end(ctx: click.Context, done: Exported, unit: str) -> None:
    for line in report.listing.export_problems(done):
        click.echo(f"drydock: {line}", err=True)
    click.echo(report.listing.export_line(done, unit), err=True)
    ctx.exit(done.exit_code())

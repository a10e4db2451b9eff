"""Arguments, options and groups that several commands share, and how words become values."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from drydock.model.drops import FILTERED, Drop, LabelFilter, parse_drop, parse_filter
from drydock.model.errors import Usage
from drydock.model.names import RawPath, UnixNano
from drydock.model.policies import EndLeases, Policy, VerifyOptions
from drydock.model.store_modes import StoreMode
from drydock.model.text import did_you_mean, unshown
from drydock.model.times import parse_time

_F = TypeVar("_F", bound=Callable[..., Any])
_SPAN = re.compile(r"([0-9]{1,9})(s|min|m|h|d)")
"""Nine digits of days are more than any clock counts; Python refuses to read thousands of them."""
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"([0-9]{1,15})(?:([KMGT])(B|IB)?)?")
_CONTENT = "--unpacked=content"


class Command(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *args: Any, examples: Mapping[str, str], **named: Any) -> None:  # noqa: ANN401 - click's own
        """Make a command.

        Args:
            args: as for click's command.
            examples: commands by what they do.
            named: as for click's command.
        """
        super().__init__(*args, **named)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then the epilog."""
        _write_examples(self.examples, formatter)
        super().format_epilog(ctx, formatter)


def _write_examples(examples: Mapping[str, str], formatter: click.HelpFormatter) -> None:
    with formatter.section("Examples"):
        for what, command in examples.items():
            formatter.write_text(f"{what}:")
            with formatter.indentation():
                # Never wrapped: it is to be copied.
                formatter.write(f"{'':{formatter.current_indent}}{command}\n")


class Group(Command, click.Group):
    """A group that names the commands which are like a word that is none, and whose help ends with examples."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names.

        Raises:
            click.UsageError: there is none.
        """
        word = args[0]
        if not word.startswith("-") and self.get_command(ctx, word) is None:
            raise click.UsageError(f"No such command {word!r}{did_you_mean(word, self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)


class VerifyCommand(Command):
    """A command with ``--unpacked`` and ``--unpacked=content``.

    Click knows options whose value can be left out, but then takes the argument that follows for the value.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of a call."""
        end = args.index("--") if "--" in args else len(args)
        words = ["--unpacked-content" if word == _CONTENT else word for word in args[:end]]
        return super().parse_args(ctx, words + args[end:])


def where_argument(function: _F) -> _F:
    """The optional argument WHERE, as bytes."""
    return click.argument("where", required=False, callback=_path)(function)


def file_argument(function: _F) -> _F:
    """The argument FILE, as bytes. A symbolic link that the user names is followed: its target is locked."""
    return click.argument("file", type=click.Path(path_type=bytes), callback=_followed)(function)


def format_option(*forms: str) -> Callable[[_F], _F]:
    """The option ``--format`` with these choices; the first is the default."""
    return click.option(
        "--format", "form", type=click.Choice(forms), default=forms[0], show_default=True, help="Format of the output."
    )


def output_option(function: _F) -> _F:
    """The option ``--output``: a file that is created or replaced."""
    return click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of stdout.")(function)


def now_option(function: _F) -> _F:
    """The option ``--now``, as nanoseconds; the clock without it."""
    return click.option(
        "--now",
        metavar="TIME",
        callback=_time,
        help="Judge ages and expiries as of TIME (RFC 3339) instead of now.",
    )(function)


def live_option(function: _F) -> _F:
    """The option ``--live``."""
    return click.option(
        "--live",
        is_flag=True,
        help="Look beside a running engine: take no lock, read copies of the databases, and leave out what comes or "
        "goes meanwhile.",
    )(function)


def state_options(function: _F) -> _F:
    """The options ``--state`` and ``--quarantine``, as absolute bytes."""
    for option in (
        click.option(
            "--quarantine",
            metavar="DIR",
            callback=absolute_path,
            help="Move things to DIR instead of deleting them. DIR must be on the same file system, and not in an "
            "engine's folder.",
        ),
        click.option(
            "--state",
            metavar="DIR",
            callback=absolute_path,
            help="Write the journal and the backups to DIR, which must not be in an engine's folder. "
            "[default: /var/lib/drydock, or a tmpfs if that is full]",
        ),
    ):
        function = option(function)
    return function


def namespace_option(function: _F) -> _F:
    """The option ``--namespace``, as bytes."""
    return click.option(
        "-n",
        "--namespace",
        callback=lambda _, __, value: None if value is None else os.fsencode(value),
        help="Look in this containerd namespace only.",
    )(function)


def store_option(function: _F) -> _F:
    """The option ``--store``, as a :class:`StoreMode` or None."""
    return click.option(
        "--store",
        type=click.Choice([each.value for each in StoreMode]),
        callback=lambda _, __, value: None if value is None else StoreMode(value),
        help="Which of Docker's two stores: classic (overlay2) or image-store (containerd). [default: both]",
    )(function)


def mount_option(function: _F) -> _F:
    """The option ``--mount``."""
    return click.option(
        "--mount",
        is_flag=True,
        help="Let the kernel read layers that are images (erofs): it mounts them read-only, where no other process "
        "sees them. Without this option, drydock reads them itself. An image may come from a registry byte for byte: "
        "use --mount only for images that you trust. Needs root.",
    )(function)


def drops(_: click.Context, __: click.Parameter, words: tuple[str, ...]) -> tuple[Drop, ...]:
    """The values of ``--drop``; a comma separates several."""
    return tuple(parse_drop(typed_name(word)) for each in words for word in each.split(","))


def label_filters(_: click.Context, __: click.Parameter, words: tuple[str, ...]) -> tuple[LabelFilter, ...]:
    """The values of ``--filter``."""
    return tuple(parse_filter(typed_name(word)) for word in words)


def policy_options(function: _F) -> _F:
    """The options that make a policy; :func:`make_policy` takes their values."""
    for option in (
        click.option(
            "--truncate-logs",
            metavar="SIZE",
            callback=size,
            help="Also cut the log of each Docker container to its newest SIZE: 500K, 10M, 1G, or 0. A log of the "
            "driver json-file is cut after a line. Of the driver local, older files go whole, and the current file "
            "stays whole or is emptied. Without this option, no log is cut.",
        ),
        click.option("--no-edit", is_flag=True, help="Edit no database: remove only data that no record names."),
        click.option(
            "--keep",
            metavar="OBJECT",
            multiple=True,
            help="Keep OBJECT and all that it refers to. A lease that is kept does not end.",
        ),
        click.option(
            "--end-lease",
            metavar="ID",
            multiple=True,
            help="Also end the lease ID (or NAMESPACE/ID), unless its owner exists.",
        ),
        click.option(
            "--older-than",
            metavar="SPAN",
            callback=span,
            help="End only those temporary and ownerless leases that are at least this old: 90min, 1h, 2d.",
        ),
        click.option(
            "--accept-loss",
            metavar="NAME",
            multiple=True,
            help="Let --drop remove the image NAME although no registry is known to have it, or the container NAME "
            "with what it wrote; all: every such image and container.",
        ),
        click.option(
            "--compact",
            is_flag=True,
            help="Then give the free pages of databases that are mostly free back to the file system. This cannot be "
            "undone.",
        ),
        click.option(
            "--unused-for",
            metavar="SPAN",
            callback=span,
            help="With --drop: only images that came to this host (in Docker's classic store: that were made), "
            "containers that ended, and cache records that were last used, at least this long ago: 90min, 24h, 30d.",
        ),
        click.option(
            "--filter",
            "filters",
            metavar="FILTER",
            multiple=True,
            callback=label_filters,
            help="With --drop stopped-containers, dangling-images or unused-images: only those with this label, as the "
            "prune commands of docker have it: label=NAME, label=NAME=VALUE, label!=NAME, label!=NAME=VALUE.",
        ),
        click.option(
            "--drop",
            metavar="KIND",
            multiple=True,
            callback=drops,
            help="Also remove images that something names: dangling-images, unused-images (both as docker image prune "
            "does), image-id-only, or image=NAME. An image that a container uses stays. Also build-cache, "
            "all-build-cache (as docker builder prune, and with --all) and build-history. Also stopped-containers (as "
            "docker container prune, but not one that ran when the engine was last stopped) and container=NAME (of "
            "Docker, Kubernetes or containerd). Several: with commas, or one option for each.",
        ),
        click.option(
            "--drop-store",
            type=click.Choice([each.value for each in StoreMode]),
            help="Remove the whole of one of Docker's two stores, which dockerd does not use and no container needs. "
            "The plan names what exists only there.",
        ),
        click.option(
            "--end-leases",
            type=click.Choice([each.value for each in EndLeases]),
            help="End all leases of this class; each class includes the ones before it. [default: expired; "
            "with --older-than: temporary]",
        ),
    ):
        function = option(function)
    return function


def make_policy(
    end_leases: str | None,
    older_than: int | None,
    end_lease: tuple[str, ...],
    keep: tuple[str, ...],
    no_edit: bool,
    *,
    truncate_logs: int | None,
    drop_store: str | None,
    drop: tuple[Drop, ...],
    unused_for: int | None,
    accept_loss: tuple[str, ...],
    compact: bool,
    filters: tuple[LabelFilter, ...],
) -> Policy:
    """The policy that the options describe. ``--older-than`` alone means temporary leases: expired ones have an end."""
    if end_leases is None:
        end_leases = "expired" if older_than is None else "temporary"
    if no_edit and drop:
        raise click.UsageError("--drop edits databases: leave out --no-edit")
    if no_edit and compact:
        raise click.UsageError("--compact changes databases: leave out --no-edit")
    if (unused_for is not None or accept_loss) and not drop:
        raise click.UsageError("--unused-for and --accept-loss need --drop")
    if filters and not any(each.kind in FILTERED for each in drop):
        raise click.UsageError("--filter needs --drop stopped-containers, dangling-images or unused-images")
    if no_edit and drop_store is not None:
        raise click.UsageError("--drop-store edits databases: leave out --no-edit")
    if no_edit and (end_lease or older_than is not None or end_leases != "expired"):
        raise click.UsageError("--no-edit ends no lease: leave out --end-leases, --end-lease and --older-than")
    return Policy(
        EndLeases(end_leases),
        older_than,
        tuple(unshown(name) for name in end_lease),
        tuple(map(typed_name, keep)),
        edit=not no_edit,
        truncate_logs=truncate_logs,
        drop=None if drop_store is None else StoreMode(drop_store),
        drops=drop,
        unused_for=unused_for,
        accept_loss=tuple(map(typed_name, accept_loss)),
        compact=compact,
        filters=filters,
    )


def verify_options(function: _F) -> _F:
    """``--data``, ``--unpacked`` and ``--max-duration``."""
    for option in (
        click.option("--unpacked-content", is_flag=True, hidden=True),
        click.option(
            "--max-duration",
            metavar="SPAN",
            callback=span,
            help="Stop reading data after this long (90min, 1h). The next run continues from there.",
        ),
        click.option(
            "--unpacked",
            is_flag=True,
            help="Compare every unpacked layer with its blob: types, modes, owners, sizes, links, attributes. "
            "--unpacked=content compares the bytes of files too.",
        ),
        click.option("--data", is_flag=True, help="Hash every blob, on every core."),
    ):
        function = option(function)
    return function


def make_verify_options(data: bool, unpacked: bool, unpacked_content: bool, max_duration: int | None) -> VerifyOptions:
    """What the options describe.

    Raises:
        Usage: a length of time for nothing that takes long.
    """
    if max_duration is not None and not (data or unpacked or unpacked_content):
        raise Usage("--max-duration needs --data or --unpacked")
    seconds = None if max_duration is None else max_duration / 1e9
    return VerifyOptions(data, unpacked or unpacked_content, unpacked_content, seconds)


def absolute_path(_: click.Context, __: click.Parameter, value: str | None) -> RawPath | None:
    """The path that an option names, as absolute bytes."""
    return None if value is None else RawPath(os.fsencode(os.path.abspath(value)))


def typed_name(word: str) -> bytes:
    """A name that was typed, with or without the escapes that drydock prints, as bytes."""
    return unshown(os.fsdecode(word))


def span(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """A length of time that an option names, in nanoseconds."""
    if value is None:
        return None
    match = _SPAN.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a length of time, such as 90min, 1h or 2d")
    return int(match[1]) * _UNITS[match[2]] * 1_000_000_000


def size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """A number of bytes that an option names: K, M, G and T are powers of 1024, KB, MB, GB and TB of 1000."""
    if value is None:
        return None
    match = _SIZE.fullmatch(value.strip().upper())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size, such as 500K, 10M or 0")
    number, unit, decimal = match.groups()
    base = 1000 if decimal == "B" else 1024
    power: int = base ** ("KMGT".index(unit) + 1) if unit else 1
    return int(number) * power


def _path(_: click.Context, __: click.Parameter, value: str | None) -> RawPath | None:
    return None if value is None else RawPath(os.fsencode(value))


def _time(_: click.Context, __: click.Parameter, value: str | None) -> UnixNano:
    if value is None:
        return UnixNano(time.time_ns())
    moment = parse_time(os.fsencode(value))
    if moment is None:
        raise click.BadParameter(f"{value!r} is not an RFC 3339 time, such as 2026-01-31T12:00:00Z")
    return moment


def _followed(_: click.Context, __: click.Parameter, value: bytes) -> RawPath:
    return RawPath(os.path.realpath(value) if os.path.islink(value) else value)

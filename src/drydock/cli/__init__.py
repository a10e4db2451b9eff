"""The command ``drydock``. Each subcommand has one file, which is imported when the subcommand is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from drydock.cli.options import Group
from drydock.model.errors import DrydockError, EvidenceUnreadable, Usage
from drydock.model.text import printable
from drydock.version import __version__

_FAULT = 64

_COMMANDS = {
    "scan": "show what a store holds, by state, with sizes",
    "browse": "look through a store in the terminal, mark what may go, and apply it",
    "explain": "show what holds an object, or why nothing does",
    "pulls": "list interrupted pulls, and the commands that end them",
    "plan": "write a plan of what can be removed",
    "apply": "carry out a plan",
    "clean": "show what nothing references; with --apply, remove it",
    "ls": "list images, containers, snapshots, leases, content, ingests, logs or volumes",
    "export": "write an image, a container's files or a volume to an archive",
    "diff": "list what a container changed against its image",
    "runs": "list past runs, and which of them undo can take back",
    "undo": "put back what a run moved or edited",
    "verify": "check which data is intact, and what damage affects",
    "repair": "show what makes a broken image pull again; with --apply, do it",
    "compare": "show what changed between two scans",
    "fleet": "summarize the scans of many hosts",
    "schema": "print the JSON Schema of a document",
    "completion": "print a completion script for bash, zsh or fish",
    "bolt": "read a bbolt database file, or salvage a damaged one",
}


class _Commands(Group):
    """Imports the module of the chosen command only: a start must be fast on a sick host."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"drydock.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> Any:  # noqa: ANN401 - click's signature
        """Run a command, and exit with the status of its outcome (the epilog below)."""
        try:
            sys.exit(super().main(args, prog_name="drydock", standalone_mode=False) or 0)
        except click.exceptions.Abort as error:
            what_is_left = str(error.__cause__ or "")
            _end("interrupted" + (f"; {what_is_left}" if what_is_left else ""), 128 + 2)
        except click.ClickException as error:
            # The message contains words as they were typed or pasted. Click >= 8.2 raises a command's help, too.
            if type(error).__name__ != "NoArgsIsHelpError":
                vars(error)["message"] = printable(error.message)
            error.show()
            sys.exit(Usage.exit_code)
        except DrydockError as error:
            _end(str(error), error.exit_code)
        except MemoryError:
            _end("not enough memory", EvidenceUnreadable.exit_code)
        except Exception:  # noqa: BLE001 - the last line of defence of the exit status
            # Python's own status for this, 1, means here that something can be freed.
            sys.__excepthook__(*sys.exc_info())
            _end("this is a bug in drydock: please report it with the lines above", _FAULT)


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    if ctx.params["verbose"]:
        from drydock.cli.versions import version_lines  # noqa: PLC0415 - a start must be fast

        click.echo("\n".join(version_lines()))
    else:
        click.echo(f"drydock {__version__}")
    ctx.exit()


def _end(message: str, code: int) -> None:
    click.echo(f"drydock: {message}", err=True)
    sys.exit(code)


@click.command(
    cls=_Commands,
    examples={
        "Show what fills the disk": "drydock scan",
        "Show what nothing references": "drydock clean",
        "Remove that, and what interrupted pulls left": "drydock clean --end-leases temporary --apply",
        "Look at another system's disk, mounted at /mnt": "drydock scan /mnt",
    },
    # Subcommands inherit these. Click's hints name the first.
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Exit status: 0 nothing to report, 1 something can be freed, 2 damage, 4 an action failed, 8 something "
    "could not be read, 16 wrong usage, 32 refused (an engine runs, a lock is held, a plan is stale). If several "
    "apply, the status is their sum. Three values stand alone: 64 a bug in drydock, 130 interrupted, 141 output pipe "
    "closed.",
)
@click.option("--version", is_flag=True, expose_value=False, callback=_show_version, help="Show the version and exit.")
@click.option(
    "--verbose", is_flag=True, is_eager=True, help="With --version: also the versions of Python, libraries and system."
)
def main(*, verbose: bool) -> None:
    """Check and clean the storage of Docker and containerd while the engine is stopped.

    WHERE is a containerd root, a Docker data root, or the root of a mounted host. Without WHERE, drydock works on this
    host.
    """
    if verbose:
        raise click.UsageError("--verbose needs --version")

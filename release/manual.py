"""Man pages of all commands, made of what the commands say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from inspect import cleandoc

import click
from click_man.man import ManPage

from drydock.cli import main
from drydock.cli.options import Command, Group
from drydock.version import __version__

_WHOLE = 400
"""Characters that no first sentence has."""
_STATUS = "Exit status"
"""What the paragraph of a help begins with that belongs to the section EXIT STATUS."""
_EMPTY = re.compile(r"^(\.SH .*\n)\.PP\n|^\n|^\.PP\n(?=\.)", re.MULTILINE)
"""Blank lines, and paragraphs that are empty or begin where a section does."""
_FILES = r""".SH FILES
.TP
.I /var/lib/drydock
Journals and backups of runs, or a tmpfs where that is full; \fB\-\-state\fP chooses another folder.
.TP
.I /etc/containerd/config.toml, /etc/docker/daemon.json
Where the engines' data is, if their settings say so.
.SH SEE ALSO
.BR docker (1),
.BR ctr (8)
"""


def pages(time: int) -> dict[str, str]:
    """The pages, by file name.

    Args:
        time: what they are dated, seconds since 1970.
    """
    date = datetime.fromtimestamp(time, timezone.utc).date().isoformat()
    return {f"{context.command_path.replace(' ', '-')}.1": _page(context, date) for context in _contexts(None, main)}


def _contexts(parent: click.Context | None, command: click.Command) -> Iterator[click.Context]:
    name = command.name if parent else "drydock"
    context = click.Context(command, parent=parent, info_name=name, **command.context_settings)
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (below := command.get_command(context, name)) is not None:
                yield from _contexts(context, below)


def _page(context: click.Context, date: str) -> str:
    command = context.command
    page = ManPage(context.command_path)
    page.version, page.date = __version__, date
    page.short_help = command.get_short_help_str(_WHOLE)
    page.synopsis = " ".join(command.collect_usage_pieces(context))
    paragraphs = cleandoc(command.help or "").split("\n\n")
    page.description = _escaped("\n\n".join(each for each in paragraphs if not each.startswith(_STATUS)))
    options = (each for each in command.get_params(context) if isinstance(each, click.Option))
    records = (option.get_help_record(context) for option in options)
    page.options = [(option, _escaped(text)) for option, text in filter(None, records)]
    if isinstance(command, click.Group):
        below = ((name, command.get_command(context, name)) for name in command.list_commands(context))
        page.commands = [(name, each.get_short_help_str(_WHOLE)) for name, each in below if each is not None]
    epilog = context.find_root().command.epilog or ""
    assert isinstance(command, Command | Group)
    parts = [
        f"{page}\n",
        ".SH EXAMPLES\n",
        # As typed: filled lines would be hyphenated, and macros take quotes away.
        *(
            f".PP\n{_escaped(what)}:\n.RS 4\n.EX\n{_escaped(example)}\n.EE\n.RE\n"
            for what, example in command.examples.items()
        ),
        ".SH EXIT STATUS\n",
        *(f"{_escaped(each)}\n.PP\n" for each in paragraphs if each.startswith(_STATUS)),
        f"Of all commands: {_escaped(epilog.removeprefix('Exit status: '))}\n",
        _FILES,
    ]
    return _EMPTY.sub(lambda match: match[1] or "", "".join(parts))


def _escaped(text: str) -> str:
    """Text that roff prints as it is; click's mark for a paragraph that is not to be wrapped is none."""
    text = text.replace("\b\n", "").replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)

"""``drydock completion``."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from drydock.cli.options import Command

_ASKED_BY = "_DRYDOCK_COMPLETE"
"""The environment variable by which a shell asks; click makes this name of the program's."""


@click.command(
    cls=Command,
    examples={
        "Complete drydock's words in this bash": 'eval "$(drydock completion bash)"',
        "Complete them in every fish": "drydock completion fish > ~/.config/fish/completions/drydock.fish",
    },
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes drydock's words in SHELL.

    For bash, add this line to ~/.bashrc: eval "$(drydock completion bash)"

    For zsh, add the same line with zsh to ~/.zshrc. For fish, write the script to
    ~/.config/fish/completions/drydock.fish.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click has no completion for {shell}")
    # Not the class's own source: for bash it runs the shell, to warn of an old one.
    click.echo(ShellComplete.source(kind(context.find_root().command, {}, "drydock", _ASKED_BY)))

"""Groups of commands that know what a mistyped word may have meant."""

from __future__ import annotations

import click

from drydock.model.text import did_you_mean


class Group(click.Group):
    """A group that names the commands which are like a word that is none."""

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

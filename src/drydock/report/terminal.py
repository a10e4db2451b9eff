"""Lines on a terminal: with styles, wrapped at its width, by rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text


class TerminalPrinter:
    """Prints lines on a terminal, or with colours into a pipe where ``FORCE_COLOR`` asks for them."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @property
    def is_terminal(self) -> bool:
        """Whether lines may have styles and wrap."""
        return self._console.is_terminal

    @property
    def width(self) -> int:
        """Width in columns."""
        return self._console.width

    @property
    def encoding(self) -> str:
        """Encoding of the text."""
        return self._console.encoding

    def print_line(self, text: str, indent: int = 0, style: str = "", *, whole: bool = False) -> None:
        """Print one line.

        Args:
            text: without line end.
            indent: columns before it, also where it wraps.
            style: as rich names it; empty for none.
            whole: leave wrapping to the terminal, so that the text can be copied in one piece.
        """
        if not self._console.is_terminal:
            # Whole lines, for grep: no wrapping, no padding.
            self._console.print(" " * indent + text, soft_wrap=True)
        elif whole or any(len(word) > self.width - indent for word in text.split()):
            # A path that is wider than the screen can be copied in one piece too.
            self._console.print(Text(" " * indent + text, style), soft_wrap=True)
        else:
            self._console.print(Padding(Text(text, style), (0, 0, 0, indent)), soft_wrap=False)

    def print_spans(self, spans: Sequence[tuple[str, str]]) -> None:
        """Print one line that is fitted to the width already: pieces of text, each with its style."""
        self._console.print(Text.assemble(*spans), no_wrap=True, crop=False)


def terminal_printer(file: TextIO) -> TerminalPrinter:
    """A printer on ``file``; no markup, no emoji names and no numbers in the text are taken for styles."""
    return TerminalPrinter(Console(file=file, highlight=False, emoji=False, markup=False))

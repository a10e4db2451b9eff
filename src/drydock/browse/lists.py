"""Lists of any length: only the lines that can be seen are made."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from typing import ClassVar, Final

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from drydock.browse.marked import Marked
from drydock.browse.tree import Item
from drydock.model.objects import State
from drydock.report.wording import COLOURS, columns, show_bytes

LETTERS: Final = {
    State.LIVE: "L",
    State.LEASED: "E",
    State.UNREACHABLE: "U",
    State.ORPHANED: "O",
    State.MISSING: "M",
    State.CORRUPT: "C",
    State.FOREIGN: "F",
}
"""A letter for each state, because a colour alone does not tell it."""
_CURSOR: Final = Style(reverse=True)
_PLAIN: Final = Style()
_BAR_STYLE: Final = Style(reverse=False)
_SIZES: Final = 10
_BAR: Final = (8, 30)
"""Columns of a bar, at least and at most."""


def is_unicode() -> bool:
    """Whether the locale is one of UTF-8. Python itself takes C for such a one, so it is not asked."""
    name = next((os.environ[key] for key in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(key)), "C")
    return "utf8" in name.lower().replace("-", "")


class Lines(ScrollView, can_focus=True):
    """A list with a cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "page(-1)"),
        Binding("pagedown", "page(1)"),
        Binding("home,g", "go(0)"),
        Binding("end,G", "go(-1)"),
    ]

    class Moved(Message):
        """The cursor is on another line."""

    class Clicked(Message):
        """A line was clicked on that had the cursor already."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self.cursor = 0

    def length(self) -> int:
        """How many lines there are."""
        raise NotImplementedError

    def line(self, number: int, width: int) -> list[Segment]:
        """The parts of a line."""
        raise NotImplementedError

    def refill(self, cursor: int = 0) -> None:
        """Show other lines, with the cursor on one of them."""
        self.cursor = max(0, min(cursor, self.length() - 1))
        self.virtual_size = Size(0, self.length())
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of what can be seen."""
        width, number = self.size.width, y + self.scroll_offset.y
        if number >= self.length():
            return Strip.blank(width, _PLAIN)
        strip = Strip(self.line(number, width)).adjust_cell_length(width, _PLAIN)
        return strip.apply_style(_CURSOR) if number == self.cursor else strip

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self._put(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move it by a page."""
        self._put(self.cursor + by * max(1, self.size.height - 1))

    def action_go(self, to: int) -> None:
        """Move it to the first line, or the last one for -1."""
        self._put(to if to >= 0 else self.length() - 1)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to a line; at a second click, choose it."""
        number = event.y + self.scroll_offset.y
        if number == self.cursor:
            self.post_message(self.Clicked())
        elif number < self.length():
            self._put(number)

    def _put(self, to: int) -> None:
        to = max(0, min(to, self.length() - 1))
        if to != self.cursor:
            former, self.cursor = self.cursor, to
            self._draw(former)
            self._draw(to)
            self.scroll_to_region(Region(0, to, 1, 1), animate=False, force=True)
            self.post_message(self.Moved())

    def _draw(self, number: int) -> None:
        self.refresh(Region(0, number - self.scroll_offset.y, self.size.width, 1))


class Items(Lines):
    """The items of one level, with bars."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self.items: Sequence[Item] = ()
        self.marked = Marked()
        self._largest = 1
        self._unicode = is_unicode()

    @property
    def current(self) -> Item | None:
        """The item that the cursor is on."""
        return self.items[self.cursor] if self.items else None

    def show(self, items: Sequence[Item], current: Item | None = None) -> None:
        """Show other items."""
        self.items = items
        self._largest = max((item.bytes for item in items), default=1) or 1
        self.refill(items.index(current) if current is not None and current in items else 0)

    def length(self) -> int:
        """How many items there are."""
        return len(self.items)

    def line(self, number: int, width: int) -> list[Segment]:
        """Mark, letter, sizes, bar and name of an item."""
        item = self.items[number]
        colour = Style(color=COLOURS[item.state]) if item.state is not None else _PLAIN
        mark = "*" if item in self.marked else "+" if self.marked.goes(item) else " "
        unique = "" if item.unique is None else show_bytes(item.unique)
        bar = bar_width(width)
        head = f"{mark}{LETTERS[item.state] if item.state is not None else ' '}"
        return [
            Segment(f"{head} ", colour + Style(bold=True)),
            Segment(f"{show_bytes(item.bytes):>{_SIZES}} {unique:>{_SIZES}} ", _PLAIN),
            # Also on the cursor's line: reversed, what is full would look empty.
            Segment(self._bar(item, bar), colour + _BAR_STYLE),
            Segment(" " + self.fit(item.title + (" /" if item.is_open else ""), width - 26 - bar), _PLAIN),
        ]

    def fit(self, text: str, width: int) -> str:
        """Shown text in as many columns: its middle is cut, because the ends of names differ."""
        if not self._unicode:
            text = text.encode("ascii", "backslashreplace").decode()
        if columns(text) <= width:
            return text
        tail = max(0, width // 4)
        return set_cell_size(text, max(0, width - tail - 2)).rstrip() + ".." + text[len(text) - tail :]

    def _bar(self, item: Item, width: int) -> str:
        full, half, empty = "█▒ " if self._unicode else "#= "
        whole = round(width * item.bytes / self._largest)
        alone = whole if item.unique is None else min(whole, round(width * item.unique / self._largest))
        return full * alone + half * (whole - alone) + empty * (width - whole)


def bar_width(width: int) -> int:
    """Columns of the bar in lines of this width."""
    return max(_BAR[0], min(_BAR[1], width // 6))


def heading(width: int) -> str:
    """What the columns of :class:`Items` are."""
    return f"   {'SIZE':>{_SIZES}} {'UNIQUE':>{_SIZES}} {'':{bar_width(width)}} NAME"


class Text(Lines):
    """Lines of text, which wrap."""

    def __init__(self, lines: Sequence[str] = (), *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._lines = lines
        self._wrapped: list[str] = []
        self.numbers: list[int] = []
        """For each line that can be seen, which of the texts it is of."""

    def on_resize(self, event: events.Resize) -> None:
        """Wrap anew."""
        self._wrap(event.size.width)

    def show(self, lines: Sequence[str]) -> None:
        """Show other lines."""
        self._lines = lines
        self._wrap(self.size.width)

    def length(self) -> int:
        """How many lines there are."""
        return len(self._wrapped)

    def line(self, number: int, width: int) -> list[Segment]:
        """One line."""
        return [Segment(set_cell_size(self._wrapped[number], width), _PLAIN)]

    def _wrap(self, width: int) -> None:
        self._wrapped, self.numbers = [], []
        for number, text in enumerate(self._lines):
            indent = " " * (len(text) - len(text.lstrip()) + 2)
            parts = textwrap.wrap(text, max(20, width), subsequent_indent=indent, drop_whitespace=False) or [""]
            self._wrapped += parts
            self.numbers += [number] * len(parts)
        self.refill(self.cursor)

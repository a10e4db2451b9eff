"""Screens over the list: a text, a question for a word, a plan, the past runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from drydock.browse.lists import Lines, Text


class Panel(ModalScreen[str | None]):
    """Lines of text, with the keys that close it; the result is the word of the key, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,backspace,left", "close"),
        Binding("ctrl+c", "app.interrupt", priority=True),
    ]
    CSS = """
    Panel { align: center middle; background: ansi_default; }
    Panel #title { height: 1; text-style: reverse; text-wrap: nowrap; text-overflow: clip; }
    Panel #text { height: 1fr; scrollbar-size: 1 1; background: ansi_default; }
    Panel #keys { height: auto; text-style: bold; }
    """

    def __init__(self, title: str, lines: Sequence[str], keys: str = "Esc back") -> None:
        super().__init__()
        self._title = title
        self._lines = list(lines)
        self._keys = keys

    def compose(self) -> ComposeResult:
        """A title, the text, the keys."""
        yield Static(Content(self._title), id="title", markup=False)
        yield Text(self._lines, id="text")
        yield Static(Content(f"{self._keys}  Up Down PgUp PgDn scroll"), id="keys", markup=False)

    def on_mount(self) -> None:
        """The text takes the keys."""
        self.query_one(Text).focus()

    def action_close(self) -> None:
        """Close it without a result."""
        self.dismiss(None)

    def action_answer(self, word: str) -> None:
        """Close it with a result."""
        self.dismiss(word)


class Choice(Panel):
    """A panel with a key for each of a few answers."""

    def __init__(self, title: str, lines: Sequence[str], answers: dict[str, str]) -> None:
        """Make it.

        Args:
            title: what it is about.
            lines: the text.
            answers: what each key does. The result is the key.
        """
        words = "  ".join(f"{key.capitalize() if len(key) > 1 else key} {what}" for key, what in answers.items())
        super().__init__(title, lines, f"{words}  Esc back")
        self._answers = answers

    def on_mount(self) -> None:
        """The keys answer."""
        super().on_mount()
        for key in self._answers:
            self._bindings.bind(key, f"answer('{key}')", priority=True)


class Runs(Panel):
    """The past runs; Enter chooses the one on the cursor, and its number is the result."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", priority=True)]

    def action_choose(self) -> None:
        """The run that the cursor is on."""
        text = self.query_one(Text)
        if text.numbers:
            self.dismiss(str(text.numbers[text.cursor]))

    def on_lines_clicked(self, _: Lines.Clicked) -> None:
        """The same with the mouse."""
        self.action_choose()


class Question(ModalScreen[str | None]):
    """Asks for one line of text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close"),
        Binding("ctrl+c", "app.interrupt", priority=True),
    ]
    CSS = """
    Question { align: left bottom; background: transparent; }
    Question Static { height: auto; text-style: reverse; }
    Question Input { border: none; height: 1; padding: 0; background: ansi_default; }
    """

    def __init__(self, question: str, answer: str = "") -> None:
        super().__init__()
        self._question = question
        self._answer = answer

    def compose(self) -> ComposeResult:
        """The question and a line to type in."""
        yield Static(Content(f"{self._question}  Enter takes it, Esc goes back"), markup=False)
        yield Input(self._answer, select_on_focus=False, compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take what was typed."""
        self.dismiss(event.value)

    def action_close(self) -> None:
        """Take nothing."""
        self.dismiss(None)

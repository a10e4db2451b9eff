"""The frame of the view: the lines around the list, one piece of work at a time, and how the view ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.app import App, ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from drydock.browse.deeds import Deed, View
from drydock.browse.help import KEYS
from drydock.browse.lists import Items
from drydock.browse.work import Work
from drydock.model.progress import Progress


class _Ended(Message):
    """Work has ended."""

    def __init__(self, work: Work, then: Callable[[Any], object]) -> None:
        super().__init__()
        self.work = work
        self.then = then


class Frame(App[Deed]):
    """Lines of text around a list. Work goes on in threads, so that keys are answered."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: ansi_default; color: ansi_default; }
    Static { height: 1; }
    #title { text-style: reverse; }
    #items { height: 1fr; scrollbar-size: 1 1; background: ansi_default; }
    #said { height: auto; max-height: 3; }
    #foot { height: auto; max-height: 2; text-style: bold; }
    #keys { height: auto; }
    """

    def __init__(self) -> None:
        # Said here too: which filter removes the colours for NO_COLOR is chosen before there is a theme.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.error: BaseException | None = None
        """What ended the view, to be raised where it is not."""
        self.view: View | None = None
        """What there is to look at; None until it is read. What fails before then ends the view."""
        self._work: Work | None = None
        self._question: Work | None = None
        """A question to the planner, which goes on beside the work."""
        self._said = ""
        self._shown: dict[str, str] = {}
        """What each line of text says."""

    def compose(self) -> ComposeResult:
        """Title, path, columns, items, message, marks, keys."""
        yield Static(id="title", markup=False)
        yield Static(id="path", markup=False)
        yield Static(id="columns", markup=False)
        yield Items(id="items")
        yield Static(id="said", markup=False)
        yield Static(id="foot", markup=False)
        yield Static(Content(KEYS), id="keys", markup=False)

    def on_mount(self) -> None:
        """Show how far the work is, from now on."""
        self.set_interval(0.2, self._show_work)

    def _begin(self, name: str, do: Callable[[Progress], Any], then: Callable[[Any], object]) -> None:
        """Begin some work, unless other work goes on; ``then`` gets its result."""
        if self._is_free():
            self._work = Work(name, do, lambda work: self._tell(work, then))
            self._show_work()

    def _is_free(self) -> bool:
        """Whether no work goes on; if it does, say so."""
        if self._work is not None:
            self._say(f"{self._work.name} goes on; Esc stops it")
        return self._work is None

    def _ask(self, do: Callable[[], Any], then: Callable[[Any], object]) -> None:
        """Begin a question to the planner; there is none."""
        self._question = Work("mark", lambda _: do(), lambda work: self._tell(work, then))

    def _tell(self, work: Work, then: Callable[[Any], object]) -> None:
        """Hand the end of some work over to the thread of the view."""
        if self.is_running:
            self.post_message(_Ended(work, then))

    def on__ended(self, ended: _Ended) -> None:
        """Take the result of some work."""
        work = ended.work
        if work is self._question:
            self._question = None
        elif work is self._work:
            self._work = None
        if work.bug is not None or (work.error is not None and self.view is None):
            self._end(work.bug or work.error)
            return
        self._say("")
        if work.error is not None:
            self._say(str(work.error))
        else:
            ended.then(work.result)

    def _show_work(self) -> None:
        if self._work is not None:
            self._put("#said", f"{self._work.text()}   Esc stops it")
        elif self._question is not None:
            self._put("#said", "asking the planner ...")
        else:
            self._put("#said", self._said)

    def _say(self, text: str) -> None:
        self._said = text
        self._show_work()

    def _put(self, selector: str, text: str) -> None:
        if self._shown.get(selector) != text:
            self._shown[selector] = text
            # Only two lines may need a second one; to lay the screen out anew takes longer than to draw a line.
            line = self.screen_stack[0].query_one(selector, Static)
            line.update(Content(text), layout=selector in ("#said", "#foot"))

    def _end(self, error: BaseException | None) -> None:
        self.error = error
        self.exit(None)

    def _handle_exception(self, error: Exception) -> None:
        """Keep a bug for the command, which ends with it; Textual would print it, and the status would be 0."""
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self.error = self.error or error
        self._return_code = 1
        self._close_messages_no_wait()

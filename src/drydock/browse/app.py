"""The view: one level of the tree at a time, and a key for each question about it."""

from __future__ import annotations

import gc
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple

from textual.binding import Binding, BindingType

from drydock.browse.deeds import Clean, Deed, Place, Undo, View, explain_lines, plan_lines, run_line
from drydock.browse.facts import fact_lines
from drydock.browse.frame import Frame
from drydock.browse.help import HELP
from drydock.browse.lists import Items, Lines, heading
from drydock.browse.marked import KEPT, Marked, marked_again
from drydock.browse.marks import foot, wish_of
from drydock.browse.panels import Choice, Panel, Question, Runs
from drydock.browse.tree import Item, Order, sorted_by
from drydock.model.errors import DrydockError, Usage
from drydock.model.names import RawPath
from drydock.model.policies import VerifyOptions
from drydock.model.progress import Progress
from drydock.model.runs import UndoState
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.report.wording import columns, show_bytes

_MANY: Final = 2_000
"""Items that are listed, sorted or filtered at once; more of them, in a thread."""
_WAIT: Final = 2.0
"""Seconds for work to stop when the view ends."""
_TURN: Final = 0.001
"""Seconds that a thread has before another one that waits gets its turn."""
_LOSS: Final = "WOULD BE LOST"


class Left(NamedTuple):
    """How a view was left for a deed."""

    view: View
    marked: Marked
    at: Item
    current: Item | None
    order: Order
    word: str
    changed: bool
    """Whether the deed changed anything, so that the place has to be read anew."""
    news: str
    """A shown line for the next view; empty if the deed changed something."""


class Browse(Frame):
    """The view. It returns a deed, or None when the user is done."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,right", "down"),
        Binding("backspace,left", "up"),
        Binding("space", "mark"),
        Binding("exclamation_mark", "accept"),
        Binding("e", "explain"),
        Binding("f", "facts"),
        Binding("slash", "filter"),
        Binding("s", "sort"),
        Binding("v", "verify"),
        Binding("x", "export"),
        Binding("p", "plan"),
        Binding("a", "apply"),
        Binding("u", "undo"),
        Binding("question_mark", "keys"),
        Binding("escape", "stop"),
        Binding("q", "leave"),
        Binding("ctrl+c", "interrupt", priority=True),
    ]

    def __init__(self, place: Place, left: Left | None = None) -> None:
        """Make it.

        Args:
            place: where to look.
            left: how the view before was left, for a deed.
        """
        super().__init__()
        self.place = place
        self.interrupted = False
        self.at: Item | None = None
        """The item whose level is shown."""
        self.order = Order.SIZE
        self.word = ""
        """The filter."""
        self.marked = Marked()
        self._left = left
        self._news = ""
        """Said when a level is shown."""
        self._loss: Item | None = None
        """The image whose loss was just named."""
        self._asked: deque[Item] = deque()
        """Items to mark, one after the other."""

    def on_mount(self) -> None:
        """Begin to read; or go on where nothing was changed since."""
        self._items = self.screen.query_one(Items)
        self._items.focus()
        self._put("#title", f"drydock browse{' --live: look only' if self.place.access.live else ''}")
        left, self._left = self._left, None
        if left is None:
            self._begin("reading", self.place.read, self._opened)
        elif left.changed:
            self._begin("reading", partial(self._read_again, left), lambda found: self._opened(*found))
        else:
            self.word, self.order = left.word, left.order
            # Where the cursor is to be seen depends on the size of the list.
            self.call_after_refresh(self._opened, left.view, left.marked, left.news, left.at, left.current)

    def on_resize(self) -> None:
        """Write the lines that depend on the width anew."""
        self._put("#columns", heading(self.size.width))
        self._show_path()

    def action_stop(self) -> None:
        """Stop the work; without work, drop the filter."""
        if self._work is not None:
            if self.view is None:
                self.action_leave()
            self._work.stop()
        elif self.word:
            self._filter("")

    def action_leave(self) -> None:
        """End the view."""
        if self._work is not None:
            self._work.stop(_WAIT)
        self.exit(None)

    def action_interrupt(self) -> None:
        """The same, as Ctrl-C ends every command."""
        self.interrupted = True
        self.action_leave()

    # The tree

    def _read_again(self, left: Left, progress: Progress) -> tuple[View, Marked, str]:
        view = self.place.read(progress)
        return view, *marked_again(left.marked, left.view, view, progress)

    def _opened(
        self,
        view: View,
        marked: Marked | None = None,
        news: str = "",
        at: Item | None = None,
        current: Item | None = None,
    ) -> None:
        self.view, self._news = view, news
        # To look through all that was read for what is not needed any more would hold up the keys.
        gc.disable()
        # While another thread works, Python lets this one in so much sooner.
        sys.setswitchinterval(_TURN)
        self._mark(marked or Marked())
        self._open(at or view.tree.top, current)

    def _open(self, item: Item, current: Item | None = None) -> None:
        assert self.view is not None
        if item.count > _MANY or len(item.below) > _MANY:
            self._begin("listing", lambda _: self._listed(item), partial(self._show, item, current))
        else:
            self._show(item, current, self._listed(item))

    def _listed(self, item: Item) -> Sequence[Item]:
        assert self.view is not None
        tree = self.view.tree
        items = tree.matching(item, self.word) if self.word else tree.level(item)
        return items if self.order is Order.SIZE else sorted_by(list(items), self.order)

    def _show(self, item: Item, current: Item | None, items: Sequence[Item]) -> None:
        self.at = item
        self._items.show(items, current)
        self._show_path()
        self._say(self._news)
        self._news = ""

    def _show_path(self) -> None:
        if self.at is None:
            return
        items = self._items
        of = f"{min(items.cursor + 1, len(items.items))}/{len(items.items)} by {self.order.value}"
        if self.word:
            of += f" filter {self.word!r}"
        path = " > ".join(each.name for each in self.at.path())
        room = self.size.width - columns(of) - 3
        if columns(path) > room:
            path = ".." + path[len(path) - room + 2 :]
        self._put("#path", f"{items.fit(path, room)}  {of}")

    def on_lines_moved(self, _: Lines.Moved) -> None:
        """Show where the cursor is."""
        if self.view is not None and len(self.screen_stack) == 1:
            if self._said:
                self._say("")
            self._show_path()

    def on_lines_clicked(self, _: Lines.Clicked) -> None:
        """Go down where one clicks twice."""
        if len(self.screen_stack) == 1:
            self.action_down()

    def action_down(self) -> None:
        """Show what is below the item."""
        item = self._items.current
        if item is None:
            return
        if not item.is_open:
            self._say("there is nothing below it; e shows why it is there, f where it is")
            return
        self.word = ""
        self._open(item)

    def action_up(self) -> None:
        """Show the level above."""
        if self.word:
            self._filter("")
        elif self.at is not None and self.at.above is not None:
            self._open(self.at.above, self.at)

    def action_sort(self) -> None:
        """Sort by the next thing."""
        if self.at is not None:
            orders = list(Order)
            self.order = orders[(orders.index(self.order) + 1) % len(orders)]
            self._open(self.at, self._items.current)

    def action_filter(self) -> None:
        """Ask for a word."""
        if self.at is not None:
            self.push_screen(Question("Show what has in its name, here and below:", self.word), self._filter)

    def _filter(self, word: str | None) -> None:
        if word is not None and self.at is not None:
            self.word = word
            self._open(self.at)

    # Questions about an item

    def _ask_about(self, title: str, lines: Callable[[Item, View], Sequence[str]]) -> None:
        item, view = self._items.current, self.view
        if item is None or view is None:
            return
        name = f"{title}: {item.title}"
        self._begin(title, lambda _: lines(item, view), lambda found: self.push_screen(Panel(name, found)))

    def action_explain(self) -> None:
        """Show what holds the item."""
        self._ask_about("explain", lambda item, view: explain_lines(item, view.looked[item.root]))

    def action_facts(self) -> None:
        """Show what it was found by, and where it is."""
        self._ask_about("found by", lambda item, view: list(fact_lines(item, view.looked[item.root])))

    def action_keys(self) -> None:
        """Show the help."""
        self.push_screen(Panel("drydock browse: keys and columns", HELP))

    def action_verify(self) -> None:
        """Ask what to verify, and do it."""
        if self.view is None or not self._may(self.place.refuse_if_live):
            return
        lines = [
            "Check which data of the whole place is intact. This changes nothing in the store.",
            "",
            "r  the records against the names and sizes on disk (fast)",
            "d  the same, and the bytes of every blob",
            "l  the same, and every unpacked layer against its blob",
        ]
        answers = {"r": "records", "d": "data", "l": "layers"}
        self.push_screen(Choice("verify", lines, answers), self._verify)

    def _verify(self, answer: str | None) -> None:
        if answer is not None:
            wanted = VerifyOptions(data=answer != "r", unpacked=answer == "l")
            self._begin(
                "verify",
                lambda progress: self.place.verify(wanted, progress),
                lambda lines: self.push_screen(Panel("verify", lines)),
            )

    def action_export(self) -> None:
        """Ask for a file, and write the item to it."""
        item = self._items.current
        if item is None or not self._may(lambda: self.place.refuse_export(item)):
            return

        def export(path: str | None) -> None:
            if path:
                self._begin(
                    "export",
                    lambda progress: self.place.export(item, _absolute(path), progress),
                    lambda lines: self.push_screen(Panel("export", lines)),
                )

        self.push_screen(Question(f"Write {item.title} to the new file:"), export)

    def _may(self, refuse: Callable[[], None]) -> bool:
        try:
            refuse()
        except DrydockError as error:
            self._say(str(error))
            return False
        return True

    # Marks

    def action_mark(self) -> None:
        """Mark the item, or take its mark back."""
        item = self._items.current
        if item is not None and self.view is not None:
            self._loss = None
            wish = None if item in self.marked else wish_of(item)
            if isinstance(wish, str):
                self._say(f"stays: {wish}")
                return
            self._asked.append(item)
            self._next_mark()

    def action_accept(self) -> None:
        """Mark the image whose loss was named."""
        if self._loss is not None:
            self.marked.accept(self._loss)
            self._asked.append(self._loss)
            self._loss = None
            self._next_mark()

    def _next_mark(self) -> None:
        view = self.view
        if self._question is None and self._asked and view is not None:
            item, marked = self._asked.popleft(), self.marked
            self._ask(lambda: marked.ask(item, view), partial(self._answered, item))

    def _answered(self, item: Item, found: Marked | str) -> None:
        if isinstance(found, Marked):
            self._mark(found)
        else:
            hint = ""
            if found.startswith(_LOSS):
                self._loss = item
                hint = "; ! marks it all the same"
            self._say(f"stays: {found}{hint}")
        self._next_mark()

    def _mark(self, marked: Marked) -> None:
        assert self.view is not None
        self.marked = self._items.marked = marked
        self._put("#foot", foot(len(marked), marked.answer, self.view.base))
        self._items.refresh()

    # Deeds

    def _policy_wanted(self) -> bool:
        if not self._may(self.place.refuse_if_live):
            return False
        if not self.marked:
            self._say("nothing is marked: Space marks what may go")
        return bool(self.marked)

    def action_plan(self) -> None:
        """Ask for a file, and write the plan to it."""
        if not self._policy_wanted():
            return
        policy = self.marked.policy

        def write(path: str | None) -> None:
            if path:
                self._begin(
                    "plan",
                    lambda progress: self.place.write_plan(policy, _absolute(path), progress),
                    lambda lines: self.push_screen(Panel("plan", lines)),
                )

        self.push_screen(Question("Write the plan to the file:", "drydock-plan.json"), write)

    def action_apply(self) -> None:
        """Show the plan, made anew."""
        if self._policy_wanted():
            policy = self.marked.policy
            self._begin("plan", lambda progress: self.place.plan(policy, progress), self._show_plan)

    def _show_plan(self, scans: list[Scan]) -> None:
        if all(scan.plan.is_empty for scan in scans):
            self._say("the plan is empty: the store has changed; q, and start browse again")
            return
        freed = show_bytes(sum(scan.plan.bytes for scan in scans))
        answers = {"enter": "go on; you are asked once more", "m": "move to a quarantine instead, to be able to undo"}
        panel = Choice(f"apply: frees {freed}", plan_lines(scans), answers)
        self.push_screen(panel, self._apply)

    def _apply(self, answer: str | None) -> None:
        if answer == "m":
            aside = self.place.access.quarantine
            question = "A folder on the same file system, in no folder of an engine:"
            self.push_screen(Question(question, "" if aside is None else shown(aside)), self._apply_aside)
        elif answer is not None:
            self._do(Clean(self.marked.policy, self.place.access.quarantine))

    def _apply_aside(self, path: str | None) -> None:
        if path:
            self._do(Clean(self.marked.policy, _absolute(path)))

    def _do(self, deed: Deed) -> None:
        if self._is_free():
            self.exit(deed)

    def how_left(self, *, changed: bool, why: str = "") -> Left:
        """How the view was left for a deed, for the next view.

        Args:
            changed: whether the deed changed anything.
            why: why not, on one shown line; empty if the user did not want it after all.
        """
        assert self.view is not None
        assert self.at is not None
        news = "" if changed else KEPT if self.marked else "nothing was changed"
        news += f"; {why}" if why else ""
        return Left(self.view, self.marked, self.at, self._items.current, self.order, self.word, changed, news)

    def action_undo(self) -> None:
        """List the past runs."""
        if self.view is None or not self._may(self.place.refuse_if_live):
            return

        def show(found: Any) -> None:  # noqa: ANN401 - the result of some work
            runs = list(reversed(found.runs))
            lines = [run_line(run) for run in runs] + [f"not read: {cause}" for cause in found.unread]
            if not lines:
                self._say("there is no journal of a past run")
                return

            def undo(number: str | None) -> None:
                if number is None or int(number) >= len(runs):
                    return
                run = runs[int(number)]
                if run.undo is UndoState.POSSIBLE:
                    self._do(Undo(run))
                else:
                    self._say(f"this run cannot be undone: {run.reason or run.undo.value}")

            self.push_screen(Runs("past runs, the newest first", lines, "Enter undo it  Esc back"), undo)

        self._begin("runs", lambda _: self.place.runs(), show)


def _absolute(path: str) -> RawPath:
    if not path.strip():
        raise Usage("no path was given")
    return RawPath(os.path.abspath(os.fsencode(path)))

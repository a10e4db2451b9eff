"""The screens of browse that are kept as text, of a made-up host: the same on every machine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from tests.support.populations import population
from tests.support.values import NOW
from textual.pilot import Pilot

from drydock.browse.app import Browse
from drydock.browse.deeds import Place, View
from drydock.browse.marks import Answer, policy_of
from drydock.browse.tree import Tree
from drydock.commands.browse import Looked, decide
from drydock.model.access import Access
from drydock.model.progress import Progress
from drydock.session import Session

FOLDER = Path(__file__).parent / "screens"
SIZES = ((80, 24), (200, 50))
NAMES = ("store", "marked", "explain", "help")


def screens(size: tuple[int, int]) -> dict[str, str]:
    """What each of the kept screens shows, by name, on a terminal with so many columns and lines."""
    found: dict[str, str] = {}
    app = Browse(_Read(None, Access()))

    async def type_keys() -> None:
        async with app.run_test(size=size) as pilot:
            await settle(app, pilot)
            for name, keys in zip(NAMES, _KEYS, strict=True):
                for key in keys:
                    await pilot.press(key)
                    await settle(app, pilot)
                found[name] = "\n".join(shown_lines(app)) + "\n"

    with patch.dict(os.environ, LC_ALL="C.UTF-8"):
        asyncio.run(type_keys())
    return found


class _Read(Place):
    """A place that is read from values."""

    def read(self, progress: Progress) -> View:
        """A made-up host."""
        progress("reading", 0)
        scan = population(120)
        looked = [Looked(scan, Session(Access(), None, scan.verdict.store, NOW))]
        return View(looked, Tree([scan]), Answer(decide(looked, policy_of(()))))


_KEYS = (
    ["enter"],
    ["enter", "down", "down", "down", "down", "space"],
    ["enter", "down", "e"],
    ["escape", "question_mark"],
)
"""What is typed before each screen is taken."""


async def settle(app: Browse, pilot: Pilot) -> None:
    """Wait until nothing is under way."""
    await pilot.pause()
    until = time.monotonic() + 30
    while app.is_running and (app._work or app._question or app._asked or app.view is None):
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    await pilot.pause()


def shown_lines(app: Browse) -> list[str]:
    """What can be seen, line by line."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in line).rstrip() for line in lines][:height] if width else []


def files() -> Iterator[tuple[Path, str]]:
    """Each file that is kept, with what it is to have."""
    for columns, lines in SIZES:
        for name, text in screens((columns, lines)).items():
            yield FOLDER / f"{name}-{columns}x{lines}.txt", text

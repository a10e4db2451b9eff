"""A session of tests leaves nothing where drydock keeps its state by default: that of this machine may be real."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

import pytest


class Leftovers:
    """A plugin that fails a session which left something new in one of some folders, and names it."""

    def __init__(self, places: Iterable[bytes]) -> None:
        self._places = tuple(places)
        self._before = self._names()
        self._left: list[bytes] = []

    def _names(self) -> set[bytes]:
        found: set[bytes] = set()
        for place in self._places:
            with suppress(OSError):  # not there, or not for this user to write to
                found.update(os.path.join(place, name) for name in os.listdir(place))
        return found

    # First: what reports the status asks for it afterwards.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look, once all workers have ended."""
        self._left = sorted(self._names() - self._before)
        if self._left and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what was left."""
        if self._left:
            terminalreporter.section("left by the tests: give them a --state of their own", red=True)
            for path in self._left:
                terminalreporter.write_line(os.fsdecode(path))

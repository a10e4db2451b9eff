"""The bar: drawn for what takes long, and gone where something else is printed."""

import io

import pytest
from tests.support.captures import capture
from tests.support.terminal import on_terminal

from drydock.cli import progress


class Terminal(io.StringIO):
    """Text that takes itself for a terminal."""

    def isatty(self):
        """It does."""
        return True


def on_screen(terminal):
    """What is left on the last line: what came after the last return to its beginning."""
    return terminal.getvalue().rpartition("\r")[2]


def test_is_gone_before_a_question(monkeypatch):
    """What is asked and shown stands on a line of its own, and the bar comes back for what follows."""
    bar, seen = Terminal(), []
    monkeypatch.setattr(progress, "_SOON", 0.0)
    monkeypatch.setattr(progress.sys, "stderr", bar)
    with progress.show_progress() as told:
        told("blobs", 3)
        assert "blobs" in bar.getvalue()
        assert told.cleared(lambda _: bool(seen.append(on_screen(bar))) or True)(None)
        told("removed", 1)
    assert seen == [""]
    assert "removed" in bar.getvalue()
    assert on_screen(bar) == ""


def test_nothing_in_a_pipe(monkeypatch):
    """No terminal, no bar."""
    monkeypatch.setattr(progress.sys, "stderr", io.StringIO())
    with progress.show_progress() as told:
        assert told is None


@pytest.mark.root
@pytest.mark.parametrize("command", ["repair", "clean", "verify"])
def test_short_work_draws_nothing_into_what_it_says(command, unpacked):
    """On a terminal the first line is the root's, as in a pipe."""
    of = capture("docker-28.5-interrupted-pull")
    text, _ = on_terminal(command, "--now", of.taken_at, unpacked(of), columns=80, errors=True)
    assert text.rpartition("\r")[2].startswith(str(unpacked(of)))

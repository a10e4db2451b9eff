"""The view, driven by Textual's pilot: each key on a capture of a real engine, and names that would harm a terminal."""

import asyncio
import threading

import pytest
from tests.browse.conftest import NAME, place_of
from tests.browse.screens import settle
from tests.browse.screens import shown_lines as screen
from tests.support.captures import capture
from textual.widgets import Input

from drydock.browse.app import Browse
from drydock.browse.deeds import Clean, Place
from drydock.browse.lists import Items, Text
from drydock.browse.marks import policy_of
from drydock.browse.panels import Panel
from drydock.browse.tree import Item
from drydock.model.access import Access
from drydock.model.errors import Refused
from drydock.model.text import shown

pytestmark = pytest.mark.root


class Read(Place):
    """A place that was read already."""

    def __init__(self, place, view):
        super().__init__(place.where, place.access)
        object.__setattr__(self, "read", lambda _: view)


def drive(place, keys, size=(80, 24)):
    """Open the view, let ``keys`` type on it, and give the view when it has ended."""
    app = Browse(place)

    async def main():
        async with app.run_test(size=size) as pilot:

            async def press(*words):
                for word in words:
                    await pilot.press(word)
                    await settle(app, pilot)

            await settle(app, pilot)
            await keys(app, press)

    asyncio.run(main())
    return app


async def answer(app, press, word):
    """Answer a question, at once: the pilot takes its time for each key."""
    app.screen.query_one(Input).value = word
    await press("enter")


@pytest.fixture
def place(view, host):
    """The capture, read once."""
    return Read(place_of(capture(NAME), host), view)


async def go_to(app, press, kind, name=""):
    """Filter for an item from wherever the view is, and put the cursor on it."""
    items = app.screen.query_one(Items)
    await press("slash")
    await answer(app, press, name or kind)
    number = next(at for at, item in enumerate(items.items) if item.kind == kind and name in item.name)
    items.action_go(number)
    await press()


def test_down_up_and_where_it_is(place):
    """Enter goes down and Backspace back to the item that one came from; the path and the place are shown."""

    async def keys(app, press):
        assert screen(app)[0] == "drydock browse"
        await press("enter")
        assert " > moby" not in screen(app)[1]
        await press("enter", "down", "down")
        assert app.at.name == "moby"
        assert "3/10 by size" in screen(app)[1]
        await press("backspace")
        assert app.query_one(Items).current.name == "moby"
        await press("left", "left")
        assert app.at.kind == "engine"
        assert screen(app)[-2].startswith("Enter down")

    drive(place, keys)


def test_every_key_that_asks(place):
    """e, f, ?, / and s show what they are to, and Esc goes back."""

    async def keys(app, press):
        await go_to(app, press, "image", "demo:v1")
        await press("e")
        assert isinstance(app.screen, Panel)
        assert any("GC root" in line for line in screen(app))
        await press("escape", "f")
        assert any("on disk:" in line for line in screen(app))
        await press("escape", "question_mark")
        assert any("go down: show what is in it" in line for line in screen(app))
        await press("escape", "s")
        assert "by unique" in screen(app)[1]
        await press("escape")
        assert app.word == ""

    drive(place, keys)


def test_marks(place):
    """Space marks what may go, with bytes at the foot; what may not says why; ! accepts a loss; Space takes back."""

    async def keys(app, press):
        await go_to(app, press, "image", "demo:v2")
        await press("space")
        assert not app.marked
        assert "stays: container killed uses it" in screen(app)[-4]
        await go_to(app, press, "image", "dang:v1")
        await press("space")
        assert not app.marked
        assert "WOULD BE LOST" in " ".join(screen(app))
        await press("exclamation_mark")
        assert [item.name for item in app.marked] == ["127.0.0.1:5000/dang:v1"]
        assert "1 marked: frees " in screen(app)[-3]
        assert any(line.startswith("*L") for line in screen(app))
        await press("enter")
        assert any(line.startswith("+L") for line in screen(app))
        await press("backspace")
        await go_to(app, press, "image", "dang:v1")
        await press("space")
        assert not app.marked
        while app.at.kind != "engine":
            await press("left")
        await press("home", "space")
        assert "go down with Enter" in " ".join(screen(app))

    drive(place, keys)


def test_a_plan_is_written_and_a_deed_is_returned(place, tmp_path):
    """P writes the file that drydock plan would write; a shows the plan and returns the same policy, m a quarantine."""

    async def plan(app, press):
        await go_to(app, press, "group", "temporary leases")
        await press("space", "p")
        await answer(app, press, str(tmp_path / "plan"))
        assert (tmp_path / "plan").read_text().startswith("{")
        assert any("drydock apply" in line for line in screen(app))
        await press("escape", "a")
        assert any("ends lease" in line for line in screen(app))
        await press("m", *"/aside", "enter")

    app = drive(place, plan)
    assert app.return_value == Clean(policy_of(app.marked), b"/aside")

    async def go_on(app, press):
        await go_to(app, press, "group", "temporary leases")
        await press("space", "a", "enter")

    app = drive(place, go_on)
    assert app.return_value == Clean(policy_of(app.marked), None)


def test_nothing_is_marked(place):
    """P and a without a mark say so."""

    async def keys(app, press):
        for key in "pa":
            await press(key)
            assert "nothing is marked" in screen(app)[-4]
        await press("q")

    assert drive(place, keys).return_value is None


def test_verify_and_export(place, tmp_path):
    """V verifies the records; x writes an image, and refuses what is none."""

    async def keys(app, press):
        await press("v", "r")
        assert any("No damage found" in line for line in screen(app))
        await press("escape", "x")
        assert "x exports an image, a container or a volume" in " ".join(screen(app))
        await go_to(app, press, "image", "demo:v1")
        await press("x")
        await answer(app, press, str(tmp_path / "image.tar"))
        assert (tmp_path / "image.tar").stat().st_size > 1_000_000

    drive(place, keys)


def test_live_only_looks(host):
    """With --live, what needs the engine stopped says so, and nothing else happens."""
    of = capture(NAME)
    place = place_of(of, host, live=True)

    async def keys(app, press):
        assert "look only" in screen(app)[0]
        for key in "pavxu":
            await press(key)
            assert "browse only looks" in " ".join(screen(app))
        await go_to(app, press, "group", "temporary leases")
        await press("space")
        assert len(app.marked) == 1

    drive(place, keys)


def test_keys_are_answered_while_it_reads(place, view):
    """While it reads, help opens, a resize is drawn, and q ends the view; what it is at is shown."""
    release = threading.Event()

    def read(progress):
        progress("bytes measured", 5 << 20, 10 << 20)
        release.wait(20)
        progress("bytes measured", 0, 10 << 20)
        return view

    object.__setattr__(place, "read", read)
    app = Browse(place)

    async def main():
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause(0.4)
            assert any("bytes measured: 5.0 MiB of 10.0 MiB (50 %)" in line for line in screen(app))
            await pilot.press("question_mark")
            await pilot.pause()
            assert isinstance(app.screen, Panel)
            await pilot.press("escape")
            await pilot.resize_terminal(120, 40)
            await pilot.pause()
            assert len(screen(app)) == 40
            release.set()
            await pilot.press("q")

    asyncio.run(main())
    assert app.return_value is None


def test_an_error_of_the_reading_ends_the_view(host):
    """What refuses the place is raised where the view is not, as for every command."""

    class Refusing(Place):
        def read(self, _):
            raise Refused("an engine runs")

    app = Browse(Refusing(str(host).encode(), Access()))

    async def main():
        async with app.run_test() as pilot:
            await pilot.pause(0.5)

    asyncio.run(main())
    assert isinstance(app.error, Refused)


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_hostile_names_stay_text(size, place, view):
    """Markup, escape sequences, bidirectional marks and wide characters in names are shown, and break no line."""
    hostile = [b"[red]x[/red]", b"[@click=app.bell]y", b"\x1b[2J\x1b]0;z\x07", "\u202eabc".encode(),
               "漢字".encode() * 60,
        b"\xff\xfe", b"a\nb", b"x" * 500]  # fmt: skip

    async def keys(app, press):
        items = [Item("image", shown(name), bytes=9 - at, names=(name,)) for at, name in enumerate(hostile)]
        app.at = Item("group", shown(b"[b]\x1b[31m"), below=items)
        app._show(app.at, None, items)
        await press()
        text = screen(app)
        assert len(text) == size[1]
        assert any("[red]x[/red]" in line for line in text)
        assert any("[@click=app.bell]y" in line for line in text)
        assert not any(char in line for line in text for char in "\x1b\x07\u202e\n")
        await press("f")
        assert any("[red]x[/red]" in line for line in screen(app))
        app.screen.query_one(Text).show([shown(name) for name in hostile])
        await press()
        assert any("[@click=app.bell]y" in line for line in screen(app))

    drive(place, keys, size)

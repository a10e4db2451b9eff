"""The three pages in Firefox: what the other tests of this folder see in Chromium, as far as browsers can differ."""

import copy
import json
import re

import pytest
from tests.support.axe import axe_script, listed
from tests.support.browser import THEMES
from tests.support.documents import run
from tests.support.fleets import MIB, host_document
from tests.support.populations import population
from tests.support.values import NOW

from drydock.model.objects import State
from drydock.report.page import render_page

# One worker's: a Firefox is started once.
pytestmark = pytest.mark.xdist_group("firefox")

SIZES = ((360, 800), (900, 900), (1600, 1000))
A4_WIDTH = 703
"""CSS pixels between margins of 12 mm."""
CONTROLS = (
    """[...document.querySelectorAll("a[href], button, input, summary, canvas, #time svg")]"""
    """.filter((each) => each.checkVisibility() && !each.disabled)"""
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of a host, of a comparison, and of a fleet, as files."""
    folder = tmp_path_factory.mktemp("pages")
    host = folder / "host.html"
    host.write_text(render_page([population(400)], NOW, None, "web-1"), encoding="utf-8")
    reports = folder / "reports"
    reports.mkdir()
    for number in range(3):
        (reports / f"{number}.json").write_text(json.dumps(host_document(number)))
    fleet = folder / "fleet.html"
    run("fleet", "--format", "html", "-o", fleet, reports, status=0)
    later = copy.deepcopy(host_document(1))
    for found in later["roots"][0]["objects"][:9]:
        found["bytes"] += MIB
    (folder / "later.json").write_text(json.dumps(later))
    compare = folder / "compare.html"
    run("compare", "--format", "html", "-o", compare, reports / "1.json", folder / "later.json", status=0)
    return {"host": host, "fleet": fleet, "compare": compare}


def test_a_complaint_is_heard(firefox, tmp_path):
    """What these tests find empty is not empty for a page that throws."""
    file = tmp_path / "bad.html"
    file.write_text("<!doctype html><meta charset=utf-8><script>throw Error('thrown')</script>")
    firefox.open(file)
    assert firefox.complaints() == ["Error: thrown"]


@pytest.mark.parametrize("name", ["host", "fleet", "compare"])
def test_it_fits_and_has_two_themes(firefox, pages, name):
    """At three widths and in both themes: nothing is complained of, nothing is wider than the screen."""
    file = pages[name]
    for size in SIZES:
        for theme in THEMES:
            firefox.open(file, size=size, theme=theme)
            assert firefox.evaluate("document.querySelectorAll('tbody tr').length") > 3
            assert firefox.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), (size, theme)
            ground = firefox.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 380) is (theme == "light")
            assert firefox.complaints() == [], (size, theme)


@pytest.mark.parametrize("name", ["host", "fleet", "compare"])
def test_the_keyboard_comes_to_every_control(firefox, pages, name):
    """Tab alone comes to each button, field and list that is shown."""
    firefox.open(pages[name])
    wanted = firefox.evaluate(f"{CONTROLS}.length")
    assert wanted > 3
    for _ in range(wanted + 5):
        firefox.press("Tab")
        firefox.evaluate("(document.activeElement.dataset.seen = 1)")
    assert firefox.evaluate(f"{CONTROLS}.filter((each) => !each.dataset.seen).map((each) => each.outerHTML)") == []


@pytest.mark.parametrize("name", ["host", "fleet", "compare"])
def test_axe_finds_nothing(firefox, pages, name):
    """No rule of axe-core is broken, on a phone in the dark."""
    firefox.open(pages[name], size=SIZES[0], theme="dark")
    firefox.run(f"{axe_script()}\n;window.axe = axe;")
    assert listed(firefox.evaluate("axe.run(document)")) == []


def test_the_table_is_read_in_pages(firefox, pages):
    """Fifty lines at a time; the pages together are every line once; a line opens, and Escape closes it."""
    firefox.open(pages["host"])
    rows = "[...document.querySelectorAll('#list tbody tr')].map((each) => each.innerText)"
    following = "[...document.querySelectorAll('.pages')].at(-1).querySelector('button:last-of-type')"
    everything = int(re.match(r"\d+", firefox.evaluate("document.getElementById('count').innerText"))[0])
    seen = firefox.evaluate(rows)
    assert len(seen) == 50
    while not firefox.evaluate(f"{following}.disabled"):
        firefox.evaluate(f"{following}.click()")
        assert firefox.evaluate("document.activeElement.rowIndex") == 1
        seen += firefox.evaluate(rows)
    assert len(seen) == everything > 100
    firefox.press("Enter")
    name = firefox.evaluate("document.activeElement.closest('dialog') && document.querySelector('dialog h2').innerText")
    assert name
    assert name in seen[-1] or any(name in each for each in seen)
    firefox.press("Escape")
    assert firefox.evaluate("document.querySelector('dialog[open]')") is None


def test_the_map_by_keyboard(firefox, pages):
    """Arrows choose and say what; Enter goes in, Escape out again."""
    firefox.open(pages["host"])
    crumbs = "document.querySelectorAll('#crumbs button').length"
    firefox.evaluate("document.getElementById('map').focus()")
    for depth in (2, 3):
        firefox.press("ArrowRight", "Enter")
        firefox.until(f"{crumbs} === {depth}")
    firefox.press("ArrowDown")
    assert " % of all" in firefox.evaluate("document.getElementById('map-info').innerText")
    firefox.press("Escape")
    firefox.until(f"{crumbs} === 2")


@pytest.mark.parametrize("name", ["host", "fleet", "compare"])
def test_it_prints(firefox, pages, name):
    """On A4 it is white, also from a dark screen, as wide as the paper, without controls; it becomes a PDF."""
    firefox.open(pages[name], theme="dark")
    assert firefox.paper().startswith(b"%PDF")
    firefox.resize(A4_WIDTH, 1000)
    firefox.as_printed()
    assert firefox.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert firefox.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    if name == "host":
        assert not firefox.evaluate("document.querySelector('.tools').checkVisibility()")
        fills = firefox.evaluate(
            "[...document.querySelectorAll('#legend .swatch rect')].map((each) => getComputedStyle(each).fill)"
        )
        assert len({fill for fill in fills if fill.startswith("url(")}) == len(State) + 3
    assert firefox.complaints() == []

"""The documentation as a site: it builds without a warning, each link leads somewhere, and it loads nothing."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from tests.support.axe import axe_script, listed
from tests.support.browser import THEMES, opened
from tests.support.newcomer import TOP

from drydock.cli import main

# One worker's: the site is built once.
pytestmark = pytest.mark.xdist_group("site")

LOADED = {"script": "src", "img": "src", "link": "href", "source": "src", "iframe": "src"}


class _Page(HTMLParser):
    """What a page leads to, what it loads, and the places in it that can be led to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids.add(given.get("id"))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if given.get(LOADED.get(tag)):
            self.loaded.append(given[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built from nothing with each warning an error: its pages by path."""
    out = tmp_path_factory.mktemp("site")
    command = ["-m", "sphinx", "--fail-on-warning", "--quiet", "--fresh-env", "-b", "html", "-d", out / "trees"]
    done = subprocess.run(
        [sys.executable, *command, TOP / "docs", out / "html"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {path: _Page(path.read_text()) for path in (out / "html").glob("*.html")}


def test_each_link_leads_somewhere(site):
    """To a page or a file of the site, and to a heading that is there; beyond it only to https."""
    for path, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in ("https", "mailto"), (path.name, link)
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), (path.name, link)
            if parts.fragment and target in site:
                assert unquote(parts.fragment) in site[target].ids, (path.name, link)


def test_it_loads_nothing_from_elsewhere(site):
    """Neither a script nor a font nor a picture."""
    for path, page in site.items():
        assert not [each for each in page.loaded if urlsplit(each).netloc], path.name
    (folder,) = {path.parent for path in site}
    for style in folder.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?https?:", style.read_text()), style.name
    for picture in (*folder.rglob("*.svg"), *(TOP / "docs/pictures").glob("*.svg")):
        assert "url(http" not in re.sub(r"['\"]", "", picture.read_text()), picture.name


def test_each_command_and_each_page_is_there(site):
    """Every command of the program has its help, and every page of docs/ is a page of the site."""
    names = {path.stem for path in site}
    assert {path.stem for path in (TOP / "docs").glob("*.md")} <= names
    (commands,) = [path.read_text() for path in site if path.stem == "commands"]
    (page,) = [page for path, page in site.items() if path.stem == "commands"]
    for name in main.list_commands(None):
        assert f"#drydock-{name}" in page.links
        assert f"drydock {name}" in re.sub(r"<[^>]+>", "", commands)


def test_no_page_is_wider_than_a_phone(chromium, site):
    """Tables and blocks of code scroll by themselves; nothing is complained of."""
    for path in site:
        with opened(chromium, path, size="phone") as page:
            assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), path.name
            assert page.complaints == [], path.name


def test_a_printed_page_skips_nowhere(chromium, site):
    """The link for the keyboard is on the screen alone."""
    (path,) = [path for path in site if path.stem == "index"]
    with opened(chromium, path) as page:
        link = page.locator("a.skip-to-content")
        assert link.is_visible()
        page.emulate_media(media="print")
        assert not link.is_visible()


@pytest.mark.parametrize("name", ["index", "clean"])
def test_pages_in_firefox(firefox, site, name):
    """At three widths, light and dark: nothing is wider than the screen, and axe-core finds nothing serious."""
    (path,) = [path for path in site if path.stem == name]
    for theme in THEMES:
        firefox.open(path, size=(1280, 800), theme=theme)
        firefox.run(f"{axe_script()}\n;window.axe = axe;")
        found = listed(firefox.evaluate("axe.run(document)"))
        assert [each for each in found if each.startswith(("critical", "serious"))] == []
        for size in ((360, 800), (900, 900), (1600, 1000)):
            firefox.resize(*size)
            assert firefox.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), (size, theme)
        # The theme's script that marks where one reads asks for the heading of an empty name.
        assert set(firefox.complaints()) <= {"Empty string passed to getElementById()."}

"""The page over many hosts, opened from a file in a real browser that can reach nothing."""

import json
import re

import pytest
from tests.support.browser import SIZES, THEMES, opened
from tests.support.documents import parsed, run
from tests.support.fleets import host_document
from tests.support.scans import scan_of_everything
from tests.support.values import NOW

from drydock.model.text import shown
from drydock.report.document import scan_document
from drydock.report.wording import show_bytes

HOSTILE = b"</script><script>window.bad=1</script><img src=x onerror=window.bad=2>{{ 7*7 }}\x1b[31m\xe2\x80\xae\"'"
FEW = 12


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Documents of a few hosts."""
    folder = tmp_path_factory.mktemp("reports")
    for number in range(FEW):
        (folder / f"{number}.json").write_text(json.dumps(host_document(number)))
    return folder


def made(folder, file, *options):
    """The page, as a file."""
    run("fleet", "--format", "html", *options, "-o", file, folder, status=0)
    return file


def table(page, title):
    """The panel with a title."""
    return page.locator("section.panel", has=page.get_by_role("heading", name=title, exact=True))


def column(panel, number):
    """What is shown in one column."""
    return panel.locator(f"tbody td:nth-child({number})").all_inner_texts()


def test_it_says_what_the_document_says(chromium, reports, tmp_path):
    """Every answer is a table, every value in it as the JSON document has it, bytes in units; nothing is asked for."""
    document = json.loads(run("fleet", "--format", "json", reports, status=0))
    file = made(reports, tmp_path / "fleet.html")
    with opened(chromium, file) as page:
        assert page.title() == f"drydock: {FEW} hosts"
        assert page.locator("h1").inner_text() == f"{FEW} hosts"
        assert f"{document['objects']} objects" in page.locator("header").inner_text()
        assert page.locator("h2").all_inner_texts() == [answer["title"] for answer in document["answers"]]
        for answer in document["answers"]:
            panel = table(page, answer["title"])
            assert panel.locator("tbody tr").count() == len(answer["rows"]) > 0
            for number, name in enumerate(answer["columns"], 1):
                values = [row[number - 1] for row in answer["rows"]]
                if name.endswith("bytes"):
                    assert column(panel, number) == [show_bytes(value) for value in values]
                elif all(type(value) in (int, str) for value in values) and name != "oldest":
                    assert column(panel, number) == [str(value) for value in values]
        states = {row[0]: row[2] for row in document["answers"][0]["rows"]}
        widths = page.evaluate(
            "[...document.querySelectorAll('.bar li')].map((li) => [li.className, li.getBoundingClientRect().width])"
        )
        assert len(widths) == len(states)
        for name, width in widths:
            share = states[name.removeprefix("state-")] / sum(states.values())
            assert abs(width / sum(width for _, width in widths) - share) < 0.02
        assert page.complaints == []
        assert page.asked == [file.as_uri()]


def test_it_sorts(chromium, reports, tmp_path):
    """By any column, both ways, by amounts and not by their text; other tables stay as they are."""
    with opened(chromium, made(reports, tmp_path / "fleet.html", "--top", "100")) as page:
        panel = table(page, "Hosts where most can be freed")
        others = column(table(page, "Images by what nothing else holds"), 1)
        used = panel.locator("td:nth-child(2)").evaluate_all("(a) => a.map((e) => Number(e.dataset.amount))")
        assert len(used) == FEW
        head = panel.locator("th").nth(1)
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        assert column(panel, 2) == [show_bytes(each) for each in sorted(used, reverse=True)]
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert column(panel, 2) == [show_bytes(each) for each in sorted(used)]
        panel.locator("th").first.get_by_role("button").click()
        assert column(panel, 1) == [f"host-{number:04}" for number in range(FEW)]
        assert head.get_attribute("aria-sort") is None
        assert column(table(page, "Images by what nothing else holds"), 1) == others
        assert page.complaints == []


def test_bars_are_in_proportion(chromium, reports, tmp_path):
    """The bar of an amount is as long as it is of the largest in its column."""
    with opened(chromium, made(reports, tmp_path / "fleet.html")) as page:
        cells = table(page, "Images by what nothing else holds").locator("td.bytes:nth-child(3)")
        found = cells.evaluate_all(
            "(a) => a.map((e) => [Number(e.dataset.amount), Number(e.style.getPropertyValue('--share'))])"
        )
        most = max(amount for amount, _ in found)
        assert [share for _, share in found] == pytest.approx([amount / most for amount, _ in found])
        assert "linear-gradient" in cells.first.evaluate("(e) => getComputedStyle(e).backgroundImage")


@pytest.fixture
def hostile(tmp_path):
    """A report in which everything, the host too, has a name that would harm the page."""
    document = parsed(scan_document([scan_of_everything(HOSTILE, inventory=True)], NOW, shown(HOSTILE)))
    document["roots"][0]["leases"][0]["reason"] = shown(HOSTILE)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.json").write_text(json.dumps(document))
    return tmp_path / "bad"


def test_hostile_names_stay_text(chromium, hostile, tmp_path):
    """Nothing of a name becomes an element, runs, or is left out; sorting moves it and does not read it."""
    file = made(hostile, tmp_path / "fleet.html")
    with opened(chromium, file) as page:
        assert page.evaluate("window.bad") is None
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 1
        panel = table(page, "Hosts where most can be freed")
        for head in page.get_by_role("columnheader").get_by_role("button").all():
            head.click()
        assert column(panel, 1) == [shown(HOSTILE)]
        assert column(table(page, "Images by what nothing else holds"), 1) == [shown(b"docker.io/" + HOSTILE)]
        assert page.evaluate("window.bad") is None
        assert page.complaints == []
        assert page.asked == [file.as_uri()]
    assert all(each.isprintable() for each in file.read_text().splitlines())


def test_the_policy_holds(chromium, reports, tmp_path):
    """Even if something got in: no other script runs, no style applies, and nothing is fetched."""
    with opened(chromium, made(reports, tmp_path / "fleet.html"), offline=False) as page:
        page.evaluate(
            """() => {
              const script = document.createElement("script");
              script.textContent = "window.bad = 1";
              const style = document.createElement("style");
              style.textContent = "body { display: none }";
              document.body.append(script, style, Object.assign(new Image(), { src: "http://127.0.0.1:9/" }));
            }"""
        )
        assert page.evaluate("window.bad") is None
        assert page.evaluate("getComputedStyle(document.body).display") == "block"
        assert len(page.complaints) == 3
        assert all("Content Security Policy" in each for each in page.complaints)


def test_own_questions(chromium, reports, tmp_path):
    """One table, with lists, nulls and no title; no line says that it was cut."""
    file = made(
        reports, tmp_path / "own.html", "--sql", "SELECT host, NULL AS nothing, ['<b>', 'c'] AS list FROM roots"
    )
    with opened(chromium, file) as page:
        assert page.locator("section.panel").count() == 1
        assert page.locator("tbody tr").count() == FEW
        assert set(page.locator("tbody td:nth-child(3)").all_inner_texts()) == {"<b> c"}
        assert set(page.locator("tbody td:nth-child(2)").all_inner_texts()) == {""}
        assert "At most" not in page.locator("footer").inner_text()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
def test_it_fits_and_has_two_themes(chromium, reports, tmp_path, size, theme):
    """No page is wider than its screen, no cell than its table; light is light and dark is dark; a picture of each."""
    with opened(chromium, made(reports, tmp_path / "fleet.html"), size=size, theme=theme) as page:
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        assert page.evaluate("[...document.querySelectorAll('.scroll')].every((e) => e.scrollWidth <= e.clientWidth)")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 380) is (theme == "light")
        page.screenshot(path=tmp_path / f"fleet-{size}-{theme}.png", full_page=True)

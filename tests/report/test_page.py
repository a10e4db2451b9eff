"""The page, opened from a file in a real browser that can reach nothing."""

import contextlib
import hashlib
import json
import re
import shlex
import socket

import pytest
from playwright.sync_api import expect
from tests.support.axe import violations
from tests.support.browser import SIZES, THEMES, opened
from tests.support.captures import capture, captures
from tests.support.documents import run
from tests.support.populations import population
from tests.support.scans import scan_of_everything
from tests.support.values import NOW

from drydock import scan as run_scan
from drydock.model.leases import LeaseClass
from drydock.model.names import RawPath, UnixNano
from drydock.model.objects import State, StoreObjects
from drydock.model.text import shown
from drydock.model.times import parse_time, show_time
from drydock.report.page import render_page
from drydock.report.wording import show_bytes

HOSTILE = (
    "</script><script>window.bad=1</script><img src=x onerror=window.bad=2>\u2028"
    "<!--{{ 7*7 }}{% raw %}\"'`&amp;${window.bad=3}\\\x1b[31m\u202e"
).encode()
CAPTURE = "docker-28.5-interrupted-pull"
A4_WIDTH = 703
"""CSS pixels between margins of 12 mm."""


@pytest.fixture
def hostile(chromium, tmp_path):
    """The page of a store in which everything has a name that would harm it."""
    yield from _open(chromium, tmp_path, scan_of_everything(HOSTILE, inventory=True))


@pytest.fixture
def plain(chromium, tmp_path):
    """The page of a store with a bit of everything."""
    yield from _open(chromium, tmp_path, population(400))


def _open(chromium, folder, scan):
    file = folder / "report.html"
    file.write_text(render_page([scan], NOW, RawPath(b"/mnt/a host"), "web-1"), encoding="utf-8")
    with opened(chromium, file) as page:
        page.scan = scan
        yield page
        assert page.complaints == []
        assert page.asked == [file.as_uri()]


def cells(page, column):
    """What is shown in one column of the table."""
    return page.locator(f"#list tbody tr td:nth-child({column})").all_inner_texts()


def count(page):
    """How many lines the filters leave."""
    return int(re.match(r"\d+", page.locator("#count").inner_text())[0])


def test_the_summary_is_in_words(plain):
    """At the top: used, what can be freed now and by ending leases, damage, and the commands."""
    totals = plain.scan.totals()
    used = sum(total.bytes for total in totals.values()) + plain.scan.verdict.store.database_bytes
    text = plain.locator(".summary").inner_text()
    for words in (
        show_bytes(used),
        show_bytes(plain.scan.plan.bytes),
        show_bytes(totals[next(state for state in totals if state.value == "leased")].bytes),
        "drydock clean '/mnt/a host'",
        "drydock clean --end-leases temporary '/mnt/a host'",
    ):
        assert words in text
    assert plain.title() == f"drydock on web-1: {plain.locator('h1').inner_text()}"
    taken = show_time(NOW).replace("T", " ").removesuffix("Z")
    assert plain.locator("header .taken").inner_text() == f"Host web-1, scanned at {taken} UTC"


def test_the_table_has_everything(plain):
    """A line for each image, container, other lease, finding and object; the selections count them."""
    scan = plain.scan
    holders = [holder for holder in scan.inventory.holders if holder.lease in (None, LeaseClass.CONTAINER)]
    leases = [lease for lease in scan.verdict.leases if lease.kind is not LeaseClass.CONTAINER]
    assert 0 < len(leases) < len(scan.verdict.leases)
    assert count(plain) == len(scan.verdict.objects) + len(holders) + len(leases) + len(scan.verdict.findings)
    images = sum(holder.ref.kind.value == "image" for holder in holders)
    plain.get_by_role("button", name=f"Images {images}").click()
    assert count(plain) == images
    assert set(cells(plain, 1)) == {"image"}
    plain.get_by_role("button", name=re.compile("^Orphans")).click()
    assert set(cells(plain, 3)) == {"orphaned"}


def test_the_table_sorts(plain):
    """By any column, both ways, by amounts and not by their text; what has no value comes last."""
    plain.locator("#kinds button", has_text="Objects").click()
    head = plain.locator('th[data-column="4"]')
    assert head.get_attribute("aria-sort") == "descending"
    sizes = sorted((each.allocated for each in plain.scan.verdict.objects), reverse=True)
    assert cells(plain, 4) == [show_bytes(size) for size in sizes[: len(cells(plain, 4))]]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert cells(plain, 4) == [show_bytes(size) for size in sizes[::-1][: len(cells(plain, 4))]]
    plain.locator('th[data-column="2"] button').click()
    names = cells(plain, 2)
    assert names == sorted(names)
    plain.locator("#kinds button", has_text="Leases").click()
    plain.locator('th[data-column="7"] button').click()
    ends = cells(plain, 7)
    assert ends == sorted(ends, reverse=True)
    assert ends[0]


def test_the_table_finds(plain):
    """Every word must be somewhere in the line; nothing found is said."""
    plain.locator("#find").fill("SHOP/ image")
    assert count(plain) == sum(
        b"shop/" in holder.names[0] for holder in plain.scan.inventory.holders if holder.lease is None
    )
    plain.locator("#find").fill("no such thing")
    assert count(plain) == 0
    assert cells(plain, 1) == []


def test_the_table_is_read_in_pages(plain):
    """Fifty lines at a time, by buttons above and below and by arrows; the pages together are every line once."""
    everything = count(plain)
    above, below = plain.locator(".pages").all()
    assert above.inner_text().split("\n")[1] == f"Lines 1 to 50 of {everything}"
    assert above.get_by_role("button", name="Previous").is_disabled()
    seen = plain.locator("#list tbody tr").all_inner_texts()
    assert len(seen) == 50
    plain.locator("#list tbody tr").last.focus()
    plain.keyboard.press("ArrowDown")
    assert plain.evaluate("document.activeElement.rowIndex") == 1
    plain.keyboard.press("ArrowUp")
    assert plain.evaluate("document.activeElement.rowIndex") == 50
    while below.get_by_role("button", name="Next").is_enabled():
        below.get_by_role("button", name="Next").click()
        assert plain.evaluate("document.activeElement.rowIndex") == 1
        seen += plain.locator("#list tbody tr").all_inner_texts()
    assert len(seen) == everything
    last = everything % 50 or 50
    assert f"Lines {everything - last + 1} to {everything} of {everything}" in below.inner_text()
    plain.locator("#kinds button", has_text="Findings").click()
    assert count(plain) <= 50
    assert not above.is_visible()


def test_a_line_tells_what_holds_it(plain):
    """Enter opens a line: the chain from what keeps it down to it, and what to type; Escape closes it."""
    plain.locator("#find").fill("unpacked live moby")
    line = plain.locator("#list tbody tr").first
    name = line.locator("td.name").inner_text()
    line.focus()
    line.press("Enter")
    detail = plain.locator("dialog[open]")
    assert detail.locator("h2").inner_text() == name
    steps = detail.locator("ol.chain").first.locator("li").all_inner_texts()
    assert re.match(r"(image|container) .*: an? (image|container)$", steps[0])
    assert len(steps) >= 2
    assert f"snapshot {name}," in steps[-1]
    assert detail.locator("code").inner_text() == f"drydock explain {name} '/mnt/a host'"
    plain.keyboard.press("Escape")
    assert plain.locator("dialog[open]").count() == 0
    line.press("ArrowDown")
    assert plain.evaluate("document.activeElement.rowIndex") == 2


def test_the_map_by_keyboard(plain):
    """Tab comes to it; arrows choose and say what; Enter goes in down to an object, Escape out again."""
    canvas = plain.locator("#map")
    canvas.focus()
    info, crumbs = plain.locator("#map-info"), plain.locator("#crumbs button")
    expect(crumbs).to_have_count(1)
    for depth in (2, 3):
        plain.keyboard.press("ArrowRight")
        plain.keyboard.press("Enter")
        expect(crumbs).to_have_count(depth)
    plain.keyboard.press("ArrowDown")
    first = info.inner_text()
    assert " % of all" in first
    plain.keyboard.press("ArrowRight")
    assert info.inner_text() != first
    plain.keyboard.press("Enter")
    assert plain.locator("dialog[open] h2").inner_text()
    plain.keyboard.press("Escape")
    canvas.focus()
    plain.keyboard.press("Escape")
    expect(crumbs).to_have_count(2)
    plain.keyboard.press("Home")
    expect(crumbs).to_have_count(1)


def test_the_keyboard_comes_to_everything(plain):
    """No part of the map can be reached with a mouse only: Page Down goes through all, the largest first."""
    plain.locator("#map").focus()
    plain.keyboard.press("PageDown")
    plain.keyboard.press("Enter")
    (space,) = [branch for branch in _tree(plain)[6] if branch[0] == "namespace"]
    seen = []
    for _ in space[6]:
        plain.keyboard.press("PageDown")
        seen.append(plain.locator("#map-info").inner_text())
    assert len(set(seen)) == len(space[6])
    assert space[6][0][1] in seen[0]
    plain.keyboard.press("PageUp")
    assert plain.locator("#map-info").inner_text() == seen[-2]


def _tree(page):
    return page.evaluate("JSON.parse(document.getElementById('data').textContent).roots[0].tree")


def test_the_map_by_mouse(plain):
    """Moving over it says what is there; a click goes in; the crumbs go out."""
    plain.locator("#map").scroll_into_view_if_needed()
    box = plain.locator("#map").bounding_box()
    plain.mouse.move(box["x"] + 40, box["y"] + box["height"] / 2)
    assert " · " in plain.locator("#map-info").inner_text()
    plain.mouse.click(box["x"] + 40, box["y"] + box["height"] / 2)
    crumbs = plain.locator("#crumbs button")
    expect(crumbs).to_have_count(2)
    crumbs.first.click()
    expect(crumbs).to_have_count(1)


def test_areas_are_in_proportion(plain):
    """As much of the map is in the colour of a state as that state has of the bytes, borders and titles apart."""
    shares = plain.evaluate(
        """() => {
          const canvas = document.getElementById("map");
          const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const style = getComputedStyle(document.documentElement);
          const counts = {};
          for (const state of ["live", "leased", "unreachable", "orphaned"]) {
            const hex = style.getPropertyValue(`--${state}`).trim();
            const rgb = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
            counts[state] = 0;
            for (let at = 0; at < pixels.length; at += 4)
              if (pixels[at] === rgb[0] && pixels[at + 1] === rgb[1] && pixels[at + 2] === rgb[2]) counts[state]++;
          }
          return counts;
        }"""
    )
    totals = {state.value: total.bytes for state, total in plain.scan.totals().items()}
    all_pixels, all_bytes = sum(shares.values()), sum(totals.values())
    assert all_pixels > 100_000
    for state, pixels in shares.items():
        assert abs(pixels / all_pixels - totals[state] / all_bytes) < 0.1, state


def test_hostile_names_stay_text(hostile):
    """Nothing of a name becomes an element, runs, or is left out."""
    assert hostile.evaluate("window.bad") is None
    assert hostile.locator("img").count() == 0
    assert hostile.locator("script").count() == 2
    assert "49" not in hostile.locator("h1").inner_text()
    name = shown(b"docker.io/" + HOSTILE)
    assert name in cells(hostile, 2)
    hostile.locator("#list tbody tr", has_text="docker.io/").first.click()
    assert hostile.locator("dialog h2").inner_text() == name
    hostile.keyboard.press("Escape")
    for line in hostile.locator("#list tbody tr").all():
        line.click()
        hostile.keyboard.press("Escape")
    assert hostile.evaluate("window.bad") is None
    assert hostile.evaluate("document.querySelectorAll('body > *').length") == 6


def test_what_is_typed_is_quoted(hostile):
    """The command for a hostile name is one word to a shell, and is the name as explain takes it."""
    hostile.locator("#list tbody tr", has_text="docker.io/").first.click()
    command = hostile.locator("dialog code").inner_text()
    assert shlex.split(command) == ["drydock", "explain", shown(b"docker.io/" + HOSTILE), "/mnt/a host"]


def test_the_policy_holds(chromium, tmp_path):
    """Even if something got in: no foreign script runs, no style, and a server beside it is never called."""
    file = tmp_path / "report.html"
    file.write_text(render_page([scan_of_everything(b"plain", inventory=True)], NOW, None))
    with socket.create_server(("127.0.0.1", 0)) as server, opened(chromium, file, offline=False) as page:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        page.evaluate(
            """(url) => {
              const script = document.createElement("script");
              script.textContent = "window.bad = 1";
              const image = document.createElement("img");
              image.src = url;
              const style = document.createElement("style");
              style.textContent = "body { display: none }";
              document.body.append(script, image, style);
              document.body.insertAdjacentHTML("beforeend", '<i onclick="window.bad=2" id="mark">x</i>');
              document.getElementById("mark").click();
              return fetch(url, { signal: AbortSignal.timeout(2000) }).catch(() => null);
            }""",
            url,
        )
        assert page.evaluate("window.bad") is None
        assert page.evaluate("getComputedStyle(document.body).display") == "block"
        assert len(page.complaints) >= 4
        server.settimeout(0.3)
        with pytest.raises(TimeoutError):
            server.accept()
        # The server can be called: without the page's policy the same browser does.
        empty = tmp_path / "empty.html"
        empty.write_text("<title>x</title>")
        page.goto(empty.as_uri())
        page.evaluate("(url) => { document.body.append(Object.assign(new Image(), { src: url })); }", url)
        server.settimeout(20)
        server.accept()[0].close()


def _contrast(one, other):
    """As WCAG 2.2 defines it, of two colours of six digits."""

    def light(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05

    lights = sorted((light(one), light(other)))
    return lights[1] / lights[0]


@pytest.mark.parametrize("theme", THEMES)
def test_words_stand_out(chromium, tmp_path, theme):
    """What is written, in the map too, has a contrast of 4.5 to 1 (WCAG 2.2, AA)."""
    file = tmp_path / "report.html"
    file.write_text(render_page([population(60)], NOW, None))
    with opened(chromium, file, theme=theme) as page:
        style = "(name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()"
        names = [*(state.value for state in State), "none", "ink", "quiet", "accent", "bad", "ground", "card", "group"]
        colours = {name: page.evaluate(style, name).replace("#fff", "#ffffff", 1)[:7] for name in names}
        for state in (*(state.value for state in State), "none"):
            assert max(_contrast(colours[state], ink) for ink in ("#ffffff", "#10161c")) >= 4.5, state
        pairs = [("ink", "ground"), ("ink", "card"), ("ink", "group"), ("quiet", "ground"), ("quiet", "card")]
        for one, other in (*pairs, ("accent", "card"), ("card", "accent"), ("bad", "card")):
            assert _contrast(colours[one], colours[other]) >= 4.5, (one, other)


def test_it_prints_in_black_and_white(chromium, tmp_path):
    """On A4 states have patterns instead of colours, also from a dark screen, and there are no controls."""
    file = tmp_path / "report.html"
    file.write_text(render_page([population(400)], NOW, None, "web-1"))
    coloured = """() => {
      const canvas = document.getElementById("map");
      const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const found = [0, 0];
      for (let at = 0; at < data.length; at += 4) {
        if (data[at] !== data[at + 1] || data[at + 1] !== data[at + 2]) found[0]++;
        else if (data[at] < 64) found[1]++;
      }
      return found;
    }"""
    with opened(chromium, file, theme="dark") as page:
        before = page.evaluate(coloured)
        assert before[0] > 100_000
        page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = ({coloured})(); }})")
        assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
        colours, black = page.evaluate("window.printed")
        assert colours == 0
        assert black > 10_000
        page.wait_for_function(f"(before) => String(({coloured})()) === String(before)", arg=before)
        page.set_viewport_size({"width": A4_WIDTH, "height": 1000})
        page.emulate_media(media="print", color_scheme="dark")
        page.wait_for_function(f"() => ({coloured})()[0] === 0")
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        fills = page.locator("#legend .swatch rect").evaluate_all("(a) => a.map((e) => getComputedStyle(e).fill)")
        shown_fills = [fill for fill in fills if fill.startswith("url(")]
        assert len(set(shown_fills)) == len(State) + 3
        patterns = page.locator(".patterns path").evaluate_all("(a) => a.map((e) => e.getAttribute('d'))")
        assert len(set(patterns)) == len(patterns) == len(State) + 3
        assert not page.locator(".tools").is_visible()
        assert not page.locator(".pages button").first.is_visible()
        times = page.locator("#list td:nth-child(6)").evaluate_all(
            "(a) => a.map((e) => e.scrollWidth <= e.clientWidth)"
        )
        assert len(times) == 50
        assert all(times)
        # Chromium complains of how the test itself reads the canvas.
        assert [words for words in page.complaints if "willReadFrequently" not in words] == []


@pytest.mark.parametrize(("size", "theme"), [("desktop", "light"), ("phone", "dark")])
def test_axe_finds_nothing(chromium, tmp_path, size, theme):
    """No rule of axe-core is broken, by the page or by the details of a line."""
    file = tmp_path / "report.html"
    file.write_text(render_page([scan_of_everything(b"plain", inventory=True)], NOW, None, "web-1"))
    with opened(chromium, file, size=size, theme=theme) as page:
        assert violations(page) == []
        page.locator("#list tbody tr").first.click()
        assert violations(page) == []


def test_the_keyboard_comes_to_every_control(plain):
    """Tab alone comes to each button, field and list that is shown, to one line of the table, and past all of them."""
    controls = "a[href], button, input, summary, canvas, #time svg"
    shown_now = (
        f"""[...document.querySelectorAll("{controls}")].filter((each) => each.checkVisibility() && !each.disabled)"""
    )
    wanted = plain.evaluate(f"{shown_now}.length")
    assert wanted > 20
    plain.evaluate("document.querySelector('.brand').scrollIntoView()")
    lines = 0
    for _ in range(wanted + 5):
        plain.keyboard.press("Tab")
        at = plain.evaluate("(document.activeElement.dataset.seen = 1, document.activeElement.tagName)")
        if at == "BODY":
            break
        lines += at == "TR"
    else:
        pytest.fail("Tab does not come to an end")
    assert lines == 1
    assert plain.evaluate(f"{shown_now}.filter((each) => !each.dataset.seen).map((each) => each.outerHTML)") == []


def test_the_time_line_by_keyboard(plain):
    """Arrows go through all columns and say of each what it is; a mouse does the same."""
    info = plain.locator("#time-info")
    plain.locator("#time svg").focus()
    said = []
    while True:
        plain.keyboard.press("ArrowRight")
        if said and info.inner_text() == said[-1]:
            break
        said.append(info.inner_text())
    assert len(said) == plain.locator("#time rect").count()
    assert {re.search(r" (\w+)$", words)[1] for words in said if words.startswith("from ")} >= {"live", "leased"}
    ends = [lease for lease in plain.scan.verdict.leases if lease.expires is not None and lease.expires >= NOW]
    assert sum(int(words.split()[0]) for words in said if not words.startswith("from ")) == len(ends) > 0
    assert not any(words.startswith("1 leases") for words in said)
    plain.keyboard.press("ArrowLeft")
    assert info.inner_text() == said[-2]
    plain.locator("#time rect").first.hover()
    assert info.inner_text() == said[0]


def test_a_new_width_leaves_the_keyboard_where_it_is(plain):
    """The time line is drawn anew for another width, and has the focus still."""
    chart = plain.locator("#time svg")
    drawn = chart.get_attribute("viewBox")
    chart.focus()
    plain.set_viewport_size({"width": 900, "height": 800})
    expect(chart).not_to_have_attribute("viewBox", drawn)
    expect(chart).to_be_focused()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
def test_it_fits_and_has_two_themes(chromium, tmp_path, tmp_path_factory, size, theme):
    """No page is wider than its screen; light is light and dark is dark; a screenshot of each is kept."""
    file = tmp_path / "report.html"
    file.write_text(render_page([population(400)], NOW, None))
    with opened(chromium, file, size=size, theme=theme) as page:
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, re.findall(r"\d+", ground)[:3])) > 380
        assert light is (theme == "light")
        page.screenshot(path=tmp_path_factory.mktemp("pictures") / f"{size}-{theme}.png")


def _lines(page):
    return page.evaluate("JSON.parse(document.getElementById('data').textContent).roots[0].rows")


def test_few_objects_have_a_line_each(plain):
    """Nothing is put together where there is no need, and nothing is said of it."""
    assert not plain.locator("#smaller").is_visible()
    assert {row[11] for row in _lines(plain)} == {1}


@pytest.mark.root
def test_a_real_host(chromium, unpacked, tmp_path):
    """``drydock scan --format html`` of a capture: the engine's own images, leases and containers are in it."""
    of = capture(CAPTURE)
    file = tmp_path / "report.html"
    run("scan", "--now", of.taken_at, "--format", "html", "-o", file, unpacked(of))
    with opened(chromium, file) as page:
        names = cells(page, 2)
        for space in of.namespaces.values():
            for image in space["images"]:
                assert image["name"] in names
        for leases in of.facts["leases_ended"].values():
            for lease in leases:
                page.locator("#find").fill(lease)
                assert count(page) == 1
        page.locator("#find").fill("")
        page.locator("#kinds button", has_text="Interrupted pulls").click()
        assert count(page) == 1
        page.locator("#list tbody tr").click()
        assert "partial" in page.locator("dialog[open]").inner_text()
        assert page.complaints == []


@pytest.mark.root
@pytest.mark.parametrize("of", captures(), ids=lambda each: each.name)
def test_every_capture_is_listed_whole(chromium, unpacked, tmp_path, of):
    """Each object of a real store is one line, also one that is kept for its own sake; bytes come to those used."""
    (scan,) = run_scan(str(unpacked(of)).encode(), now=parse_time(of.taken_at.encode()), inventory=True)
    file = tmp_path / "report.html"
    file.write_text(render_page([scan], scan.verdict.now, None))
    with opened(chromium, file) as page:
        page.locator("#kinds button", has_text="Objects").click()
        assert count(page) == len(scan.verdict.objects)
        leases = [row for row in _lines(page) for _ in row[12]]
        assert len(leases) == len(scan.verdict.leases)
        for lease in scan.verdict.leases:
            own = [shown(lease.ref.namespace), shown(lease.ref.key)]
            assert any(
                ["namespace", own[0]] in row[8]
                and (
                    row[2] == own[1]
                    or any(value.startswith(f"{own[1]}: ") for word, value in row[8] if word == "lease")
                )
                for row in leases
            )
        assert f"{len(leases)} lease" in page.locator("#time-words").inner_text()
        size = show_bytes(sum(each.allocated for each in scan.verdict.objects))
        assert page.locator("#count").inner_text().endswith(f": {size}") or size == "0 B"
        for number in range(min(20, count(page))):
            page.locator("#list tbody tr").nth(number).click()
            text = page.locator("dialog[open]").inner_text()
            assert ("Held by nothing" in text) is not ("Held by\n" in text)
            page.keyboard.press("Escape")
        assert page.complaints == []


@pytest.mark.root
def test_objects_of_the_classic_store_are_objects(chromium, unpacked, tmp_path):
    """They are selected and counted as such, those of no use are held by nothing, and no cell runs into the next."""
    of = capture("docker-28.5-classic")
    (scan,) = run_scan(str(unpacked(of)).encode(), now=parse_time(of.taken_at.encode()), inventory=True)
    file = tmp_path / "report.html"
    file.write_text(render_page([scan], scan.verdict.now, None))
    unused = [each for each in scan.verdict.objects if each.state in (State.ORPHANED, State.UNREACHABLE)]
    assert unused
    with opened(chromium, file) as page:
        page.set_viewport_size({"width": 900, "height": 900})
        page.locator("#kinds button", has_text="Held by nothing").click()
        assert count(page) == len(unused)
        states = page.locator("#list td.state").evaluate_all("(a) => a.map((e) => e.scrollWidth <= e.clientWidth)")
        assert states
        assert all(states)
        page.locator("#kinds button", has_text="Objects").click()
        assert count(page) == len(scan.verdict.objects)
        page.locator("#list tbody tr", has_text="unreachable").first.click()
        assert "Held by nothing" in page.locator("dialog[open]").inner_text()
        assert page.complaints == []


@pytest.mark.root
def test_layers_have_the_steps_that_made_them(unpacked, tmp_path):
    """Of each layer of a built image, blob and snapshot: what its config says, without BuildKit's mark."""
    of = capture("docker-29-interrupted")
    file = tmp_path / "report.html"
    run("scan", "--now", of.taken_at, "--format", "html", "-o", file, unpacked(of))
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', file.read_text(), re.DOTALL)
    rows = [row for root in json.loads(data)["roots"] for row in root["rows"]]
    said = {(row[0], row[2]): value for row in rows for word, value in row[8] if word == "made by"}
    held = {(row[0], row[2]) for row in rows if row[3] in ("live", "leased")}
    wanted, blobs = {}, {}
    for blob in unpacked(of).glob("var/lib/*/**/blobs/sha256/*"):
        with contextlib.suppress(ValueError):
            blobs[f"sha256:{blob.name}"] = json.loads(blob.read_bytes())
    for manifest in blobs.values():
        if "layers" not in manifest or "history" not in blobs.get(manifest["config"]["digest"], {}):
            continue
        config = blobs[manifest["config"]["digest"]]
        made = [each["created_by"] for each in config["history"] if not each.get("empty_layer")]
        diffs = config["rootfs"]["diff_ids"]
        assert len(made) == len(diffs) == len(manifest["layers"])
        chain = ""
        for diff, layer, step in zip(diffs, manifest["layers"], made, strict=True):
            chain = diff if not chain else f"sha256:{hashlib.sha256(f'{chain} {diff}'.encode()).hexdigest()}"
            wanted["blob", layer["digest"]] = wanted["snapshot", chain] = step.removesuffix(" # buildkit")
    assert set(said.items()) <= set(wanted.items())
    missing = held & set(wanted) - set(said)
    assert not missing, [row for row in rows if (row[0], row[2]) in missing]
    assert {kind for kind, _ in said} == {"blob", "snapshot"}
    assert any(step.startswith("RUN /bin/sh -c ") for step in said.values())


@pytest.mark.root
def test_images_of_one_name_are_told_apart(chromium, unpacked, tmp_path):
    """Where there are several namespaces each image and container says in which it is."""
    of = capture("containerd-1.6-namespaces")
    file = tmp_path / "report.html"
    run("scan", "--now", of.taken_at, "--format", "html", "-o", file, unpacked(of))
    with opened(chromium, file) as page:
        page.locator("#kinds button", has_text="Images").click()
        found = sorted(zip(cells(page, 1), cells(page, 2), strict=True))
    listed = [(f"image in {space}", image["name"]) for space, said in of.namespaces.items() for image in said["images"]]
    assert found == sorted(listed)
    assert len({name for _, name in listed}) < len(listed)


def test_what_fills_a_place(chromium, tmp_path):
    """The largest kind first with what frees it; volumes and logs are in the map and in the table."""
    file = tmp_path / "report.html"
    file.write_text(render_page([scan_of_everything(b"plain", inventory=True)], NOW, None))
    with opened(chromium, file) as page:
        panel = page.locator(".fills")
        assert "What fills /data/plain" in panel.inner_text()
        assert "volumes (2)" in panel.locator("tbody").inner_text()
        assert "you: docker volume rm NAME" in panel.locator("tbody").inner_text()
        shares = [int(each.get_attribute("data-share")) for each in panel.locator("i:first-child").all()]
        assert shares[:-1] == sorted(shares[:-1], reverse=True)  # the last row is of several kinds together
        rests = [int(each.get_attribute("data-share")) for each in panel.locator("i:last-child").all()]
        assert {share + rest for share, rest in zip(shares, rests, strict=True)} == {max(shares)}
        page.locator("#kinds button", has_text="Volumes").click()
        assert sorted(cells(page, 1)) == ["anonymous volume", "volume"]
        page.locator("#list tbody tr").first.click()
        assert "drydock explain plain" in page.locator("dialog").inner_text()
        page.keyboard.press("Escape")
        page.locator("#kinds button", has_text="Logs").click()
        assert cells(page, 1) == ["log"]
        assert page.complaints == []


def test_nothing_and_several(chromium, tmp_path):
    """A host without storage has a page that says so; several roots are one map, each with a summary."""
    file = tmp_path / "report.html"
    file.write_text(render_page([], NOW, None))
    with opened(chromium, file) as page:
        assert "No containerd storage was found" in page.locator("header").inner_text()
        assert count(page) == 0
        assert page.complaints == []
    file.write_text(render_page([population(100), population(200, seed=2)], NOW, None))
    with opened(chromium, file) as page:
        assert page.locator(".summary").count() == 2
        page.locator("#map").focus()
        for depth in (1, 2, 3):
            expect(page.locator("#crumbs button")).to_have_count(depth)
            page.keyboard.press("PageDown")
            page.keyboard.press("Enter")
        assert page.complaints == []


def test_numbers_out_of_bounds(chromium, tmp_path):
    """Times and sizes that no clock and no disk has, as a damaged database may have them, break nothing."""
    scan = population(60)
    objects = list(scan.verdict.objects)
    for number, found in enumerate(objects):
        found.allocated = (0, -5, 2**63, 2**80)[number % 4]
    scan.verdict.objects = StoreObjects(objects)
    for number, holding in enumerate(list(scan.verdict.leases)):
        ends = UnixNano((-(2**80), 2**90, 0, NOW + 1)[number % 4])
        scan.verdict.leases[number] = holding._replace(expires=ends, created=ends)
    file = tmp_path / "report.html"
    file.write_text(render_page([scan], NOW, None))
    with opened(chromium, file) as page:
        page.locator("#kinds button", has_text="Leases").click()
        for line in page.locator("#list tbody tr").all():
            line.click()
            page.keyboard.press("Escape")
        assert page.complaints == []


def test_the_script_ends_where_it_ends():
    """The template puts style and script in as they are: neither holds what would end its element."""
    text = render_page([], NOW, None)
    assert len(re.findall(r"</script", text, re.IGNORECASE)) == 2
    assert len(re.findall(r"</style", text, re.IGNORECASE)) == 1
    assert "nothing found" in text


def test_the_data_is_json_without_markup():
    """What JSON.parse gets is what was put in, and holds no character that HTML gives a meaning."""
    text = render_page([scan_of_everything(HOSTILE, inventory=True)], NOW, None)
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert not re.search("[<>&'\u2028\u2029]", data)
    assert any(shown(HOSTILE) in row[2] for row in json.loads(data)["roots"][0]["rows"])

"""The page of a store with very many objects: small, quick, and every sum in it as in the document."""

import os
import re
import time

import pytest
from playwright.sync_api import expect
from tests.support.browser import opened
from tests.support.documents import parsed
from tests.support.populations import population
from tests.support.values import NOW

from drydock.model.objects import State
from drydock.report.document import scan_document
from drydock.report.page import render_page
from drydock.report.wording import show_bytes

_SUMS = """(objects) => {
  const data = JSON.parse(document.getElementById("data").textContent), rows = {}, map = {}, times = {};
  const add = (to, state, count, bytes) => {
    to[state] ??= [0, 0];
    to[state][0] += count;
    to[state][1] += bytes;
  };
  for (const root of data.roots) {
    const own = root.rows.filter((row) => objects.includes(row[0]));
    for (const row of own) add(rows, row[3], row[11], row[4]);
    for (const row of own) if (row[11] === 1 && row[6] !== null && row[4] > 0) add(times, row[3], 1, row[4]);
    for (const [, state, bytes, count] of root.times) add(times, state, count, bytes);
    const stack = [root.tree];
    while (stack.length) {
      const [, , , , , , branches, places, smaller] = stack.pop();
      stack.push(...branches);
      for (const place of places) add(map, root.rows[place][3], 1, root.rows[place][4]);
      for (const [state, count, bytes] of smaller) add(map, state, count, bytes);
    }
  }
  return [rows, map, times];
}"""


SIZES = [(20_000, 60, 15), *([(200_000, 90, 20)] if "DRYDOCK_TEST_LONG" in os.environ else [])]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "seconds", "mebibytes"), SIZES)
def test_very_many_objects(chromium, tmp_path, number, seconds, mebibytes):
    """It is small, opens, sorts, finds and moves about; table, map and time line each come to what the document says.

    Bounds of time are wide, as CI's machines differ. What smaller objects are put together is told.
    """
    scan = population(number)
    total = len(scan.verdict.objects)
    assert total >= number
    (root,) = parsed(scan_document([scan], NOW))["roots"]
    file = tmp_path / "report.html"
    file.write_text(render_page([scan], NOW, None))
    assert file.stat().st_size < mebibytes << 20
    begin = time.monotonic()
    with opened(chromium, file) as page:
        rows, plot, times = page.evaluate(_SUMS, ["blob", "ingest", "snapshot"])
        totals = {state: [each["count"], each["bytes"]] for state, each in root["totals"].items() if each["count"]}
        assert rows == totals
        # What takes no space has no place in the map and on the time line.
        assert {state: size for state, (_, size) in plot.items() if size} == {
            state: size for state, (_, size) in totals.items() if size
        }
        assert times == {
            state.value: [sum(found.state is state and found.allocated > 0 for found in scan.verdict.objects), size]
            for state in State
            if (size := totals.get(state.value, [0, 0])[1])
        }
        shares = page.locator(".bar li").evaluate_all("(a) => a.map((e) => Number(e.dataset.share))")
        assert sorted(shares) == sorted(size for _, size in totals.values() if size)
        with_bytes = sum(found.allocated > 0 for found in scan.verdict.objects)
        assert f"in {with_bytes} objects with a time" in page.locator("#time-words").inner_text()
        assert f"Of {total} objects 20000 have a line each" in page.locator("#smaller").inner_text()
        page.locator("#kinds button", has_text="Objects").click()
        assert count(page) == total
        assert page.locator("#count").inner_text().endswith(f": {show_bytes(sum(shares))}")
        page.locator("#kinds button", has_text="Damaged").click()
        assert set(cells(page, 3)) <= {"missing", "corrupt", "damage"}
        assert not any("smaller" in name for name in cells(page, 2))
        page.locator("#kinds button", has_text="All").click()
        page.locator("#find").fill("smaller blobs live moby")
        assert count(page) == sum(
            row[11] for row in _lines(page) if re.fullmatch(r"\d+ smaller blobs", row[2]) and row[3] == "live"
        )
        page.locator("#list tbody tr").first.click()
        assert "drydock scan --format csv -o objects.csv" in page.locator("dialog[open]").inner_text()
        assert "Held by nothing" not in page.locator("dialog[open]").inner_text()
        page.keyboard.press("Escape")
        page.locator('th[data-column="2"] button').click()
        page.locator("#find").fill("web:1.")
        assert count(page) > 0
        page.locator("#map").focus()
        for key in ("ArrowRight", "Enter", "ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
        expect(page.locator("#crumbs button")).to_have_count(2)
        assert page.complaints == []
        assert time.monotonic() - begin < seconds


def cells(page, column):
    """What is shown in one column of the table."""
    return page.locator(f"#list tbody tr td:nth-child({column})").all_inner_texts()


def count(page):
    """How many things the filters leave."""
    return int(re.match(r"\d+", page.locator("#count").inner_text())[0])


def _lines(page):
    return page.evaluate("JSON.parse(document.getElementById('data').textContent).roots[0].rows")

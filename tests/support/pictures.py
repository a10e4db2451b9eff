"""Makes docs/pictures: ``python -m tests.support.pictures``."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.support.browser import browser, opened
from tests.support.documents import run
from tests.support.fleets import host_document
from tests.support.populations import population
from tests.support.values import NOW

from drydock.report.page import render_page

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"


def main() -> None:
    """Take pictures of the page of a host, on a desktop and on a phone, and of the page over many hosts."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browser() as started:
        file = Path(folder) / "report.html"
        file.write_text(render_page([population(330, seed=7)], NOW, None), encoding="utf-8")
        for size, theme, height in (("desktop", "light", 1080), ("phone", "dark", 844)):
            with opened(started, file, size=size, theme=theme) as page:
                width = page.viewport_size["width"]
                page.set_viewport_size({"width": width, "height": height})
                if size == "phone":
                    page.evaluate("document.getElementById('map-title').scrollIntoView()")
                page.wait_for_timeout(300)
                page.screenshot(path=FOLDER / f"page-{size}-{theme}.png")
        reports = Path(folder) / "reports"
        reports.mkdir()
        for number in range(48):
            (reports / f"{number}.json").write_text(json.dumps(host_document(number)))
        over_all = Path(folder) / "fleet.html"
        run("fleet", "--format", "html", "--top", "8", "-o", over_all, reports)
        with opened(started, over_all) as page:
            page.screenshot(path=FOLDER / "fleet-desktop-light.png")


if __name__ == "__main__":
    main()

"""Makes docs/pictures: ``python -m tests.support.pictures``."""

from __future__ import annotations

import io
import json
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text
from tests.support.browser import browser, opened
from tests.support.captures import capture, unpack
from tests.support.documents import run
from tests.support.fleets import host_document
from tests.support.populations import population
from tests.support.program import DRYDOCK
from tests.support.terminal import on_terminal
from tests.support.tmux import terminal
from tests.support.values import NOW

from drydock.model.disk_usage import FileSystem, PlaceUsage, UsageCategory, UsageEntry
from drydock.model.names import RawPath
from drydock.model.scans import Scan
from drydock.report.page import render_page

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"


COLUMNS = 100


def record() -> None:
    """Record commands on a terminal, as they run on a capture of a Docker 29 host; rich draws what they wrote."""
    of = capture("docker-29-interrupted")
    with tempfile.TemporaryDirectory() as folder:
        host = unpack(of, Path(folder))
        for name, words in {
            "scan": ("scan", "--measure", "disk"),
            "pulls": ("pulls",),
            "clean": ("clean", "--end-leases", "temporary"),
        }.items():
            said, status = on_terminal(*words, "--now", of.taken_at, host, columns=COLUMNS)
            assert status < 2, said
            console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
            console.print(Text(f"# drydock {' '.join(words)}", style="bold"))
            # The host lies elsewhere than at / only for the picture.
            text = re.sub(rf" {re.escape(str(host))}(?=\s)", "", said).replace(str(host), "").replace("\r\n", "\n")
            console.print(Text.from_ansi(text.rstrip()))
            drawn = console.export_svg(title=f"{of.name}, {of.taken_at[:10]}", unique_id=name)
            (FOLDER / f"terminal-{name}.svg").write_text(without_fonts(drawn), encoding="utf-8")


def without_fonts(svg: str) -> str:
    """A picture that asks no network for a font: that of the reader's system is as good."""
    return re.sub(r"\n *@font-face \{.*?\n *\}", "", svg, flags=re.DOTALL)


def record_browse() -> None:
    """Record the view in tmux, on the same capture: the temporary leases of its namespace are marked."""
    of = capture("docker-29-interrupted")
    with tempfile.TemporaryDirectory() as folder:
        host = unpack(of, Path(folder))
        with terminal([*DRYDOCK, "browse", "--now", of.taken_at, host], columns=COLUMNS) as screen:
            screen.sees("nothing is marked")
            screen.presses("Enter", "daemon +1/")
            screen.presses("Enter", "moby +1/")
            screen.presses("End", "10/10 by size")
            screen.presses("Space", "1 marked: frees ")
            said = screen.text(colours=True)
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    # The host lies elsewhere than at / only for the picture.
    text = re.sub(r"(?m)^\S*(?=/var/lib/docker > )", "docker ", said.replace(str(host), ""))
    console.print(Text.from_ansi(text.rstrip()))
    drawn = console.export_svg(title=f"drydock browse, {of.name}, {of.taken_at[:10]}", unique_id="browse")
    (FOLDER / "terminal-browse.svg").write_text(without_fonts(drawn), encoding="utf-8")


def _places(scan: Scan) -> list[PlaceUsage]:
    """A data root with volumes, logs and a folder of no known kind, and the containerd root of the scan."""
    data = RawPath(b"/var/lib/docker")
    usage = (
        (UsageCategory.NAMED_VOLUMES, b"pgdata", 812, (b"db",)),
        (UsageCategory.ANONYMOUS_VOLUMES, b"4e1c" * 16, 143, ()),
        (UsageCategory.LOGS, b"web", 391, None),
        (UsageCategory.LOGS, b"db", 22, None),
        (UsageCategory.UNKNOWN, b"backup-before-upgrade", 264, None),
        (UsageCategory.TMP, b"tmp", 48, None),
    )
    entries = tuple(
        UsageEntry(category, name, RawPath(b"/".join((data, category.value.encode(), name))), size << 20, used_by=users)
        for category, name, size, users in usage
    )
    scan.verdict.store.root = scan.verdict.store.root._replace(docker=(data,))
    root = scan.verdict.store.root.path
    held = sum(found.allocated for found in scan.verdict.objects)
    content = UsageEntry(UsageCategory.CONTENT, b"", RawPath(root + b"/content"), held + (5 << 20))
    disk = FileSystem(7, data, 8 << 30, 7 << 30, 1 << 30, 524_288, 401_112)
    return [PlaceUsage(data, entries, disk), PlaceUsage(root, (content,), disk._replace(path=root))]


def main() -> None:
    """Take pictures of the page of a host, on a desktop and on a phone, and of the page over many hosts; record."""
    FOLDER.mkdir(exist_ok=True)
    record()
    record_browse()
    with tempfile.TemporaryDirectory() as folder, browser() as started:
        file = Path(folder) / "report.html"
        scan = population(330, seed=7)
        scan.places = _places(scan)
        file.write_text(render_page([scan], NOW, None, "build-7.example"), encoding="utf-8")
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

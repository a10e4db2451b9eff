"""A real browser that can reach nothing: Debian's Chromium, driven by Playwright.

Its shell without windows is taken if it is there: the same engine, for half the processor time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
THEMES = ("light", "dark")


class BrowserUnavailable(Exception):
    """There is no browser here; the message is the reason, in one line. Tests skip on it and print it."""


@contextmanager
def browser() -> Iterator[Any]:
    """A browser.

    Raises:
        BrowserUnavailable: it is not installed.
    """
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        raise BrowserUnavailable("Chromium is not installed")
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start as root; the pages are this package's own.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


@contextmanager
def opened(
    started: Any, file: Path, *, size: str = "desktop", theme: str = "light", offline: bool = True
) -> Iterator[Any]:
    """A page opened from a file.

    What it asks for is in ``page.asked``, and what its scripts complain of in ``page.complaints``.
    """
    width, height = SIZES[size]
    context = started.new_context(viewport={"width": width, "height": height}, color_scheme=theme, offline=offline)
    try:
        page = context.new_page()
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.goto(file.as_uri())
        yield page
    finally:
        context.close()

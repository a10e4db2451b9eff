"""Debian's Firefox, driven by its own protocol, Marionette: it needs no driver; one start has both themes, and print.

Playwright's Firefox is a build of its own, and its WebDriver BiDi asks for commands that an ESR does not have. The
protocol is JSON with its length before it (Firefox 153, remote/doc/marionette/Protocol.md).
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.browser import BrowserUnavailable

_PREFERENCES: Final = {
    "marionette.port": 0,
    # No look for updates, no page of welcome, nothing that a page did not ask for.
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.max_script_run_time": 0,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.manage-offline-status": False,
    "network.proxy.type": 1,
    "network.proxy.socks": "127.0.0.1",
    "network.proxy.socks_port": 9,
    "remote.prefs.recommended": True,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "ui.prefersReducedMotion": 1,
}
_KEYS: Final = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Escape": "\ue00c",
    "PageUp": "\ue00e",
    "PageDown": "\ue00f",
    "Home": "\ue011",
    "ArrowLeft": "\ue012",
    "ArrowUp": "\ue013",
    "ArrowRight": "\ue014",
    "ArrowDown": "\ue015",
}
_SCHEMES: Final = {"dark": 0, "light": 1}
_WIDER: Final = 1700
"""Of the window: each width that is looked at fits in."""
_COMPLAINTS: Final = """
return Services.console.getMessageArray()
  .filter((each) => each instanceof Ci.nsIScriptError && !/^(chrome|resource|moz-extension):/.test(each.sourceName))
  .map((each) => each.errorMessage);
"""
_SIZE: Final = """
const [width, height] = arguments, style = gBrowser.selectedBrowser.style;
for (const edge of ["min", "max"]) {
  style.setProperty(`${edge}-width`, `${width}px`);
  style.setProperty(`${edge}-height`, `${height}px`);
}
"""
_SCHEME: Final = "Services.prefs.setIntPref('layout.css.prefers-color-scheme.content-override', arguments[0]);"
_MEDIUM: Final = "gBrowser.selectedBrowser.browsingContext.mediumOverride = arguments[0];"


class Firefox:
    """A browser with one tab."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rwb")
        self._number = 0
        self._read()
        capabilities = self._send("WebDriver:NewSession", {"pageLoadStrategy": "normal"})["capabilities"]
        self.version: str = capabilities["browserVersion"]
        self._send("WebDriver:SetWindowRect", {"width": _WIDER, "height": 1200})

    def open(self, file: Path, *, size: tuple[int, int] = (1280, 900), theme: str = "light") -> None:
        """Open a page from a file, in a part of the window of that many pixels."""
        self._privileged(_SCHEME, _SCHEMES[theme])
        self._privileged(_MEDIUM, "")
        self._privileged("Services.console.reset();")
        self.resize(*size)
        self._send("WebDriver:Navigate", {"url": file.as_uri()})

    def resize(self, width: int, height: int) -> None:
        """Give the page that many pixels."""
        self._privileged(_SIZE, width, height)
        self.until(f"innerWidth === {width} && innerHeight === {height}")

    def as_printed(self) -> None:
        """Show the page as it would be on paper, in the size it has."""
        self._privileged(_MEDIUM, "print")
        self.until("matchMedia('print').matches")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; of a promise what it becomes."""
        words = {"script": f"return {expression}", "args": [], "newSandbox": False}
        return self._send("WebDriver:ExecuteScript", words)["value"]

    def run(self, script: str) -> None:
        """Run a script that others in the page can use later."""
        self._send("WebDriver:ExecuteScript", {"script": script, "args": [], "newSandbox": False})

    def until(self, expression: str) -> None:
        """Wait until an expression is true.

        Raises:
            AssertionError: it is not within 10 s.
        """
        end = time.monotonic() + 10
        while not self.evaluate(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other: a name, or a character."""
        pressed = [_KEYS.get(key, key) for key in keys]
        steps = [{"type": type_, "value": key} for key in pressed for type_ in ("keyDown", "keyUp")]
        self._send("WebDriver:PerformActions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def complaints(self) -> list[str]:
        """The errors of the scripts of the page."""
        found: list[str] = self._privileged(_COMPLAINTS)
        return found

    def picture(self) -> bytes:
        """What is shown, as PNG."""
        return base64.b64decode(self._send("WebDriver:TakeScreenshot", {"full": False})["value"])

    def paper(self) -> bytes:
        """The page on A4, as PDF, with the margins that it asks for."""
        size = {"width": 21.0, "height": 29.7}
        return base64.b64decode(
            self._send("WebDriver:Print", {"page": size, "background": False, "shrinkToFit": False})["value"]
        )

    def close(self) -> None:
        """End the browser."""
        self._send("Marionette:Quit", {"flags": ["eForceQuit"]})

    def _privileged(self, script: str, *args: object) -> Any:
        self._send("Marionette:SetContext", {"value": "chrome"})
        try:
            return self._send("WebDriver:ExecuteScript", {"script": script, "args": args})["value"]
        finally:
            self._send("Marionette:SetContext", {"value": "content"})

    def _send(self, name: str, words: dict[str, Any]) -> Any:
        self._number += 1
        text = json.dumps([0, self._number, name, words]).encode()
        self._file.write(b"%d:%s" % (len(text), text))
        self._file.flush()
        _, number, error, result = self._read()
        assert number == self._number
        assert error is None, (name, error["error"], error["message"])
        return result

    def _read(self) -> Any:
        length = b""
        while (byte := self._file.read(1)) != b":":
            assert byte, "Firefox has ended"
            length += byte
        return json.loads(self._file.read(int(length)))


@contextmanager
def firefox() -> Iterator[Firefox]:
    """A Firefox, with a profile of its own, that can reach nothing.

    Raises:
        BrowserUnavailable: Firefox is not installed.
    """
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        raise BrowserUnavailable("firefox-esr is not installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in _PREFERENCES.items()]
        Path(folder, "user.js").write_text("".join(lines))
        # With system access: the console, the theme and the medium are the browser's, not the page's.
        words = [path, "--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", folder]
        started = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            with socket.create_connection(("127.0.0.1", _port(started, Path(folder))), timeout=60) as connection:
                browser = Firefox(connection)
                yield browser
                browser.close()
            started.wait(timeout=20)
        finally:
            started.kill()
            started.wait()


def _port(started: subprocess.Popen[bytes], profile: Path) -> int:
    """Where Marionette listens, as Firefox writes it into its profile."""
    file = profile / "MarionetteActivePort"
    end = time.monotonic() + 60
    while started.poll() is None and time.monotonic() < end:
        if file.exists() and (text := file.read_text()):
            return int(text)
        time.sleep(0.05)
    raise AssertionError("Firefox did not start")

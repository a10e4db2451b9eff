"""A Go compiler new enough: this machine's, or the one that the module proxy has, unpacked once and kept."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import urllib.request
import zipfile
from pathlib import Path

from tests.engines.cache import kept
from tests.engines.unavailable import EngineUnavailable

VERSION = "1.26.8"
"""Of the toolchain that is fetched where none is here."""
_SUMS = {"x86_64": ("amd64", "30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7")}
"""By machine: Go's name of it, and the sha256 of the toolchain module's archive of :data:`VERSION`."""


def new_enough(wanted: str) -> Path:
    """A ``go`` of at least a version.

    Go 1.21 and later could fetch the toolchain themselves; Debian 12's, 1.19, cannot.

    Raises:
        EngineUnavailable: none is here, and the module proxy does not give one.
    """
    here = shutil.which("go")
    if here is not None and _numbers(version(Path(here))) >= _numbers(wanted):
        return Path(here)
    if _numbers(VERSION) < _numbers(wanted):
        raise EngineUnavailable(f"Go {wanted} is not here, and what is fetched is {VERSION}")
    return kept(f"go-{VERSION}", _fetch) / "bin/go"


@functools.cache
def version(compiler: Path) -> str:
    """Its version, for example ``1.26.8``."""
    said = subprocess.run([compiler, "version"], env=_quiet(), capture_output=True, check=True).stdout.decode()
    found = re.search(r"\bgo(\d\S*)", said)
    assert found is not None, said
    return found[1]


def environment(where: Path, *, cgo: bool = False) -> dict[str, str]:
    """What ``go build`` is to run with: nothing of the user's settings but proxies, checksums and caches.

    Caches that the user has not named lie below ``where``: HOME, on which Go's defaults depend, may not be set.
    """
    made = {
        **_quiet(),
        "GOFLAGS": "-mod=readonly -buildvcs=false -modcacherw",
        "GOWORK": "off",
        "GO111MODULE": "on",
        "CGO_ENABLED": "1" if cgo else "0",
    }
    made.setdefault("GOPATH", str(where / "go-path"))
    made.setdefault("GOCACHE", str(where / "go-cache"))
    return made


def _quiet() -> dict[str, str]:
    """Without GOTOOLCHAIN=local, Go 1.21 and later would take another Go than the one that was called."""
    return {**os.environ, "GOTOOLCHAIN": "local"}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _fetch(made: Path) -> None:
    machine, wanted = _SUMS.get(platform.machine(), ("", ""))
    if not machine:
        raise EngineUnavailable(f"no Go {VERSION} here, and none is fetched for {platform.machine()}")
    name = f"v0.0.1-go{VERSION}.linux-{machine}"
    archive = made.with_suffix(".zip")
    _download(f"golang.org/toolchain/@v/{name}.zip", archive)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != wanted:
        raise EngineUnavailable(f"Go {VERSION} from the module proxy: sha256 {found}, expected {wanted}")
    # A module's archive keeps no modes: go itself makes these executable as well.
    with zipfile.ZipFile(archive) as opened:
        prefix = f"golang.org/toolchain@{name}/"
        for entry in opened.infolist():
            path = made / entry.filename.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(opened.read(entry))
            if path.is_relative_to(made / "bin") or path.is_relative_to(made / "pkg/tool"):
                path.chmod(0o755)
    archive.unlink()


def _download(path: str, into: Path) -> None:
    failed = "GOPROXY names no proxy"
    for proxy in _proxies():
        failed = _get(f"{proxy}/{path}", into)
        if not failed:
            return
    raise EngineUnavailable(f"no Go {VERSION} here, and none to be had: {failed}")


def _get(url: str, into: Path) -> str:
    """Why it could not be fetched, or nothing."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, into.open("wb") as output:
            shutil.copyfileobj(answer, output)
    except OSError as error:
        return f"{url}: {error}"
    return ""


def _proxies() -> list[str]:
    """Those of GOPROXY that can be asked by URL, in order."""
    here = shutil.which("go")
    if here is not None:
        # Any Go, however old, has its own default.
        said = subprocess.run([here, "env", "GOPROXY"], env=_quiet(), capture_output=True, check=False).stdout.decode()
    else:
        said = os.environ.get("GOPROXY", "")
    named = [entry.strip().rstrip("/") for entry in re.split("[,|]", said.strip())]
    return [entry for entry in named if re.match("https?://|file://", entry)]

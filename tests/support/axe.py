"""axe-core, which finds in a page what keeps people out of it, from the npm registry."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.engines.cache import kept
from tests.engines.unavailable import EngineUnavailable

VERSION = "4.14.1"
_INTEGRITY = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
"""Of the package's archive, as package-lock.json would have it."""


def violations(page: Any) -> list[str]:
    """What axe finds in an opened page as it is now: how serious, which rule, and where.

    Raises:
        EngineUnavailable: npm or its registry is not to be had here.
    """
    script = (kept(f"axe-core-{VERSION}", _fetch) / "axe.min.js").read_text(encoding="utf-8")
    page.evaluate(f"{script}\n;undefined")
    found = page.evaluate("axe.run(document)")
    assert len(found["passes"]) > 5
    return [
        f"{each['impact']} {each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def _fetch(folder: Path) -> None:
    if shutil.which("npm") is None:
        raise EngineUnavailable("npm is not installed")
    folder.mkdir()
    words = ["npm", "pack", "--silent", f"axe-core@{VERSION}"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise EngineUnavailable(f"axe-core from the npm registry: {done.stderr.strip()[-200:]}")
    archive = folder / f"axe-core-{VERSION}.tgz"
    integrity = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if integrity != _INTEGRITY:
        raise EngineUnavailable(f"axe-core {VERSION} from the npm registry: sha512 {integrity}, expected {_INTEGRITY}")
    with tarfile.open(archive) as packed:
        script = packed.extractfile("package/axe.min.js")
        assert script is not None
        (folder / "axe.min.js").write_bytes(script.read())
    archive.unlink()

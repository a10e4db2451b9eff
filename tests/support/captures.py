"""Captures of real engines: what was taken, what the engine said of it, and how to unpack it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "fixtures"


class CaptureUnavailable(Exception):
    """A capture cannot be unpacked here; the message is the reason, in one line. Tests skip on it and print it."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One capture; ``facts`` is its JSON file, the fields below are those every test needs (fixtures/README.md)."""

    name: str
    archive: Path
    sha256: str
    """Of the archive."""
    engine: str
    """``docker``, ``containerd``, ``buildkit`` or ``nerdctl``, which is a user's."""
    version: str
    """Of the engine."""
    containerd: str
    """Version of the containerd that made it."""
    taken_at: str
    """UTC, RFC 3339: the clock to judge leases by."""
    root: str
    """The containerd root, or that of BuildKit's worker, relative to where it is unpacked."""
    docker: str | None
    """The Docker data root, relative, if there is one."""
    facts: Mapping[str, Any]
    classic: bool = False
    """Whether its dockerd has the classic image store."""
    switched: bool = False
    """Whether its data root has both stores."""

    @property
    def namespaces(self) -> dict[str, dict[str, Any]]:
        """What ctr listed with no collection made, per namespace (tests.engines.listing.Listing)."""
        return dict(self.facts["namespaces"])

    @property
    def content(self) -> str:
        """The content store, relative to the root."""
        return "content" if self.engine == "buildkit" else "io.containerd.content.v1.content"

    @property
    def planted(self) -> list[dict[str, str]]:
        """What the recipe put there by hand: ``path`` (relative to the containerd root) and ``what``."""
        return list(self.facts["planted"])


def every_capture() -> list[Capture]:
    """All captures of the manifest, by name."""
    manifest = json.loads((FOLDER / "MANIFEST.json").read_text())
    return [_capture(name, entry) for name, entry in sorted(manifest["captures"].items())]


def captures() -> list[Capture]:
    """Those whose images are in a containerd of the host's alone, by name."""
    others = ("buildkit", "nerdctl")
    return [each for each in every_capture() if not (each.classic or each.switched or each.engine in others)]


def classic_captures() -> list[Capture]:
    """Those whose images are in dockerd's classic store, by name."""
    return [each for each in every_capture() if each.classic]


def capture(name: str) -> Capture:
    """One capture.

    Raises:
        KeyError: there is none of that name.
    """
    found = {each.name: each for each in every_capture()}
    return found[name]


def clock(capture: Capture) -> str:
    """The time to judge a capture's leases by where an engine judges them too: now, but not before it was taken."""
    return max(datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), capture.taken_at)


def unpack(capture: Capture, directory: Path) -> Path:
    """Unpack a capture into an existing folder, and give that folder: it looks like the root of a mounted host.

    Raises:
        CaptureUnavailable: not root (owners, devices and trusted xattrs would be lost), or no tar or zstd.
        ValueError: the archive is not the one of the manifest.
    """
    if os.geteuid() != 0:
        raise CaptureUnavailable("unpacking a capture needs root: owners, device nodes and trusted xattrs")
    for tool in ("tar", "zstd"):
        if shutil.which(tool) is None:
            raise CaptureUnavailable(f"{tool} is not installed")
    actual = hashlib.sha256(capture.archive.read_bytes()).hexdigest()
    if actual != capture.sha256:
        raise ValueError(f"{capture.archive.name}: sha256 {actual}, the manifest has {capture.sha256}")
    extract(capture.archive, directory)
    return directory


def extract(archive: Path, directory: Path) -> None:
    """Unpack an archive as root, with everything it holds."""
    subprocess.run(
        ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-permissions", "--zstd",
         "-C", str(directory), "-xf", str(archive)],
        check=True,
    )  # fmt: skip


def _capture(name: str, entry: Mapping[str, Any]) -> Capture:
    facts = json.loads((FOLDER / f"{name}.json").read_text())
    return Capture(
        name=name,
        archive=FOLDER / f"{name}.tar.zst",
        sha256=entry["sha256"],
        engine=facts["engine"],
        version=facts["version"],
        containerd=facts["containerd"],
        taken_at=facts["taken_at"],
        root=facts["root"],
        docker=facts["docker"],
        facts=facts,
        classic=entry.get("classic", False),
        switched=entry.get("switched", False),
    )

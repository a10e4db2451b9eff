"""Go's archive/tar, as an oracle: containerd unpacks layers with it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gobuild import build

HASHED = 1 << 26
"""Bytes of an entry that Go hashes."""
_LIST = Path(__file__).parents[1] / "verification/go/list"


@dataclass(frozen=True)
class Listed:
    """An archive, as Go reads it."""

    entries: tuple[dict[str, Any], ...]
    """Each with ``name``, ``link`` and ``records`` (of bytes), ``kind`` (one byte), numbers, ``mtime``, ``sha256``."""
    error: str
    """What ended it; empty where that was its end."""


def why_not() -> str:
    """The reason why there is no Go here; empty where there is."""
    return "" if shutil.which("go") else "no Go compiler: apt install golang-go"


def list_tar(raw: bytes) -> Listed:
    """Read an archive with Go."""
    output = subprocess.run([build(_LIST)], input=raw, capture_output=True, check=True, timeout=60).stdout
    *entries, last = map(json.loads, output.splitlines())
    for entry in entries:
        entry["kind"] = bytes([entry["kind"]])
        for field in ("name", "link", "sha256"):
            entry[field] = bytes.fromhex(entry[field])
        entry["records"] = {bytes.fromhex(key): bytes.fromhex(value) for key, value in entry["records"].items()}
    return Listed(tuple(entries), last["end"])

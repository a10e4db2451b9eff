"""Go programs of the tests, each built once from its one source file and kept."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

GOPATH = Path("/usr/share/gocode")
"""Where Debian's packages of Go libraries lie."""


def cache() -> Path:
    """Where built programs are kept: $DRYDOCK_TEST_CACHE, or a directory of the user's cache."""
    named = os.environ.get("DRYDOCK_TEST_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "drydock-tests"


def build(folder: Path) -> Path:
    """The program of ``folder/main.go``, built if its source has changed; it uses the standard library and Debian's."""
    source = folder / "main.go"
    made = cache() / f"go-{folder.name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        partial = made.with_suffix(f".{os.getpid()}")
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GOPATH), "GOFLAGS": "", "CGO_ENABLED": "0"}
        environment.setdefault("GOCACHE", str(cache() / "go-build"))
        subprocess.run(["go", "build", "-o", partial, "."], cwd=source.parent, env=environment, check=True)
        partial.replace(made)
    return made

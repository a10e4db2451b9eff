"""The folder where what engines need is kept, each thing made once: suites, binaries, a Go."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.engines.unavailable import EngineUnavailable

_failures: dict[str, str] = {}
"""What could not be made in this run: no test after the first waits for a mirror or a proxy again."""


def folder() -> Path:
    """``$DRYDOCK_ENGINES``, by default /var/cache/drydock-engines, or a folder of the user's cache without root."""
    named = os.environ.get("DRYDOCK_ENGINES")
    if named:
        return Path(named)
    return Path("/var/cache/drydock-engines") if os.geteuid() == 0 else Path.home() / ".cache" / "drydock-engines"


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """A folder below :func:`folder`, made if it is not there yet; one process makes it, others wait.

    Args:
        name: of the folder, relative.
        make: makes it under another name, which does not exist and whose parent does; renamed at the end.

    Raises:
        EngineUnavailable: from ``make``; raised again at once for the same name in this run.
    """
    made = folder() / name
    if made.exists():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    with made.with_name(f"{made.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            if name in _failures:
                raise EngineUnavailable(_failures[name])
            partial = made.with_name(f"{made.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                make(partial)
            except EngineUnavailable as reason:
                _failures[name] = str(reason)
                raise
            partial.rename(made)
    return made

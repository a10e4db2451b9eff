"""What ``drydock --version --verbose`` prints: versions of everything that this drydock consists of."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Final

from drydock.model.text import shown
from drydock.version import __version__

NEEDED: Final = ("click", "construct", "jinja2", "msgspec", "psutil", "pyxattr", "rich", "tqdm")
"""Libraries of every drydock."""
OPTIONAL: Final = {
    "tomli": "reads TOML before Python 3.11",
    "backports.zstd": "reads layers compressed with zstd before Python 3.14",
    "textual": "for drydock browse",
    "duckdb": "for drydock fleet",
    "pyarrow": "for drydock fleet and Parquet",
}
"""Libraries that are not always there, and what each is for."""


def version_lines() -> Iterator[str]:
    """One line each for drydock, Python, the system, and each library."""
    yield f"drydock {__version__}"
    built_in = _built_in()
    if built_in:
        # Python itself does not know that fixes were applied to it.
        how = f"inside this file, with the fixes of Debian's {built_in['python']}"
    else:
        how = shown(os.fsencode(sys.executable))
    yield f"Python {platform.python_version()} ({platform.python_implementation()}, {how})"
    host = os.uname()
    yield f"{host.sysname} {host.release} {host.machine}"
    for name in (*NEEDED, *OPTIONAL):
        found = built_in.get(name) if built_in else _installed(name)
        if found is None:
            yield f"{name} not installed" + (f" ({OPTIONAL[name]})" if name in OPTIONAL else "")
        else:
            yield f"{name} {found}"


def _built_in() -> Mapping[str, str]:
    """Versions of Python's fixes and of packages in the one file, which has no metadata of them; empty elsewhere."""
    try:
        found: dict[str, str] = json.loads(files("drydock").joinpath("packages.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def _installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - the one file has no email for it

    try:
        return version(name)
    except PackageNotFoundError:
        return None

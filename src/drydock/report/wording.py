"""What more than one report says of a root: whose it is, when its leases end, a colour for each state."""

from __future__ import annotations

import re
from typing import Any, Final

from drydock.model.leases import LeaseClass
from drydock.model.names import RawPath, UnixNano
from drydock.model.objects import State
from drydock.model.policies import SizeSource
from drydock.model.scans import Scan
from drydock.model.text import quoted_path, shown
from drydock.model.times import show_span, show_time
from drydock.version import __version__

# Digits, letters, digits: a word of a name may be as long, and stays whole.
_LONG = re.compile(r"(?<![0-9a-z])(?=[a-z]*[0-9]+[a-z]+[0-9])([0-9a-z]{12})[0-9a-z]{12,}(?![0-9a-z])")


def short_ids(text: str) -> str:
    """Shown text with 12 characters of digests, container ids and BuildKit's random ids: as docker, and enough."""
    return _LONG.sub(r"\1", text)


def target_of(where: RawPath | None) -> str:
    """What was looked at as a shell reads it, with a blank before it; empty for this host."""
    return "" if where is None else f" {quoted_path(where)}"


LIVE: Final = "live: read while the engine may have been at work; what came or went meanwhile is left out"


_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_PLURALS = {"file or directory": "files and directories", "entry": "entries"}


def show_bytes(amount: int) -> str:
    """Bytes in the largest unit that keeps a digit before the point: ``0 B``, ``14.2 GiB``."""
    value = float(amount)
    for unit in _UNITS[:-1]:
        # What would be rounded to 1024.0 is 1.0 of the next.
        if round(abs(value), 1) < 1024:
            return f"{amount} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_UNITS[-1]}"


def show_count(count: int, what: str) -> str:
    """``1 blob``, ``2 blobs``."""
    return f"{count} {what}" if count == 1 else f"{count} {_PLURALS.get(what, what + 's')}"


def head(schema: str, now: UnixNano) -> dict[str, Any]:
    """The first fields of a document.

    Args:
        schema: its name and number, such as ``drydock.scan/1``.
        now: what expiries were compared with.
    """
    return {"schema": schema, "drydock": __version__, "now": show_time(now)}


COLOURS: Final = {
    State.LIVE: "green",
    State.LEASED: "yellow",
    State.UNREACHABLE: "cyan",
    State.ORPHANED: "magenta",
    State.MISSING: "red",
    State.CORRUPT: "red",
    State.FOREIGN: "bright_black",
}
"""As rich calls them."""


def about_root(scan: Scan) -> str:
    """Engine, namespaces, and where the sizes are from."""
    store = scan.verdict.store
    namespaces = ", ".join(sorted(shown(namespace) for namespace in store.metadata.namespaces)) or "none"
    sizes = "as containerd recorded them" if store.measured is SizeSource.RECORDED else "as measured on disk"
    return f"{store.root.engine.value}; namespaces: {namespaces}; sizes of committed snapshots {sizes}"


def about_end(scan: Scan, kind: LeaseClass) -> str:
    """When the last lease of a class ends, to be put after what is said of the class."""
    holdings = [holding for holding in scan.verdict.leases if holding.kind is kind]
    ends = [holding.expires for holding in holdings if holding.expires is not None]
    if not ends:
        return "; they do not end by themselves"
    ends_later = [end for end in ends if end >= scan.verdict.now]
    if not ends_later:
        return "; when they end cannot be judged"
    last = max(ends_later)
    never = f", {len(holdings) - len(ends)} without an end" if len(ends) < len(holdings) else ""
    return f"; the last ends {show_time(last)}, in {show_span(last - scan.verdict.now)}{never}"

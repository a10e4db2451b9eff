"""What more than one report says of a root: whose it is, when its leases end, a colour for each state."""

from __future__ import annotations

from typing import Final

from drydock.model.leases import LeaseClass
from drydock.model.objects import State
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.model.times import show_span, show_time

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
    sizes = "as containerd recorded them" if store.measured == "recorded" else "as measured on disk"
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

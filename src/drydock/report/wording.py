"""Words that several reports use: amounts, counts, short ids, the facts about a root, and a colour for each state."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from typing import Final

from drydock.model.leases import LeaseClass
from drydock.model.names import RawPath
from drydock.model.objects import State
from drydock.model.policies import SizeSource
from drydock.model.scans import Scan
from drydock.model.text import quoted_path, shown
from drydock.model.times import show_span, show_time

LIVE: Final = "live: read beside a running engine; what came or went during the scan is left out"
"""What to know about a scan with ``--live``."""

COLOURS: Final = {
    State.LIVE: "green",
    State.LEASED: "yellow",
    State.UNREACHABLE: "cyan",
    State.ORPHANED: "magenta",
    State.MISSING: "red",
    State.CORRUPT: "red",
    State.FOREIGN: "bright_black",
}
"""The colour of each state, as rich names it."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_PLURALS = {
    "file or directory": "files and directories", "entry": "entries", "index": "indexes", "sandbox": "sandboxes",
}  # fmt: skip
# Digits, letters, digits: a word of a name may be as long, and stays whole.
_LONG = re.compile(r"(?<![0-9a-z])(?=[a-z]*[0-9]+[a-z]+[0-9])([0-9a-z]{12})[0-9a-z]{12,}(?![0-9a-z])")


def show_bytes(amount: int) -> str:
    """Bytes in the largest unit that keeps a digit before the point: ``0 B``, ``14.2 GiB``."""
    value = float(amount)
    for unit in _UNITS[:-1]:
        # 1023.96 would be shown as 1024.0, which is 1.0 of the next unit.
        if round(abs(value), 1) < 1024:
            return f"{amount} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_UNITS[-1]}"


def show_count(count: int, what: str) -> str:
    """``1 blob``, ``2 blobs``."""
    return f"{count} {what}" if count == 1 else f"{count} {_PLURALS.get(what, what + 's')}"


def short_ids(text: str) -> str:
    """Shown text with digests, container ids and the random ids of BuildKit cut to 12 characters, as docker does."""
    return _LONG.sub(r"\1", text)


def columns(text: str) -> int:
    """How many columns of a terminal a shown text takes: wide characters take two, and marks that combine none."""
    if text.isascii():
        return len(text)
    import unicodedata  # noqa: PLC0415 - its tables take memory, and most names are ASCII

    count = 0
    for char in text:
        if unicodedata.category(char) not in ("Mn", "Mc", "Me"):
            count += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return count


def align(rows: Sequence[Sequence[str]], right: Container[int] = (), margin: str = "") -> Iterator[str]:
    """Rows of shown cells as lines whose columns stand below each other, two blanks apart; nothing is cut.

    Args:
        rows: of as many cells each.
        right: the columns that are flush right.
        margin: what each line begins with.
    """
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blanks = " " * (width - columns(cell))
            cells.append(blanks + cell if place in right else cell + blanks)
        yield (margin + "  ".join(cells)).rstrip()


def target_of(where: RawPath | None) -> str:
    """WHERE as an argument of a command, for a shell, with a blank before it; empty for this host."""
    return "" if where is None else f" {quoted_path(where)}"


def about_root(scan: Scan) -> str:
    """The engine and the namespaces of a root, and where the sizes are from; of a data root alone, that it is one."""
    store = scan.verdict.store
    if not store.root.has_containerd:
        return f"{store.root.engine.value}; no containerd root belongs to this data root"
    namespaces = ", ".join(sorted(shown(namespace) for namespace in store.metadata.namespaces)) or "none"
    sizes = "as containerd recorded them" if store.measured is SizeSource.RECORDED else "as measured on disk"
    return f"{store.root.engine.value}; namespaces: {namespaces}; sizes of committed snapshots {sizes}"


def about_end(scan: Scan, kind: LeaseClass) -> str:
    """When the last lease of a class ends, to be put after other words about the class."""
    holdings = [holding for holding in scan.verdict.leases if holding.kind is kind]
    ends = [holding.expires for holding in holdings if holding.expires is not None]
    if not ends:
        return "; no end is set"
    ends_later = [end for end in ends if end >= scan.verdict.now]
    if not ends_later:
        return "; the end cannot be judged"
    last = max(ends_later)
    never = f"; {len(holdings) - len(ends)} without an end" if len(ends) < len(holdings) else ""
    return f"; the last ends {show_time(last)}, in {show_span(last - scan.verdict.now)}{never}"

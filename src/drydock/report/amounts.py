"""Amounts as people read them."""

from __future__ import annotations

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

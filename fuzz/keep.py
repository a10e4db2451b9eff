"""``python -m fuzz.keep TARGET``: add to the corpus what reaches more lines, of the inputs in ``build/fuzz/TARGET``.

What is in the corpus already stays. Written for hundreds of inputs, not for thousands.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from fuzz.__main__ import CORPUS, TARGETS

_PACKAGES = ("bbolt_reader", "bbolt_surgery", "drydock")
_MOST_BYTES = 16384


def keep(target: str) -> None:
    """Add what reaches more lines than all before it, the smallest inputs first."""
    module = importlib.import_module(f"fuzz.{target}")
    kept = CORPUS / target
    kept.mkdir(parents=True, exist_ok=True)
    reached: set[tuple[CodeType, int, int]] = set()
    for data in [*module.seeds(), *(path.read_bytes() for path in sorted(kept.iterdir()))]:
        reached |= _lines(module.one, data)
    new = {path.read_bytes() for path in (Path("build/fuzz") / target).iterdir()}
    for data in sorted(new, key=lambda data: (len(data), data)):
        if len(data) <= _MOST_BYTES and (lines := _lines(module.one, data)) - reached:
            reached |= lines
            (kept / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def _lines(one: Any, data: bytes) -> set[tuple[CodeType, int, int]]:
    """The steps from line to line that an input makes in the three packages."""
    steps: set[tuple[CodeType, int, int]] = set()

    def enter(frame: FrameType, event: str, _: object) -> Any:
        if event != "call" or not frame.f_globals.get("__name__", "").startswith(_PACKAGES):
            return None
        last = frame.f_lineno

        def line(frame: FrameType, event: str, _: object) -> Any:
            nonlocal last
            if event == "line":
                steps.add((frame.f_code, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line

    sys.settrace(enter)
    try:
        one(data)
    finally:
        sys.settrace(None)
    return steps


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m fuzz.keep {'|'.join(TARGETS)}")
    keep(sys.argv[1])

"""The C library of this process, for the calls that Python does not have."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes


@functools.cache
def libc() -> ctypes.CDLL:
    """The library, whichever it is: a name that it lacks raises ``AttributeError`` when it is asked for."""
    from ctypes import CDLL  # noqa: PLC0415 - few scans need it, and a start must be fast

    return CDLL(None)

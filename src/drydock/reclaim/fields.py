"""Values of a plan file or a journal, which anybody may have changed: checked before something is done with them."""

from __future__ import annotations

from typing import Final

from drydock.model.names import RawPath
from drydock.model.text import unshown

_LIMIT: Final = 1 << 80
"""More than a file system has of anything, or a policy waits in nanoseconds; what JSON can say has no end."""


def whole(value: object) -> int:
    """A number as drydock writes it.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or not -_LIMIT < value < _LIMIT:
        raise ValueError("a number that is not whole, or of no size that there is")
    return value


def path(text: str) -> RawPath:
    """A path as drydock shows it.

    Raises:
        ValueError: no file has such a path.
    """
    raw = unshown(text)
    if b"\0" in raw:
        raise ValueError("a path with a NUL")
    return RawPath(raw)

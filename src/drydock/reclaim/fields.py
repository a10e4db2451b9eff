"""Values of a plan file or a journal, which anybody may have changed: checked before something is done with them."""

from __future__ import annotations

from typing import Final

from drydock.model.names import RawPath
from drydock.model.text import unshown

_LIMIT: Final = 1 << 80
"""More than a file system has of anything, or a policy waits in nanoseconds; what JSON can say has no end."""


_NOBODY: Final = (1 << 32) - 1
"""To chown(2) this means that nothing is to change."""


def whole(value: object) -> int:
    """A number as drydock writes it.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or not -_LIMIT < value < _LIMIT:
        raise ValueError("a number that is not whole, or of no size that there is")
    return value


def owner(value: object) -> int:
    """A user's or a group's number.

    Raises:
        ValueError: no file can have it.
    """
    number = whole(value)
    if not 0 <= number < _NOBODY:
        raise ValueError("a number that no user or group has")
    return number


def path(text: str) -> RawPath:
    """A path as drydock shows it.

    Raises:
        ValueError: no file has such a path.
    """
    raw = unshown(text)
    if b"\0" in raw:
        raise ValueError("a path with a NUL")
    return RawPath(raw)

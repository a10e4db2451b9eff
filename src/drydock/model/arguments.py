"""What a caller of the library may give for a name, a moment and a span of time, and the values that these become."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Final, TypeAlias, TypeVar

from drydock.model.errors import Usage
from drydock.model.names import UnixNano
from drydock.model.text import unshown

Name: TypeAlias = str | bytes
"""A name as an engine has it, in bytes; or as text, as :func:`drydock.model.text.shown` writes it."""
Moment: TypeAlias = datetime | int
"""A datetime with a time zone, or nanoseconds since 1970, UTC."""
Span: TypeAlias = timedelta | int
"""A timedelta, or nanoseconds."""

_Choice = TypeVar("_Choice", bound=enum.Enum)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)


def choice(kind: type[_Choice], value: _Choice | str) -> _Choice:
    """The member of an enum that a value is, or names.

    Raises:
        Usage: there is none.
    """
    try:
        return kind(value)
    except ValueError:
        raise Usage(f"{value!r} is none of {', '.join(str(each.value) for each in kind)}") from None


def raw_name(name: Name) -> bytes:
    """A name in bytes.

    Raises:
        Usage: it is neither text nor bytes.
    """
    if isinstance(name, str):
        return unshown(name)
    if isinstance(name, bytes):
        return name
    raise Usage(f"a name is text or bytes, and {name!r} is neither")


def raw_names(names: Iterable[Name]) -> tuple[bytes, ...]:
    """Names in bytes.

    Raises:
        Usage: one is neither text nor bytes; or ``names`` is a single name, the letters of which would be names.
    """
    if isinstance(names, (str, bytes)):
        raise Usage(f"{names!r} is one name, and a list of names is asked for")
    return tuple(map(raw_name, names))


def unix_nano(moment: Moment) -> UnixNano:
    """A moment in nanoseconds since 1970.

    Raises:
        Usage: a datetime without a time zone, or something else.
    """
    if isinstance(moment, int):
        return UnixNano(moment)
    if not isinstance(moment, datetime):
        raise Usage(f"a time is a datetime or nanoseconds, and {moment!r} is neither")
    if moment.utcoffset() is None:
        raise Usage(f"{moment!r} has no time zone")
    return UnixNano((moment - _EPOCH) // _MICROSECOND * 1000)


def nanoseconds(span: Span) -> int:
    """A length of time in nanoseconds.

    Raises:
        Usage: it is neither a timedelta nor a number.
    """
    if isinstance(span, timedelta):
        return span // _MICROSECOND * 1000
    if isinstance(span, int):
        return span
    raise Usage(f"a length of time is a timedelta or nanoseconds, and {span!r} is neither")

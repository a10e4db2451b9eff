"""Times as Go's RFC 3339 parser reads them, and as reports show them. All times are UTC."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from drydock.model.names import UnixNano

_TIME = re.compile(rb"(\d{4})-(\d\d)-(\d\d)T(\d{1,2}):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))\Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = 1_000_000_000


def parse_time(raw: bytes) -> UnixNano | None:
    """The instant that Go's ``time.Parse(time.RFC3339, raw)`` gives; None if any version of Go may fail on it.

    Offsets of 24 hours and more are refused, as by Go since 1.20.
    Source: Go time/format.go, time/format_rfc3339.go (1.20).
    """
    match = _TIME.match(raw)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, zone_hour, zone_minute = match.groups()[6:]
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        return None
    offset = 0
    if sign:
        if int(zone_hour) > 23 or int(zone_minute) > 59:
            return None
        offset = (int(zone_hour) * 60 + int(zone_minute)) * (-60 if sign == b"-" else 60)
    seconds = (moment - _EPOCH) // timedelta(seconds=1) - offset
    # Go keeps nanoseconds and drops further digits.
    return UnixNano(seconds * _SECOND + int((fraction or b"0")[:9].ljust(9, b"0")))


def is_ahead(time: UnixNano, now: UnixNano) -> bool:
    """Whether the time of a record is after ``now``. Whole seconds are compared: a typed time has no others."""
    return time // _SECOND > now // _SECOND


def age(time: UnixNano | None, now: UnixNano) -> int | None:
    """The age of a record in nanoseconds; None if it has no time, or one after ``now``."""
    return None if time is None or is_ahead(time, now) else max(0, now - time)


def show_time(time: UnixNano) -> str:
    """RFC 3339 in UTC, to the second; for a time outside the years 1 to 9999, the seconds since 1970."""
    try:
        moment = _EPOCH.replace(tzinfo=None) + timedelta(seconds=time // _SECOND)
    except OverflowError:
        return f"{time // _SECOND} s since 1970"
    return moment.isoformat() + "Z"


def show_known(time: UnixNano | None) -> str | None:
    """A time as documents have it: None if it is not known."""
    return None if time is None else show_time(time)


def show_span(nanoseconds: int) -> str:
    """A length of time in its largest unit or two: ``3 d 4 h``, ``25 min``, ``12 s``."""
    seconds = abs(nanoseconds) // _SECOND
    for unit, size, smaller, small in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if seconds >= size:
            rest = seconds % size // small
            return f"{seconds // size} {unit} {rest} {smaller}" if rest else f"{seconds // size} {unit}"
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"

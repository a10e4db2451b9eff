"""Refusals: what must not be true while a store is changed."""

from __future__ import annotations

from drydock.model.errors import Refused
from drydock.model.names import UnixNano

_SECOND = 1_000_000_000


def check_clock(now: UnixNano, newest: UnixNano | None) -> None:
    """Refuse a clock that is earlier than the newest record: expiries would be judged wrongly.

    Args:
        now: what the clock, or the user, says.
        newest: the latest time any record carries; None where no record has one.

    Raises:
        Refused: ``now`` is earlier.
    """
    if newest is not None and now < newest:
        behind = -((now - newest) // _SECOND)
        raise Refused(f"the clock is {behind} s earlier than the newest record: set it, or give --now")

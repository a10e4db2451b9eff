"""The guards: each refusal is one line that names what to stop."""

from __future__ import annotations

import pytest

from drydock.model.errors import Refused
from drydock.model.names import UnixNano
from drydock.reclaim.guard import check_clock


def test_clock_before_the_newest_record():
    """A clock earlier than a record is refused; the same time, a later one, and a store without times are not."""
    with pytest.raises(Refused, match="1 s earlier"):
        check_clock(UnixNano(10**18 - 1), UnixNano(10**18))
    check_clock(UnixNano(10**18), UnixNano(10**18))
    check_clock(UnixNano(10**18 + 1), UnixNano(10**18))
    check_clock(UnixNano(0), None)

"""What documents begin with."""

from __future__ import annotations

from typing import Any

import drydock
from drydock.model.names import UnixNano
from drydock.model.times import show_time


def head(schema: str, now: UnixNano) -> dict[str, Any]:
    """The first fields of a document.

    Args:
        schema: its name and number, such as ``drydock.scan/1``.
        now: what expiries were compared with.
    """
    return {"schema": schema, "drydock": drydock.__version__, "now": show_time(now)}

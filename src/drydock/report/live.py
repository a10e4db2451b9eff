"""What a report says of a scan made with ``--live``."""

from __future__ import annotations

from typing import Final

LIVE: Final = "live: read while the engine may have been at work; what came or went meanwhile is left out"

"""Long ids as people say them."""

from __future__ import annotations

import re

# Digits, letters, digits: a word of a name may be as long, and stays whole.
_LONG = re.compile(r"(?<![0-9a-z])(?=[a-z]*[0-9]+[a-z]+[0-9])([0-9a-z]{12})[0-9a-z]{12,}(?![0-9a-z])")


def short_ids(text: str) -> str:
    """Shown text with 12 characters of digests, container ids and BuildKit's random ids: as docker, and enough."""
    return _LONG.sub(r"\1", text)

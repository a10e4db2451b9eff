"""Documents as indented JSON, written while they are made: the whole text of a large one is never in memory.

The same text as ``json.dumps(document, indent=1, ensure_ascii=False)``, which writes indented documents in Python too,
and takes more than half as long again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import Any

from msgspec import Struct

from drydock.model.documents import common


def indented(value: Any, margin: str = "\n") -> Iterator[str]:  # noqa: ANN401 - JSON's own
    """The text of a document, in pieces.

    Args:
        value: what ``json.dumps`` takes, with texts as the only keys; an iterator stands for a list.
        margin: what a line of it begins with.
    """
    inner = margin + " "
    if isinstance(value, Struct):
        yield from common.indented(value, margin)
    elif isinstance(value, dict) and value:
        mark = "{"
        for name, each in value.items():
            yield f"{mark}{inner}{encode_basestring(name)}: "
            yield from indented(each, inner)
            mark = ","
        yield margin + "}"
    elif isinstance(value, Iterator):
        mark = "["
        for each in value:
            yield mark + inner
            # Few iterators have iterators in what they give, and many give hundreds of thousands of small things.
            if isinstance(each, dict) and any(isinstance(part, Iterator) for part in each.values()):
                yield from indented(each, inner)
            else:
                yield _text(each, inner)
            mark = ","
        yield "[]" if mark == "[" else margin + "]"
    else:
        yield _text(value, margin)


def _text(value: Any, margin: str) -> str:  # noqa: ANN401 - JSON's own
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict) and value:
        inner = margin + " "
        fields = [f"{inner}{encode_basestring(name)}: {_text(each, inner)}" for name, each in value.items()]
        return "{" + ",".join(fields) + margin + "}"
    if isinstance(value, list | tuple) and value:
        inner = margin + " "
        return "[" + ",".join([inner + _text(each, inner) for each in value]) + margin + "]"
    if type(value) is int:
        return str(value)
    return "null" if value is None else json.dumps(value)

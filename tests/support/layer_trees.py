"""Reads a small layer into nested dictionaries."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from drydock.verification.layer_reader import read_layer
from drydock.verification.layer_tree import TOP, LayerEntry, LayerTree


@dataclass
class Nested:
    """An entry with its children."""

    entry: LayerEntry
    children: dict[bytes, Nested] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.entry, name)


def never() -> bool:
    """Never stop."""
    return False


def read_nested(
    raw: bytes, *, content: bool = True, stop: Callable[[], bool] = never, places: Sequence[bytes] = ()
) -> Nested | None:
    """Read a layer into a tree; None if it was stopped. Hard links are one object."""
    with closing(LayerTree(list(places))) as tree:  # type: ignore[arg-type]
        if not read_layer(Raw(raw), tree, content=content, stop=stop):
            return None
        known: dict[int, Nested] = {}
        top = known[TOP] = Nested(tree.entry(TOP))
        pending = [top]
        while pending:
            here = pending.pop()
            for some in tree.children(here.entry.node):
                for name, child in some:
                    if child.node not in known:
                        known[child.node] = Nested(child)
                        pending.append(known[child.node])
                    here.children[name] = known[child.node]
        return top


class Raw(io.RawIOBase):
    """Bytes as a file without a buffer."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Read some."""
        return self._data.readinto(buffer)

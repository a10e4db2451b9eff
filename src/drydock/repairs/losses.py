"""What a user gives up by name."""

from __future__ import annotations

from collections.abc import Iterable

from drydock.model.errors import Usage
from drydock.model.names import Kind, Ref, split_snapshot_key
from drydock.model.repairs import Repair
from drydock.model.text import shown

_PREFIX = 12
"""The shortest beginning of a container's id that names it, as docker shows them."""


def refuse_unknown(repairs: Iterable[Repair], accept: Iterable[bytes]) -> None:
    """Refuse names that would not be lost anywhere: a mistyped name must not go unseen.

    Raises:
        Usage: there is such a name.
    """
    losses = [loss for repair in repairs for loss in repair.losses]
    for name in accept:
        if not any(is_called(name, loss.ref, loss.name) for loss in losses):
            raise Usage(f"{shown(name)} would not be lost, so there is nothing to accept")


def is_called(word: bytes, ref: Ref, name: str) -> bool:
    """Whether a word of ``--accept-loss`` names what would be lost; ``name`` is how it was shown."""
    key = split_snapshot_key(ref.key)[1] if ref.kind is Kind.SNAPSHOT else ref.key
    if word.startswith(ref.namespace + b"/") and is_called(word[len(ref.namespace) + 1 :], ref, name):
        return True
    is_id = ref.kind in (Kind.LEASE, Kind.CONTAINER) and len(word) >= _PREFIX and key.startswith(word)
    return shown(word) == name or word == key or is_id

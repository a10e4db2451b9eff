"""Folders inside layers, opened when wanted: any depth, a bounded number of descriptors, no symlink, no mount."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING

from drydock.evidence.beneath import open_directory
from drydock.evidence.directory import folder, open_folder
from drydock.model.errors import EvidenceUnreadable
from drydock.model.text import shown
from drydock.recover.layers import Stack

if TYPE_CHECKING:
    from typing_extensions import Self

_OPEN = 256
# overlay itself takes 500 (fs/overlayfs/params.h OVL_MAX_STACK); containerd's mounts hold fewer than 200.
_MOST_LAYERS = 500


class Place:
    """One folder of one layer; ``above`` is the folder it lies in, there."""

    __slots__ = ("above", "inode", "layer", "name")

    def __init__(self, layer: int, inode: tuple[int, int], above: Place | None = None, name: bytes = b"") -> None:
        self.layer = layer
        self.inode = inode
        self.above = above
        self.name = name


class Places:
    """The folders of a stack's layers, as descriptors while they are in use; a context manager.

    A descriptor that :meth:`fd` gives is good until the next call of a method.

    Raises:
        EvidenceUnreadable: a layer is not there.
    """

    def __init__(self, stack: Stack) -> None:
        self._tops: list[int] = []
        self._open: OrderedDict[Place, int] = OrderedDict()
        roots: list[Place] = []
        if len(stack.layers) > _MOST_LAYERS:
            raise EvidenceUnreadable(f"{len(stack.layers)} layers are more than overlay itself takes")
        try:
            for number, (parts, name) in enumerate(zip(stack.layers, stack.names, strict=True)):
                self._tops.append(_open_layer(stack, parts, name))
                found = os.fstat(self._tops[-1])
                roots.append(Place(number, (found.st_dev, found.st_ino)))
        except BaseException:
            self.close()
            raise
        self.roots = tuple(roots)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every descriptor."""
        for descriptor in (*self._tops, *self._open.values()):
            os.close(descriptor)
        self._tops.clear()
        self._open.clear()

    def fd(self, place: Place) -> int:
        """A readable descriptor of a folder.

        Raises:
            OSError: it cannot be opened, is another one by now, or is where something is mounted.
        """
        if place.above is None:
            return self._tops[place.layer]
        if place in self._open:
            self._open.move_to_end(place)
            return self._open[place]
        way, above = [place], place.above
        while above.above is not None and above not in self._open:
            way.append(above)
            above = above.above
        base = self._tops[place.layer] if above.above is None else self._open[above]
        descriptor = base
        for step in reversed(way):
            try:
                below = open_directory(descriptor, step.name, readable=True)
            finally:
                if descriptor != base:
                    os.close(descriptor)
            descriptor = below
            _check(descriptor, step)
        self._keep(place, descriptor)
        return descriptor

    def rise(self, place: Place) -> None:
        """Open the folder above one that is open, by ``..``: from far below, that is cheaper than from the top."""
        above = place.above
        if above is None or above.above is None or above in self._open or place not in self._open:
            return
        descriptor = open_folder(b"..", self._open[place])
        _check(descriptor, above)
        self._keep(above, descriptor)

    def _keep(self, place: Place, descriptor: int) -> None:
        self._open[place] = descriptor
        if len(self._open) > _OPEN:
            os.close(self._open.popitem(last=False)[1])


def _check(descriptor: int, place: Place) -> None:
    found = os.fstat(descriptor)
    if (found.st_dev, found.st_ino) != place.inode:
        os.close(descriptor)
        raise EvidenceUnreadable(f"folder {shown(place.name)} was moved while it was read: something uses the store")


def _open_layer(stack: Stack, parts: tuple[bytes, ...], name: str) -> int:
    try:
        with folder(stack.root, *parts) as descriptor:
            return os.dup(descriptor)
    except OSError as error:
        path = shown(b"/".join((stack.root, *parts)))
        raise EvidenceUnreadable(f"snapshot {name}: {path}: {error.strerror}") from error

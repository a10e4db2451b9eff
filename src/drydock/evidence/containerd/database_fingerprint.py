"""Which state of a database was seen: its two metas, one of which every commit changes."""

from __future__ import annotations

import hashlib
import os

from drydock.evidence.containerd.store import Held
from drydock.model.names import RawPath
from drydock.model.plans import Witness

_METAS = 2 << 24
"""Two pages of the largest size bbolt has, 16 MiB."""


def witnesses(held: Held) -> list[Witness]:
    """One witness for every database of a held root.

    Raises:
        OSError: a database cannot be read.
    """
    seen: list[Witness] = []
    for file in held.files():
        size = os.fstat(file.fd).st_size
        length = min(size, 2 * file.database.page_size if file.database is not None else _METAS)
        digest = hashlib.sha256(os.pread(file.fd, length, 0)).hexdigest()
        seen.append(Witness(RawPath(os.path.relpath(file.path, held.root.path)), size, digest))
    return seen

"""When a data root was last used in each of dockerd's two modes, by files that only dockerd writes.

The times of folders tell nothing: drydock's own removals change them. Sources: moby reference/store.go
(``repositories.json``), builder/builder-next/controller.go (``history.db``, ``history_c8d.db``), v28; daemon/images and
``image/identity-cache.db``, v29.3.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from drydock.evidence.files.directory import folder, names
from drydock.model.names import RawPath, UnixNano
from drydock.model.roots import DockerContainer
from drydock.model.store_modes import GRAPH_DRIVERS, DaemonSettings, StoreMode, StoreRecords, StoreUse

_CLASSIC: Final = tuple((b"buildkit", name) for name in (b"snapshots.db", b"containerdmeta.db", b"metadata_v2.db"))
"""``history.db`` is no sign: the image store of Docker 26.1 has its history there too."""
_IMAGE_STORE: Final = ((b"buildkit", b"history_c8d.db"), (b"image", b"identity-cache.db"))
_CACHES: Final = b"containerd-"
"""How the names of BuildKit's folders begin that hold its records of one snapshotter."""
_CONFIG: Final = b"config.v2.json"


def read_store_records(
    data: RawPath, containers: Mapping[bytes, DockerContainer], settings: DaemonSettings | None
) -> StoreRecords:
    """Read the evidence of one data root.

    Args:
        data: absolute path of the data root.
        containers: its containers by id.
        settings: those of its dockerd.
    """
    newest: dict[StoreMode, StoreUse] = {}
    for use in _uses(data, containers.values()):
        known = newest.get(use.mode)
        if known is None or known.at < use.at:
            newest[use.mode] = use
    return StoreRecords(data, settings, tuple(_prior(data)), tuple(newest.values()), frozenset(containers))


def _uses(data: RawPath, containers: Iterable[DockerContainer]) -> Iterator[StoreUse]:
    places: list[tuple[StoreMode, tuple[bytes, ...]]] = [(StoreMode.CLASSIC, parts) for parts in _CLASSIC]
    places += [(StoreMode.CLASSIC, (b"image", each, b"repositories.json")) for each in GRAPH_DRIVERS]
    places += [(StoreMode.IMAGE_STORE, parts) for parts in _IMAGE_STORE]
    places += [(each.mode, (b"containers", each.id, _CONFIG)) for each in containers if each.mode is not None]
    with suppress(OSError), folder(data, b"buildkit") as descriptor:
        caches = [each for each in names(descriptor) if each.startswith(_CACHES)]
        places += [(StoreMode.IMAGE_STORE, (b"buildkit", each, b"metadata_v2.db")) for each in caches]
    for mode, parts in places:
        with suppress(OSError), folder(data, *parts[:-1]) as parent:  # most of them are missing
            found = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
            yield StoreUse(mode, UnixNano(found.st_mtime_ns), RawPath(b"/".join((data, *parts))))


def _prior(data: RawPath) -> Iterator[bytes]:
    """The graph drivers that dockerd takes for used before (moby daemon/graphdriver/driver.go scanPriorDrivers)."""
    with suppress(OSError), folder(data) as descriptor:
        for driver in sorted(GRAPH_DRIVERS - {b"vfs"}):
            try:
                found = os.stat(driver, dir_fd=descriptor)  # dockerd follows a link too
            except OSError:
                continue
            # What cannot be listed counts as not empty, as in moby.
            with suppress(OSError), folder(data, driver) as below:
                if stat.S_ISDIR(found.st_mode) and not names(below):
                    continue
            yield driver

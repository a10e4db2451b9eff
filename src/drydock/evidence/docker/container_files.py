"""The folders of containers, read to drop some of them: what dockerd recorded of each last run, labels and sizes.

Sources: moby container/container.go (``config.v2.json``, ``hostconfig.json``), container/state.go, v28.5;
containerd internal/cri/server/helpers.go (``getContainerRootDir``, ``getSandboxRootDir``), v2.4.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from drydock.evidence.files.directory import fingerprint, folder, names
from drydock.evidence.files.regular import read_regular
from drydock.evidence.files.sizes import Measure
from drydock.model.container_drops import ContainerFiles, ContainerFolder, LastRun
from drydock.model.names import RawPath, UnixNano, is_container_id
from drydock.model.roots import Root
from drydock.model.times import parse_time

CRI: Final = (b"io.containerd.grpc.v1.cri/containers", b"io.containerd.grpc.v1.cri/sandboxes")
"""Where the CRI plugin keeps a folder for each container and each sandbox, relative to the containerd root."""
LEFT: Final = re.compile(rb"drydock-container-[0-9]+(-[0-9]+)?\Z")
"""Names in dockerd's folder ``tmp`` of folders whose removal began (``drydock.reclaim.removals``)."""
_LARGEST: Final = 8 << 20
_SECOND: Final = 1_000_000_000
_LONG: Final = 86_400 * _SECOND
"""For a container that may take as long as it wants to end."""
_GRACE: Final = 10 * _SECOND
"""daemon/config/config.go, v28.5."""


def read_container_files(root: Root, measure: Measure) -> ContainerFiles:
    """The folders of the containers of a root.

    Args:
        root: the root, with its data roots.
        measure: counts allocated blocks.

    Returns:
        Only what could be read: a container without a folder in it is not dropped.
    """
    found = ContainerFiles()
    for data in root.docker:
        for name, each in _folders(data, b"containers", measure):
            if is_container_id(name):
                labels, last = _read(data, name)
                found.docker[name] = each._replace(labels=labels, last=last)
        if data in root.layer_stores:
            found.left += (each for name, each in _folders(data, b"tmp", measure) if LEFT.match(name))
    if root.has_containerd:
        for path in CRI:
            found.cri.update((name, each) for name, each in _folders(root.path, path, measure) if is_container_id(name))
    return found


def _folders(root: RawPath, path: bytes, measure: Measure) -> Iterator[tuple[bytes, ContainerFolder]]:
    with suppress(OSError), folder(root, *path.split(b"/")) as descriptor:
        for name in names(descriptor):
            with suppress(OSError):
                facts = fingerprint(os.stat(name, dir_fd=descriptor, follow_symlinks=False))
                usage = measure.folder(name, descriptor)
                yield name, ContainerFolder(root, RawPath(path + b"/" + name), facts, usage.allocated)


def _read(data: RawPath, name: bytes) -> tuple[dict[bytes, bytes], LastRun | None]:
    try:
        with folder(data, b"containers", name) as descriptor:
            config: Any = json.loads(read_regular(b"config.v2.json", _LARGEST, descriptor))
            policy: bytes | None = None
            with suppress(OSError, ValueError, RecursionError, AttributeError, TypeError):
                host: Any = json.loads(read_regular(b"hostconfig.json", _LARGEST, descriptor))
                # Empty in a container that a Docker before v25 made (daemon/daemon.go restore, v28.5).
                policy = (host["RestartPolicy"]["Name"] or "no").encode()
        settings = config.get("Config") or {}
        raw = settings.get("Labels") or {}
        labels = {_bytes(key): _bytes(value) for key, value in raw.items()}
        state, created = config["State"], _time(config["Created"])
        active = any(state.get(each) not in (False, None) for each in ("Running", "Paused", "Restarting"))
        started, ended = (_time(state[each]) for each in ("StartedAt", "FinishedAt"))
        if created is None:
            return labels, None
        grace = settings.get("StopTimeout")
        seconds = _GRACE if not isinstance(grace, int) else _LONG if grace < 0 else grace * _SECOND
        stopped = config.get("HasBeenManuallyStopped") is True
        return labels, LastRun(active, created, started, ended, policy, stopped, seconds)
    except (OSError, ValueError, RecursionError, LookupError, AttributeError, TypeError):
        return {}, None


def _time(value: str) -> UnixNano | None:
    """A time of dockerd; None for Go's zero, which stands for never.

    Raises:
        ValueError: it is no time.
    """
    found = parse_time(value.encode())
    if found is None:
        raise ValueError("no time")
    return found if found > 0 else None


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")

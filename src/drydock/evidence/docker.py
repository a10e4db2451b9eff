"""dockerd's own records in a data root: its containers, and the image ids of the graphdriver image store.

Sources: moby daemon/container.go (``load``), container/container.go (``config.v2.json``), image/fs.go (v28).
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from drydock.evidence.directory import folder, names
from drydock.evidence.file import read_regular
from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import Digest, RawPath, UnixNano, is_digest
from drydock.model.roots import DockerContainer
from drydock.model.text import shown

_LARGEST = 8 << 20
_IMAGES = (b"imagedb", b"content", b"sha256")


def read_containers(
    data: RawPath, findings: list[Finding]
) -> tuple[dict[bytes, DockerContainer] | None, UnixNano | None]:
    """The containers of a data root, by id, and when the folder of them last changed.

    The folder's name is what keeps a container's lease; its configuration is read as far as it can be.

    Args:
        data: the data root.
        findings: what could not be read is added here.

    Returns:
        None where ``containers/`` is missing or cannot be listed: whose the leases are is not known then. Empty where
        it is there and holds nothing: dockerd makes it at every start, so there is provably no container.
    """
    try:
        with folder(data, b"containers") as descriptor:
            ids, changed = names(descriptor), UnixNano(os.fstat(descriptor).st_mtime_ns)
    except OSError as error:
        findings.append(_unknown(data + b"/containers", error, "every container's lease is kept"))
        return None, None
    return {each: _container(data, each, findings) for each in ids}, changed


def read_images(data: RawPath, findings: list[Finding]) -> tuple[frozenset[Digest] | None, UnixNano | None]:
    """Image ids in ``image/<driver>/imagedb/content``, and when the oldest of these folders last changed.

    Returns:
        None where no driver's image database can be read: every image's lease is kept then.
    """
    found: set[Digest] = set()
    changed: list[int] = []
    try:
        with folder(data, b"image") as descriptor:
            drivers = names(descriptor)
        for driver in drivers:
            # What the containerd image store leaves in image/ has no imagedb.
            with suppress(FileNotFoundError), folder(data, b"image", driver, *_IMAGES) as descriptor:
                found.update(Digest(b"sha256:" + each) for each in names(descriptor))
                changed.append(os.fstat(descriptor).st_mtime_ns)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        findings.append(_unknown(data + b"/image", error, "every image's lease is kept"))
        return None, None
    return (frozenset(found), UnixNano(min(changed))) if changed else (None, None)


def _container(data: RawPath, name: bytes, findings: list[Finding]) -> DockerContainer:
    path = RawPath(data + b"/containers/" + name + b"/config.v2.json")
    try:
        with folder(data, b"containers", name) as descriptor:
            config: Any = json.loads(read_regular(b"config.v2.json", _LARGEST, descriptor))
        if not isinstance(config, dict):
            raise ValueError("no JSON object")  # noqa: TRY004, TRY301 - damage like any other that json finds
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a container's configuration"
        message = f"container {shown(name)}: {shown(path)}: {why}; the container still counts"
        findings.append(Finding("container-unreadable", Severity.NOTE, message, Place(path), shown(name)))
        return DockerContainer(name)
    manifest, state, settings = config.get("ImageManifest"), config.get("State"), config.get("Config")
    running = state.get("Running") if isinstance(state, dict) else None
    label = _bytes(config.get("Name"))
    return DockerContainer(
        name,
        label.removeprefix(b"/") if label else None,
        _bytes(config.get("Driver")),
        _digest(config.get("Image")),
        _digest(manifest.get("digest")) if isinstance(manifest, dict) else None,
        running if isinstance(running, bool) else None,
        _bytes(settings.get("Image")) if isinstance(settings, dict) else None,
    )


def _bytes(value: object) -> bytes | None:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) and value else None


def _digest(value: object) -> Digest | None:
    raw = _bytes(value)
    return Digest(raw) if raw is not None and is_digest(raw) else None


def _unknown(path: bytes, error: OSError, effect: str) -> Finding:
    message = f"{shown(path)}: {error.strerror or error}: {effect}"
    return Finding("owners-unknown", Severity.BLIND, message, Place(RawPath(path)))

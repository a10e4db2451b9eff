"""dockerd's own records of its containers in a data root.

Sources: moby daemon/container.go (``load``), container/container.go (``config.v2.json``), v28.
daemon/volumes.go (``registerMountPoints``) has the three forms of the name of an image mount's layer. ``ID`` of the
mount point repeats the name, which is made of the container's id and the options of the mount.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from typing import Any

from drydock.evidence.docker.classic_store import has_container_layer, owners_unknown
from drydock.evidence.files.directory import folder, names
from drydock.evidence.files.regular import read_regular
from drydock.model import messages
from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import Digest, RawPath, UnixNano, hash_hex, is_container_id, is_digest
from drydock.model.roots import DockerContainer, Mounted

_LARGEST = 8 << 20
_NO_IMAGES = ("bind", "volume", "tmpfs", "npipe", "cluster")
"""Types of mounts that have no layer (moby api/types/mount/mount.go, v29.7)."""
_UNFINISHED = b".tmp-config.v2.json"


def read_containers(
    data: RawPath, findings: list[Finding], *, live: bool = False
) -> tuple[dict[bytes, DockerContainer], UnixNano | None]:
    """The containers of a data root, by id, and when the folder ``containers`` last changed.

    The name of a container's folder keeps its lease; its configuration is read as far as possible.

    Args:
        data: the data root.
        findings: gets a finding for each file that could not be read.
        live: dockerd may be at work: a container that it makes or removes has no configuration.

    Returns:
        The containers and the time. There is no time if ``containers`` is missing or cannot be listed: the owners of
        leases are not known then.
    """
    try:
        with folder(data, b"containers") as descriptor:
            ids, changed = names(descriptor), UnixNano(os.fstat(descriptor).st_mtime_ns)
    except OSError as error:
        findings.append(owners_unknown(data + b"/containers", error, "every container's lease is kept"))
        return {}, None
    return {each: _container(data, each, findings, live=live) for each in ids}, changed


def _container(data: RawPath, name: bytes, findings: list[Finding], *, live: bool) -> DockerContainer:
    path = RawPath(data + b"/containers/" + name + b"/config.v2.json")
    left = not is_container_id(name)
    try:
        with folder(data, b"containers", name) as descriptor:
            config: Any = json.loads(read_regular(b"config.v2.json", _LARGEST, descriptor))
        if not isinstance(config, dict):
            raise ValueError("no JSON object")  # noqa: TRY004, TRY301 - damage like any other that json finds
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a container's configuration"
        gone = isinstance(error, FileNotFoundError)
        left = left or (gone and not _has_files(data, name))
        findings.append(_unreadable(name, path, why, left=left, unready=live and gone))
        return DockerContainer(name, manifest_known=left, mounts_known=left)
    made_from = config.get("ImageManifest")
    manifest = _digest(made_from.get("digest")) if isinstance(made_from, dict) else None
    if made_from is not None and manifest is None:
        findings.append(_unreadable(name, path, "its ImageManifest has no digest", left=left))
    # dockerd writes the field for every container: if it is missing, its name was damaged.
    mounts = _image_mounts(name, config["MountPoints"]) if "MountPoints" in config else None
    if mounts is None:
        findings.append(_unreadable(name, path, "its MountPoints cannot be understood", left=left))
    driver, state, settings = _bytes(config.get("Driver")), config.get("State"), config.get("Config")
    label = _bytes(config.get("Name"))
    running = state.get("Running") if isinstance(state, dict) else None
    return DockerContainer(
        name,
        label.removeprefix(b"/") if label else None,
        driver,
        _digest(config.get("Image")),
        manifest,
        running if isinstance(running, bool) else None,
        _bytes(settings.get("Image")) if isinstance(settings, dict) else None,
        # There is none with a graphdriver, and in an older Docker.
        manifest_known=manifest is not None or made_from is None or left,
        mounts=mounts or frozenset(),
        mounts_known=mounts is not None or left,
        is_classic=driver is not None and has_container_layer(data, driver, name),
        mounted=tuple(_mounted(config.get("MountPoints"))),
        compose=_compose(settings.get("Labels")) if isinstance(settings, dict) else None,
    )


def _compose(labels: object) -> tuple[bytes, bytes] | None:
    """The labels that Compose gives its containers (docker/compose pkg/api/labels.go, v2.29)."""
    if not isinstance(labels, dict):
        return None
    service = _bytes(labels.get("com.docker.compose.service"))
    files = _bytes(labels.get("com.docker.compose.project.config_files"))
    return None if service is None or files is None else (service, files)


def _mounted(points: object) -> Iterator[Mounted]:
    for target, point in sorted(points.items()) if isinstance(points, dict) else ():
        if isinstance(point, dict):
            source = _bytes(point.get("Name")) or _bytes(point.get("Source")) or b""
            yield Mounted(_bytes(point.get("Type")) or b"mount", source, target.encode("utf-8", "surrogatepass"))


def _image_mounts(container: bytes, points: object) -> frozenset[bytes] | None:
    """The ids of the layers of a container's image mounts; None if a mount cannot be understood.

    The id of every mount point counts, of whatever type, and so do the ids that its other fields would give an image
    mount. So one damaged field of a mount point hides no id.
    """
    if points is None:
        return frozenset()
    if not isinstance(points, dict):
        return None
    found: set[bytes] = set()
    for point in points.values():
        if not isinstance(point, dict):
            return None
        recorded = _bytes(point.get("ID"))
        if recorded is not None:
            found.add(recorded)
        if point.get("Type") in _NO_IMAGES:
            continue
        source, target = _bytes(point.get("Name")), _bytes(point.get("Destination"))
        if source is not None and target is not None:
            found.update(_layer_names(container, source, target))
        elif recorded is None and point.get("Type") == "image":
            return None
    return frozenset(found)


def _layer_names(container: bytes, source: bytes, target: bytes) -> tuple[bytes, ...]:
    """The names that dockerd gives the layer of an image mount (moby daemon/volumes.go, registerMountPoints)."""
    return (
        container + b"-" + source,  # v28.0 to v28.5
        (container + b",src=" + source + b",dst=" + target).hex().encode(),  # v29.0.0 to v29.1.3
        hash_hex(container + b"-src=" + source + b"-dst=" + target),  # v29.1.4 and later
    )


def _has_files(data: RawPath, name: bytes) -> bool:
    """Whether a container's folder has, or may have, a file of a container that existed.

    If dockerd could not remove a container (a busy mounts/shm, moby daemon/delete.go, v28.5), only folders are left. A
    killed ``docker create`` leaves the configuration that it was writing (moby sys/atomicwriter), and dockerd skips
    such a folder at each start (tried with 26.1 and 28.5).
    """
    try:
        with folder(data, b"containers", name) as descriptor:
            return any(
                not stat.S_ISDIR(os.stat(each, dir_fd=descriptor, follow_symlinks=False).st_mode)
                for each in names(descriptor)
                if not each.startswith(_UNFINISHED)
            )
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _unreadable(name: bytes, path: RawPath, why: str, *, left: bool, unready: bool = False) -> Finding:
    """The finding that a container's configuration could not be read: the blobs that may be its manifest are kept.

    A folder that a removed container left, or a ``lost+found``, is a note only.
    """
    severity = Severity.NOTE if left or unready else Severity.BLIND
    also = "" if left else ", and what may be its manifest is kept"
    text = messages.CONTAINER_UNREADABLE(container=name, path=path, problem=why, also=also)
    return text.at(Place(path), name, severity=severity)


def _bytes(value: object) -> bytes | None:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) and value else None


def _digest(value: object) -> Digest | None:
    raw = _bytes(value)
    return Digest(raw) if raw is not None and is_digest(raw) else None

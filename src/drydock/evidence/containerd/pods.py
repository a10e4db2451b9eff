"""What the CRI plugin records of its pods: whose a container is, and what a network of a pod's own has reserved.

The metadata of a container and of a sandbox are extensions of their records: an ``Any`` of protobuf with JSON in it.
CNI's plugin host-local reserves an address by a file of its name, whose first line is the id of the sandbox. CNI itself
keeps what its plugins answered in files that are called by the network, the sandbox and the interface.

Sources: containerd internal/cri/store/{container,sandbox}/metadata.go, internal/cri/server/sandbox_run.go
(``hostNetwork``, ``netnsMountDir``), v1.6 to v2.4; CNI plugins/ipam/host-local/backend/disk/backend.go (Reserve), v1.6
and v1.10; CNI libcni/api.go (getCacheFilePath), v1.3.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from bbolt_reader import BoltError, Database
from drydock.evidence.containerd.encoding import Undecodable, uvarint_at
from drydock.evidence.files.directory import folder, names
from drydock.evidence.files.regular import read_regular
from drydock.model.container_drops import Pod
from drydock.model.names import RawPath
from drydock.model.roots import Root

_CRI: Final = b"k8s.io"
_SANDBOX, _CONTAINER = b"io.cri-containerd.sandbox.metadata", b"io.cri-containerd.container.metadata"
_NODE: Final = 2
"""``NamespaceMode_NODE`` of the CRI API: the pod has the network of the host."""
_NETWORKS: Final = (b"var", b"lib", b"cni", b"networks")
_RESULTS: Final = (b"var", b"lib", b"cni", b"results")
_LARGEST: Final = 4096
_BYTES: Final = 2
"""The wire type of protobuf for bytes, and the number of an ``Any``'s value."""


def read_pods(root: Root, database: Database | None) -> tuple[dict[bytes, Pod], dict[bytes, bytes]]:
    """The pods by the ids of their sandboxes, and the pods of containers by the ids of these.

    Args:
        root: the containerd root.
        database: its meta.db.

    Returns:
        Only what could be read.
    """
    pods: dict[bytes, Pod] = {}
    of_containers: dict[bytes, bytes] = {}
    for name, extensions in _extensions(database):
        with suppress(Undecodable, ValueError, RecursionError, LookupError, AttributeError, TypeError):
            if _SANDBOX in extensions:
                pods[name] = _pod(root, _metadata(extensions[_SANDBOX]))
            elif _CONTAINER in extensions:
                of_containers[name] = _metadata(extensions[_CONTAINER])["SandboxID"].encode()
    own = [name for name, pod in pods.items() if pod.has_network]
    reserved, results = (_reserved(root), _results(root)) if own else ({}, [])
    for name in own:
        answered = (path for path in results if b"-" + name + b"-" in path.rpartition(b"/")[2])
        pods[name] = pods[name]._replace(
            addresses=tuple(sorted(reserved.get(name, ()))), results=tuple(sorted(answered))
        )
    return pods, of_containers


def _extensions(database: Database | None) -> Iterator[tuple[bytes, Mapping[bytes, bytes]]]:
    with suppress(BoltError):
        bucket = None if database is None else database.root
        for part in (b"v1", _CRI, b"containers"):
            bucket = None if bucket is None else bucket.bucket(part)
        if bucket is None:
            return
        for name, record in bucket.items():
            if not isinstance(record, bytes):
                found = record.bucket(b"extensions")
                values = () if found is None else found.items()
                yield name, {key: value for key, value in values if isinstance(value, bytes)}


def _metadata(raw: bytes) -> Mapping[str, Any]:
    """The metadata in an extension.

    Raises:
        Undecodable: it is no ``Any``.
        ValueError: its value is no JSON of this version.
    """
    at, value = 0, b""
    while at < len(raw):
        field, at = uvarint_at(raw, at)
        length, at = uvarint_at(raw, at)
        if field & 7 != _BYTES or at + length > len(raw):
            raise Undecodable("it is no Any")
        if field >> 3 == _BYTES:
            value = raw[at : at + length]
        at += length
    document: Any = json.loads(value)
    if document["Version"] != "v1":
        raise ValueError("another version")
    found: Mapping[str, Any] = document["Metadata"]
    return found


def _pod(root: Root, metadata: Mapping[str, Any]) -> Pod:
    config = metadata["Config"]
    options = ((config.get("linux") or {}).get("security_context") or {}).get("namespace_options") or {}
    if options.get("network") == _NODE:
        return Pod()
    path = (metadata.get("NetNSPath") or "").encode()
    name = path.rpartition(b"/")[2]
    # /var/run is a link to /run; nothing follows it on a host that is mounted elsewhere.
    is_there = path.startswith((b"/var/run/netns/", b"/run/netns/")) and os.path.lexists(
        os.path.join(root.host, b"run/netns", name)
    )
    return Pod(has_network=True, namespace=name if is_there else b"")


def _reserved(root: Root) -> dict[bytes, list[RawPath]]:
    """The files of host-local, by the id in each."""
    found: dict[bytes, list[RawPath]] = {}
    with suppress(OSError), folder(root.host, *_NETWORKS) as networks:
        for network in names(networks):
            with suppress(OSError), folder(root.host, *_NETWORKS, network) as addresses:
                for address in names(addresses):
                    with suppress(OSError):
                        held = read_regular(address, _LARGEST, addresses)
                        path = RawPath(os.path.join(root.host, *_NETWORKS, network, address))
                        found.setdefault(held.partition(b"\n")[0].strip(), []).append(path)
    return found


def _results(root: Root) -> list[RawPath]:
    """The files in which CNI keeps what its plugins answered."""
    with suppress(OSError), folder(root.host, *_RESULTS) as found:
        return [RawPath(os.path.join(root.host, *_RESULTS, name)) for name in names(found)]
    return []

"""Scan documents of hosts that never were, the same for the same number, with totals that are known beforehand."""

from __future__ import annotations

import random
from typing import Any

LAYERS = 400
IMAGES = 60
MIB = 1 << 20


def digest(number: int) -> str:
    """A digest for a number."""
    return f"sha256:{number:064x}"


def layer_bytes(number: int) -> int:
    """The size of a layer, by its number."""
    return (number % 50 + 1) * MIB


def host_document(number: int) -> dict[str, Any]:
    """The document of one host: 12 images of four layers each, orphans, and leases of two causes."""
    chance = random.Random(number)
    images = chance.sample(range(IMAGES), 12)
    layers = sorted({(image * 7 + place) % LAYERS for image in images for place in range(4)})
    objects = [_blob(each, "live", f"image:example.org/app:{images[0]}") for each in layers]
    objects += [
        {**_blob(each, "live", ""), "kind": "snapshot", "id": f"layer-{each}", "snapshotter": "overlayfs", "row": "x"}
        for each in layers
    ]
    objects += [_blob(100_000 + number * 10 + each, "orphaned", None) for each in range(number % 5)]
    objects += [_blob(900_000 + number, "leased", f"lease:pull-{number}")]
    holders = [_holder(image) for image in images]
    leases = [
        _lease(f"pull-{number}", "temporary", "ends 2026-02-01T10:00:00Z", 5 * MIB),
        _lease(f"old-{number}", "ownerless", "dockerd has no container with its id", MIB),
    ]
    orphaned = [each for each in objects if each["state"] == "orphaned"]
    root = {
        "path": "/var/lib/containerd",
        "engine": "containerd",
        "namespaces": ["moby"],
        "schema_version": 3,
        "complete": number % 100 != 0,
        "live": True,
        "measured": "recorded",
        "verified": "size",
        "totals": {},
        "reclaimable": {"count": len(orphaned), "bytes": sum(each["bytes"] for each in orphaned)},
        "leased_by_class": {},
        "database_bytes": 4 * MIB,
        "objects": objects,
        "leases": leases,
        "findings": [],
        "withheld": [],
        "holders": holders,
    }
    return {
        "schema": "drydock.scan/1",
        "drydock": "0",
        "now": f"2026-02-01T0{number % 10}:00:00Z",
        "host": f"host-{number:04}",
        "roots": [root],
        "usage": [
            _usage("content", "", "/var/lib/containerd/io.containerd.content.v1.content", len(layers) * MIB),
            _usage("named-volumes", "pgdata", "/var/lib/docker/volumes/pgdata", (number + 1) * 7 * MIB, ["db"]),
            _usage("named-volumes", "other", "/var/lib/docker/volumes/other", None),
            _usage("logs", "web", "/var/lib/docker/containers/web/web-json.log", 3 * MIB),
        ],
        "file_systems": [
            {
                "path": "/var/lib/docker",
                "size": 1000 * MIB,
                "used": (100 + number) * MIB,
                "free": (900 - number) * MIB,
                "inodes": 0,
                "inodes_free": 0,
            }
        ],
    }


def _usage(category: str, name: str, path: str, size: int | None, users: list[str] | None = None) -> dict[str, Any]:
    return {
        "category": category,
        "name": name,
        "path": path,
        "bytes": size,
        "note": "" if size is not None else "a mount, which is not entered",
        "used_by": users,
        "driver": "json-file" if category == "logs" else "",
        "place": "/var/lib/containerd" if category == "content" else "/var/lib/docker",
    }


def _blob(number: int, state: str, held: str | None) -> dict[str, Any]:
    kind, _, name = (held or "").partition(":")
    return {
        "kind": "blob",
        "id": digest(number),
        "state": state,
        "bytes": layer_bytes(number),
        "path": f"io.containerd.content.v1.content/blobs/sha256/{number:064x}",
        "namespaces": ["moby"] if held is not None else [],
        "held_by": [{"kind": kind, "namespace": "moby", "id": name}] if held else [],
        "reach": None,
        "note": "",
    }


def _holder(image: int) -> dict[str, Any]:
    return {
        "kind": "image",
        "namespace": "moby",
        "id": f"example.org/app:{image}",
        "names": [f"example.org/app:{image}", f"example.org/app:{image}-again"],
        "class": None,
        "owner": "",
        "objects": 8,
        "bytes": 8 * MIB,
        "only_bytes": image * MIB,
    }


def _lease(name: str, kind: str, reason: str, size: int) -> dict[str, Any]:
    return {
        "namespace": "moby",
        "id": name,
        "class": kind,
        "reason": reason,
        "owner": "",
        "created": "2026-01-31T10:00:00Z",
        "expires": None,
        "resources": 3,
        "only_bytes": size,
    }

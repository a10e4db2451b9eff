"""What an engine itself says is there: every list that ctr prints, per namespace, as plain data for JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.engines.containerd import Containerd

_SNAPSHOTTERS = ("overlayfs", "native", "erofs", "btrfs")
Listing = dict[str, dict[str, Any]]
"""Per namespace: ``labels``, and lists of rows ``images``, ``containers``, ``content``, ``ingests``, ``snapshots`` (by
snapshotter) and ``leases``."""
Names = dict[str, dict[str, list[str]]]
"""Per namespace and kind, names only; a snapshot's is ``<snapshotter>/<key>``."""


def listed(engine: Containerd) -> Listing:
    """Everything that ctr lists. Nothing is changed, if collections are off.

    Content is read too: ``size`` is the number of bytes that ``ctr content get`` gave, None if it could not, and
    ``intact`` says whether they have the digest. An ingest's ``size`` is the text shown; a snapshot's
    ``bytes`` are what was recorded at its commit, None for one that is not committed.
    """
    usable = engine.snapshotters()
    snapshotters = [name for name in _SNAPSHOTTERS if name in usable]
    return {name: _namespace(engine, name, labels, snapshotters) for name, labels in _namespaces(engine).items()}


def names(listing: Listing) -> Names:
    """The names in a listing."""
    keys = {"images": "name", "containers": "id", "content": "digest", "ingests": "ref", "leases": "id"}
    return {
        namespace: {
            **{kind: sorted(row[key] for row in lists[kind]) for kind, key in keys.items()},
            "snapshots": sorted(
                f"{snapshotter}/{row['key']}" for snapshotter, rows in lists["snapshots"].items() for row in rows
            ),
        }
        for namespace, lists in listing.items()
    }


def dropped(before: Listing, after: Listing) -> Names:
    """The names in ``before`` that ``after`` has no more, without empty lists."""
    left = names(after)
    gone: Names = {}
    for namespace, kinds in names(before).items():
        for kind, all_names in kinds.items():
            missing = sorted(set(all_names) - set(left.get(namespace, {}).get(kind, [])))
            if missing:
                gone.setdefault(namespace, {})[kind] = missing
    return gone


def on_disk(root: Path) -> list[str]:
    """Every blob, ingest folder and snapshot folder below a containerd root, as paths relative to it.

    Bytes that are no UTF-8 become lone surrogates, as in Python's file names.
    """
    found = [
        *root.glob("io.containerd.content.v1.content/blobs/*/*"),
        *root.glob("io.containerd.content.v1.content/ingest/*"),
        *root.glob("io.containerd.snapshotter.v1.*/snapshots/*"),
    ]
    return sorted(str(path.relative_to(root)) for path in found)


def ingest_files(root: Path) -> dict[str, dict[str, Any]]:
    """What lies in each ingest folder: its ``ref``, ``total`` and the bytes of ``data``, None where there is none."""
    folder = root / "io.containerd.content.v1.content/ingest"
    return {entry.name: _ingest(entry) for entry in sorted(folder.glob("*")) if entry.is_dir()}


def _ingest(entry: Path) -> dict[str, Any]:
    ref, total, data = entry / "ref", entry / "total", entry / "data"
    return {
        "ref": ref.read_text() if ref.is_file() else None,
        "total": int(total.read_text()) if total.is_file() else None,
        "bytes": data.stat().st_size if data.is_file() else None,
    }


def _namespaces(engine: Containerd) -> dict[str, dict[str, str]]:
    return {row["NAME"]: _labels(row["LABELS"]) for row in _columns(engine.ctr_text("namespaces", "ls"))}


def _namespace(
    engine: Containerd, namespace: str, labels: dict[str, str], snapshotters: Sequence[str]
) -> dict[str, Any]:
    def columns(*command: str) -> list[dict[str, str]]:
        return _columns(engine.ctr_text(*command, namespace=namespace))

    def tabs(*command: str) -> list[dict[str, str]]:
        return _tabs(engine.ctr_text(*command, namespace=namespace))

    def info(container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(engine.ctr_text("containers", "info", container, namespace=namespace))
        return found

    def used(snapshotter: str, row: dict[str, str]) -> int | None:
        # Of others it is measured when asked, and depends on the file system.
        if row["KIND"] != "Committed":
            return None
        return int(columns("snapshots", "--snapshotter", snapshotter, "usage", "-b", row["KEY"])[0]["SIZE"])

    # Some lists come in the order of a Go map.
    def by(key: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: str(row[key]))

    images = [
        {"name": row["REF"], "type": row["TYPE"], "digest": row["DIGEST"], "labels": _labels(row["LABELS"])}
        for row in columns("images", "ls")
    ]
    containers = [
        {"id": row["CONTAINER"], "image": row["IMAGE"], "runtime": row["RUNTIME"], **_stands_on(info(row["CONTAINER"]))}
        for row in columns("containers", "ls")
    ]
    content = [
        {"digest": row["DIGEST"], "labels": _labels(row["LABELS"]), **_read(engine, namespace, row["DIGEST"])}
        for row in tabs("content", "ls")
    ]
    ingests = [{"ref": row["REF"], "size": row["SIZE"]} for row in tabs("content", "active")]
    snapshots = {
        snapshotter: by(
            "key",
            [
                {"key": row["KEY"], "parent": row["PARENT"], "kind": row["KIND"], "bytes": used(snapshotter, row)}
                for row in columns("snapshots", "--snapshotter", snapshotter, "ls")
            ],
        )
        for snapshotter in snapshotters
    }
    leases = [
        {"id": row["ID"], "created": row["CREATED AT"], "labels": _labels(row["LABELS"])}
        for row in columns("leases", "ls")
    ]
    return {
        "labels": labels,
        "images": by("name", images),
        "containers": by("id", containers),
        "content": by("digest", content),
        "ingests": by("ref", ingests),
        "snapshots": snapshots,
        "leases": by("id", leases),
    }


def _stands_on(info: dict[str, Any]) -> dict[str, str]:
    return {"snapshotter": info.get("Snapshotter", ""), "snapshot": info.get("SnapshotKey", "")}


def _read(engine: Containerd, namespace: str, digest: str) -> dict[str, Any]:
    done = engine.ctr("content", "get", digest, namespace=namespace, check=False)
    if done.returncode != 0:
        return {"size": None, "intact": False}
    algorithm, _, value = digest.partition(":")
    return {"size": len(done.stdout), "intact": hashlib.new(algorithm, done.stdout).hexdigest() == value}


def _columns(text: str) -> list[dict[str, str]]:
    """A table padded with blanks: a column begins where its title does, since cells may hold blanks or nothing."""
    lines = text.splitlines()
    if not lines:
        return []
    # Titles are apart by at least one blank; only "CREATED AT" has one in itself.
    titles = [(match.start(), match[0]) for match in re.finditer(r"CREATED AT|\S+", lines[0])]
    ends = [start for start, _ in titles[1:]] + [None]
    return [
        {title: line[start:end].strip() for (start, title), end in zip(titles, ends, strict=True)} for line in lines[1:]
    ]


def _tabs(text: str) -> list[dict[str, str]]:
    """A table padded with tabs."""
    lines = [re.split(r"\t+", line) for line in text.splitlines()]
    return [dict(zip(lines[0], row, strict=False)) for row in lines[1:]] if lines else []


def _labels(text: str) -> dict[str, str]:
    if text in ("", "-"):
        return {}
    # A value may hold commas; a new label begins after a comma with a key and "=".
    pairs = re.split(r",(?=[^,=]+=|[^,=/]+/[^,=]+(?:,|$))", text)
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}

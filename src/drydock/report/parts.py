"""What the objects of a store are to people: ``layer 3``, ``config``, ``unpacked layer``."""

from __future__ import annotations

import re

from drydock.model.data import RowKind
from drydock.model.names import Kind, Ref
from drydock.model.objects import ObjectKind, StoreObject, Verdict

# containerd core/images/mediatypes.go ChildGCLabels (v2.1): one for each child, fetched or not.
_CHILD = re.compile(rb"containerd\.io/gc\.ref\.content\.(?:(m|l)\.([0-9]{1,6})|(config))\Z")
_ROWS = {
    RowKind.COMMITTED: "unpacked layer",
    RowKind.ACTIVE: "writable layer",
    RowKind.VIEW: "view of a layer",
    RowKind.UNKNOWN: "snapshot",
}


class Parts:
    """Names the part that an object plays; made once a root."""

    def __init__(self, verdict: Verdict) -> None:
        self._store = verdict.store
        self._parts: dict[Ref, str] = {}
        metadata = verdict.store.metadata
        for blob in metadata.blobs:
            for label, value in blob.labels.items():
                match = _CHILD.match(label)
                if match is not None:
                    what = "manifest" if match[1] == b"m" else f"layer {int(match[2]) + 1}" if match[1] else "config"
                    self._parts.setdefault(Ref(Kind.BLOB, blob.namespace, value), what)
        for image in metadata.images:
            what = "index" if b"index" in image.media_type or b"manifest.list" in image.media_type else "manifest"
            self._parts.setdefault(Ref(Kind.BLOB, image.namespace, image.target), what)

    def of(self, found: StoreObject) -> str:
        """The part of one object; its kind where nothing more is known."""
        if found.kind is ObjectKind.INGEST:
            return "unfinished write"
        if found.kind is ObjectKind.SNAPSHOT:
            backend = self._store.backends.get(found.snapshotter)
            row = None if backend is None or found.row is None else backend.rows.get(found.row)
            return "snapshot" if row is None else _ROWS[row.kind]
        return next((self._parts[ref] for ref in found.refs if ref in self._parts), "blob")

"""An image archive checked by its own description: an OCI layout, read with Python's tar and nothing of drydock's."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Layout:
    """What an archive holds, every digest checked."""

    index: dict[str, Any]
    blobs: dict[str, bytes]
    docker: list[dict[str, Any]] | None
    """manifest.json."""

    def reached(self, digest: str) -> set[str]:
        """Every digest that a document names, as far as they are in the archive."""
        found = {digest}
        if digest in self.blobs:
            try:
                document = json.loads(self.blobs[digest])
            except ValueError:
                return found
            named = [*document.get("manifests", []), *document.get("layers", [])]
            named += [document["config"]] if "mediaType" in document.get("config", {}) else []
            for each in named:
                if each["digest"] in self.blobs:
                    assert len(self.blobs[each["digest"]]) == each["size"]
                found |= self.reached(each["digest"])
        return found


def read_layout(archive: Path) -> Layout:
    """Read one, and check what the image-spec says of a layout (image-layout.md)."""
    files: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            assert member.isreg()
            assert member.name not in files
            file = tar.extractfile(member)
            assert file is not None
            files[member.name] = file.read()
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    blobs = {}
    for name, data in files.items():
        if name.startswith("blobs/"):
            _, algorithm, value = name.split("/")
            assert hashlib.new(algorithm, data).hexdigest() == value
            blobs[f"{algorithm}:{value}"] = data
    docker = json.loads(files["manifest.json"]) if "manifest.json" in files else None
    for entry in docker or []:
        assert all(name in files for name in (entry["Config"], *entry["Layers"]))
    return Layout(json.loads(files["index.json"]), blobs, docker)

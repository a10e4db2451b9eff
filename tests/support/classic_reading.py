"""A second reading of a classic layer store, by the layout that dockerd writes and nothing of drydock: what is used.

The databases are read by Go's bbolt. It knows sound stores only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support import gobbolt
from tests.support.build_cache import left_by_steps

_OWN = re.compile(r"[0-9a-f]{64}(-init)?|[0-9a-z]{25}|(check-overlayfs-support|metacopy-check|opaque-bug-check).*")


class Reading:
    """What of a data root's ``overlay2`` and ``image/overlay2`` is used, and what is not."""

    def __init__(self, data: Path, *, spare_ownerless: bool) -> None:
        """Read it.

        Args:
            data: the data root.
            spare_ownerless: count as used what a container wrote whose folder is gone, and what only a lease names
                whose cache record is gone.
        """
        self.data = data
        self.layerdb = data / "image/overlay2/layerdb"
        self.records = {
            path.name: {each.name: each.read_text() for each in path.iterdir() if not each.name.endswith(".gz")}
            for path in (self.layerdb / "sha256").iterdir()
            if "-" not in path.name
        }
        self.layers: set[str] = set()
        """The chain ids that are used, without ``sha256:``."""
        self.directories: set[str] = set()
        self.mounts: set[str] = set()
        self._spare = spare_ownerless
        self._dropped = left_by_steps(data / "buildkit/metadata_v2.db")
        """The cache records that BuildKit drops by itself: in a sound store those of killed steps alone."""
        for chain in self._needed_chains():
            self._use_layer(chain)
        for name in self._needed_directories():
            self._use_directory(name)

    def unused(self) -> set[str]:
        """The paths below the data root of all that nothing uses: records, links and directories."""
        overlay2 = self.data / "overlay2"
        names = {each.name for each in overlay2.iterdir() if _OWN.fullmatch(each.name)}
        # A kill may come between the link and the file that names it, which is written last.
        links = {each.name: each.readlink().parts[1] for each in (overlay2 / "l").iterdir()}
        used = {self._link(name) for name in self.directories if (overlay2 / name / "link").exists()}
        used |= {name for name, directory in links.items() if directory in self.directories}
        records = {path.name for path in (self.layerdb / "sha256").iterdir()} - self.layers
        mounts = {path.name for path in (self.layerdb / "mounts").iterdir()} - self.mounts
        return {
            *(f"overlay2/{name}" for name in names - self.directories),
            *(f"overlay2/l/{name}" for name in links.keys() - used),
            *(f"image/overlay2/layerdb/sha256/{name}" for name in records),
            *(f"image/overlay2/layerdb/mounts/{name}" for name in mounts),
            *(f"image/overlay2/layerdb/tmp/{path.name}" for path in (self.layerdb / "tmp").iterdir()),
        }

    def _link(self, name: str) -> str:
        return (self.data / "overlay2" / name / "link").read_text()

    def _needed_chains(self) -> Iterator[str]:
        for config in (self.data / "image/overlay2/imagedb/content/sha256").iterdir():
            chain = ""
            for diff in json.loads(config.read_text())["rootfs"].get("diff_ids") or ():
                chain = diff if not chain else "sha256:" + hashlib.sha256(f"{chain} {diff}".encode()).hexdigest()
                yield chain
        for record in self._mounts_in_use():
            yield (record / "parent").read_text()
        for bucket, fields in self._snapshots().items():
            yield from (each for each in (bucket, fields.get("chainid", "")) if each.startswith("sha256:"))
        yield from (key for key in self._leased() if key.startswith("sha256:"))

    def _needed_directories(self) -> Iterator[str]:
        for record in self._mounts_in_use():
            self.mounts.add(record.name)
            for each in ("mount-id", "init-id"):
                if (record / each).exists():
                    yield (record / each).read_text()
        for bucket, fields in self._snapshots().items():
            yield from (bucket, fields.get("committed", ""))
        yield from self._leased()

    def _mounts_in_use(self) -> Iterator[Path]:
        containers = {path.name for path in (self.data / "containers").iterdir()}
        for record in (self.layerdb / "mounts").iterdir():
            if record.name in containers or (self._spare and (record / "init-id").exists()):
                yield record

    def _snapshots(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for path, value in _dumped(self.data / "buildkit/snapshots.db"):
            if path and path[0] not in self._dropped:
                found.setdefault(path[0], {})
            if len(path) == 2 and path[0] in found:
                found[path[0]][path[1]] = value
        return found

    def _leased(self) -> Iterator[str]:
        """The keys that leases name which count."""
        known = {path[1] for path, _ in _dumped(self.data / "buildkit/metadata_v2.db") if len(path) == 2}
        for path, _ in _dumped(self.data / "buildkit/containerdmeta.db"):
            is_key = path[:3] == ["v1", "buildkit", "leases"] and path[4:6] == ["snapshots", "default"]
            counts = path[3:4] and path[3] not in self._dropped and (self._spare or path[3] in known)
            if is_key and len(path) == 7 and counts:
                yield path[6]

    def _use_layer(self, chain: str) -> None:
        name = chain.removeprefix("sha256:")
        while name and name in self.records and name not in self.layers:
            self.layers.add(name)
            self._use_directory(self.records[name]["cache-id"])
            name = self.records[name].get("parent", "").removeprefix("sha256:")

    def _use_directory(self, name: str) -> None:
        overlay2 = self.data / "overlay2"
        if not name or name in self.directories or not (overlay2 / name).is_dir():
            return
        self.directories.add(name)
        lower = overlay2 / name / "lower"
        for link in lower.read_text().split(":") if lower.exists() else ():
            self._use_directory((overlay2 / link).readlink().parts[1])


def _dumped(database: Path) -> Iterator[tuple[list[str], str]]:
    """Every bucket and key of a database as Go's bbolt reads it: the path to it, and the value."""
    for line in gobbolt.dump(database).splitlines():
        kind, _, rest = line.partition(" ")
        path, _, value = rest.partition(" ")
        names = [bytes.fromhex(each).decode(errors="replace") for each in path.split("/") if each]
        yield names, bytes.fromhex(value).decode(errors="replace") if kind == "key" else ""

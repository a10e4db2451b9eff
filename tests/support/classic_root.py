"""Builds a Docker data root in the classic mode by hand: images, layers, containers, mounts, links and BuildKit.

It is written as dockerd 28.5 writes it (moby layer/filestore.go, image/fs.go, overlay2/overlay.go); what it takes for a
fact about dockerd, tests of captures check on real ones.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path

from tests.support.boltwriter import write


def hexed(word):
    """64 hexadecimal digits for a word."""
    return hashlib.sha256(word.encode()).hexdigest()


class ClassicRoot:
    """A data root below a folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.image = data / "image/overlay2"
        self.layerdb = self.image / "layerdb"
        self.overlay = data / "overlay2"
        self.names: dict[str, dict[str, str]] = {}
        self.chains: dict[str, str] = {}
        """The chain id of each layer by its word."""
        for path in (
            self.layerdb / "sha256",
            self.layerdb / "mounts",
            self.layerdb / "tmp",
            self.image / "imagedb/content/sha256",
            self.image / "imagedb/metadata/sha256",
            self.image / "distribution",
            self.overlay / "l",
            data / "containers",
            data / "volumes",
            data / "buildkit",
        ):
            path.mkdir(parents=True)
        self.references()

    def references(self):
        """Write repositories.json."""
        (self.image / "repositories.json").write_text(json.dumps({"Repositories": self.names}))

    def directory(self, name, below=(), files=(("file", "x" * 100),)):
        """A directory of overlay2 with its link; ``below`` are those that it is mounted on, the next one first."""
        path = self.overlay / name
        (path / "diff").mkdir(parents=True)
        for file, text in files:
            (path / "diff" / file).write_text(text)
        link = hexed(name)[:26].upper()
        os.symlink(f"../{name}/diff", self.overlay / "l" / link)
        (path / "link").write_text(link)
        if below:
            (path / "work").mkdir()
            (path / "lower").write_text(":".join("l/" + hexed(each)[:26].upper() for each in below))
            (self.overlay / below[0] / "committed").touch()
        return path

    def layer(self, word, parent=None, directory=None):
        """A layer with its directory; returns its chain id."""
        diff = "sha256:" + hexed("diff " + word)
        chain = diff
        if parent is not None:
            chain = "sha256:" + hexed(f"{self.chains[parent]} {diff}")
        self.chains[word] = chain
        path = self.layerdb / "sha256" / chain.removeprefix("sha256:")
        path.mkdir()
        cache = directory or hexed("directory " + word)
        (path / "cache-id").write_text(cache)
        (path / "diff").write_text(diff)
        (path / "size").write_text("100")
        if parent is not None:
            (path / "parent").write_text(self.chains[parent])
        (path / "tar-split.json.gz").write_bytes(gzip.compress(b""))
        if not (self.overlay / cache).exists():
            self.directory(cache, self.below(parent))
        return chain

    def below(self, word):
        """The directories of a layer and of those below it."""
        found = []
        while word is not None:
            record = self.layerdb / "sha256" / self.chains[word].removeprefix("sha256:")
            found.append((record / "cache-id").read_text())
            parent = record / "parent"
            chain = parent.read_text() if parent.exists() else None
            word = next((each for each, its in self.chains.items() if its == chain), None)
        return found

    def an_image(self, name, *words):
        """An image of these layers, the base first; returns its id."""
        diffs = ["sha256:" + hexed("diff " + word) for word in words]
        config = json.dumps({"created": "2026-01-01T00:00:00Z", "rootfs": {"type": "layers", "diff_ids": diffs}})
        identity = hashlib.sha256(config.encode()).hexdigest()
        (self.image / "imagedb/content/sha256" / identity).write_text(config)
        if name is not None:
            self.names.setdefault(name.rpartition(":")[0], {})[name] = "sha256:" + identity
            self.references()
        return "sha256:" + identity

    def mount(self, name, word, directory, *, init=True):
        """The record of a mount on a layer, with its directories."""
        path = self.layerdb / "mounts" / name
        path.mkdir(parents=True)
        (path / "mount-id").write_text(directory)
        below = self.below(word)
        if init:
            (path / "init-id").write_text(directory + "-init")
            self.directory(directory + "-init", below)
            below = [directory + "-init", *below]
        (path / "parent").write_text(self.chains[word])
        self.directory(directory, below)
        return path

    def container(self, word, layer, *, driver="overlay2"):
        """A container with its writable layer; returns its id."""
        identity = hexed("container " + word)
        if layer is not None:
            self.mount(identity, layer, hexed("written " + word))
        folder = self.data / "containers" / identity
        folder.mkdir()
        config = {"ID": identity, "Name": "/" + word, "Driver": driver, "MountPoints": {}, "State": {}}
        (folder / "config.v2.json").write_text(json.dumps(config))
        (folder / "hostconfig.json").write_text("{}")
        return identity

    def builds(self, snapshots=None, leases=None, records=()):
        """BuildKit's databases: buckets of snapshots.db, the keys that each lease names, and the cache records."""
        folder = self.data / "buildkit"
        write(folder / "snapshots.db", {key: dict(fields) for key, fields in (snapshots or {}).items()})
        made = {
            lease: {
                b"createdat": b"\x01\0\0\0\x0e\xdb\x00\x00\x00\0\0\0\0\xff\xff",
                b"labels": {b"containerd.io/gc.flat": b"x"},
                b"snapshots": {b"default": dict.fromkeys(keys, b"")},
            }
            for lease, keys in (leases or {}).items()
        }
        write(folder / "containerdmeta.db", {b"v1": {b"version": b"\x06", b"buildkit": {b"leases": made}}})
        write(folder / "metadata_v2.db", {b"_main": {each: {b"cache.size": b"{}"} for each in records}})

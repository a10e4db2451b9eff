"""Ways to lose or spoil an image's data in a stopped engine's root, as crashes and disks do."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.engines.images import Blob, Image
from tests.support.records import CONTENT, folders

OVERLAYFS = "io.containerd.snapshotter.v1.overlayfs"


@dataclass
class Spoiled:
    """A root and one image in it, to be broken."""

    root: Path
    image: Image

    def blob(self, blob: Blob) -> Path:
        """Path of a blob."""
        return self.root / CONTENT / "blobs" / blob.digest.replace(":", "/")

    def folder(self, length: int | None) -> Path:
        """Path of the folder that the first ``length`` layers' last one was unpacked to."""
        rows = folders(self.root / OVERLAYFS / "metadata.db")
        chain = self.image.chain_id(length).encode()
        (name,) = [name for name in rows if name.split(b"/", 2)[2] == chain]
        return self.root / OVERLAYFS / rows[name]

    def unlink_layer(self) -> None:
        """The last layer's blob is gone."""
        self.blob(self.image.layers[-1]).unlink()

    def truncate_layer(self) -> None:
        """The last layer's blob has no bytes."""
        self.blob(self.image.layers[-1]).write_bytes(b"")

    def flip_layer(self) -> None:
        """The last layer's blob has its size, and other bytes."""
        path = self.blob(self.image.layers[-1])
        data = bytearray(path.read_bytes())
        data[600] ^= 0xFF
        path.write_bytes(data)

    def unlink_config(self) -> None:
        """The config is gone."""
        self.blob(self.image.config).unlink()

    def empty_manifest(self) -> None:
        """The manifest has no bytes."""
        self.blob(self.image.manifest).write_bytes(b"")

    def remove_folder(self) -> None:
        """The folder of the last layer is gone."""
        shutil.rmtree(self.folder(None))

    def remove_base(self) -> None:
        """The folder of the first layer is gone: everything stands on it."""
        shutil.rmtree(self.folder(1))

    def empty_files(self) -> None:
        """Files of the first layer have no bytes, as after a power cut."""
        (self.folder(1) / "fs/bin/busybox").write_bytes(b"")

    def empty_both(self) -> None:
        """The last layer's blob has no bytes, nor have the files that it was unpacked to: one power cut did both."""
        self.truncate_layer()
        for path in self._files():
            path.write_bytes(b"")

    def zero_both(self) -> None:
        """The last layer's blob and its unpacked files have their sizes, and other bytes."""
        self.flip_layer()
        for path in self._files():
            path.write_bytes(bytes(path.stat().st_size))

    def _files(self) -> list[Path]:
        return [path for path in (self.folder(None) / "fs").rglob("*") if path.is_file() and not path.is_symlink()]

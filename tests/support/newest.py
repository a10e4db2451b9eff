"""Hosts of containerd 2.4 that nerdctl and Kubernetes use, one for each snapshotter, as copies to be used up."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from fixtures.recipes.containerd_newest import lay_out
from fuzz.stores import META_DB
from tests.engines.containerd import Containerd
from tests.engines.cri import Cri
from tests.engines.hosts import newest, newest_on
from tests.engines.nerdctl import Nerdctl
from tests.engines.sandbox import Sandbox
from tests.support import btrfs
from tests.support.captures import capture, unpack

ROOT = "var/lib/containerd"
SNAPSHOTTERS = ("overlayfs", "native", "erofs", "btrfs")
NOT_READ = ("btrfs",)
"""Those whose layout drydock does not know: their snapshots are named and measured, and nothing of them is touched."""
_END = re.compile(rb"(?<=containerd\.io/gc\.expire)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True, slots=True)
class Newest:
    """One host: a capture, or for btrfs a file system made in this run."""

    snapshotter: str
    work: Path

    @property
    def clock(self) -> str:
        """The time to judge it by, where the engine judges it too."""
        return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    @contextmanager
    def copy(self, folder: Path) -> Iterator[Path]:
        """A copy in a new folder; of btrfs one at a time."""
        folder.mkdir()
        if self.snapshotter != "btrfs":
            _end_tomorrow(unpack(capture(f"containerd-2.4-{self.snapshotter}"), folder) / ROOT / META_DB)
            yield folder
            return
        image = folder.with_suffix(".img")
        subprocess.run(["cp", "--sparse=always", self._image, image], check=True)
        with btrfs.mounted(image, folder):
            yield folder

    def prepare(self) -> None:
        """Make what no capture can hold."""
        if self.snapshotter == "btrfs":
            btrfs.make(self._image)
            at = self.work / "made"
            at.mkdir()
            with btrfs.mounted(self._image, at):
                lay_out(at, self.work, "btrfs")

    @property
    def _image(self) -> Path:
        return self.work / "btrfs.img"

    @contextmanager
    def engine(self, host: Path, work: Path, *, collect: bool) -> Iterator[Containerd]:
        """Its containerd on a copy, CRI and all."""
        work.mkdir()
        with (
            Sandbox(work, programs=newest()) as sandbox,
            newest_on(sandbox, host, self.snapshotter, collect=collect) as engine,
        ):
            yield engine


def _end_tomorrow(database: Path) -> None:
    """Have the leases of a capture end in a day, as on the day it was taken: the engine goes by its own clock."""
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    # A key and its value lie side by side, and no page has a checksum (bbolt v1.4.3 internal/common/page.go).
    data, number = _END.subn(tomorrow.strftime("%Y-%m-%dT%H:%M:%SZ").encode(), database.read_bytes())
    assert number
    database.write_bytes(data)


def told(engine: Containerd) -> dict[str, object]:
    """What nerdctl and crictl list: images, containers and pods with their states."""
    nerdctl, cri = Nerdctl(engine), Cri(engine)
    rows = [json.loads(line) for line in nerdctl("ps", "--all", "--no-trunc", "--format", "json").splitlines()]
    return {
        "nerdctl images": sorted(nerdctl("images", "--no-trunc", "--format", "{{.Name}} {{.Digest}}").splitlines()),
        "nerdctl containers": sorted((row["ID"], row["Names"], row["Image"], row["Status"]) for row in rows),
        "images": sorted(
            (each["id"], *each["repoTags"]) for each in json.loads(cri("images", "--output", "json"))["images"]
        ),
        "containers": sorted(
            (each["id"], each["metadata"]["name"], each["imageRef"], each["state"])
            for each in json.loads(cri("ps", "--all", "--output", "json"))["containers"]
        ),
        "pods": sorted(
            (each["id"], each["metadata"]["name"], each["state"])
            for each in json.loads(cri("pods", "--output", "json"))["items"]
        ),
    }

"""The capture of a Docker host that was switched, and the settings that make its dockerd use one of its stores."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.support.captures import Capture, capture

HOST: Capture = capture("docker-28.5-switched")
SAID: dict[str, list[str]] = HOST.facts["kept"]


def settle(host: Path, *, classic: bool, version: str = "28.5.2") -> None:
    """Give a host the daemon.json of a mode, and a package of Docker."""
    (host / "etc/docker").mkdir(parents=True, exist_ok=True)
    settings = {"features": {"containerd-snapshotter": not classic}}
    (host / "etc/docker/daemon.json").write_text(json.dumps(settings))
    (host / "var/lib/dpkg").mkdir(parents=True, exist_ok=True)
    package = f"Package: docker-ce\nStatus: install ok installed\nVersion: 5:{version}-1\n"
    (host / "var/lib/dpkg/status").write_text(package)


def use(host: Path, *, classic: bool) -> None:
    """Make the records of one mode the newest, as a start of dockerd in that mode does."""
    data = host / HOST.docker
    name = "snapshots.db" if classic else "history_c8d.db"
    os.utime(data / "buildkit" / name)


def without_container(host: Path, name: str) -> None:
    """Remove a container of the classic store by hand: its folder, the record of its layer and the directories."""
    data = host / HOST.docker
    (identity,) = (line.partition(" ")[0] for line in _containers() if line.endswith(f" {name}"))
    record = data / "image/overlay2/layerdb/mounts" / identity
    for each in ("mount-id", "init-id"):
        if record.exists():
            directory = data / "overlay2" / (record / each).read_text()
            (data / "overlay2/l" / (directory / "link").read_text()).unlink()
            shutil.rmtree(directory)
    for path in (record, data / "containers" / identity):
        if path.exists():
            shutil.rmtree(path)


def _containers() -> list[str]:
    return [*SAID["classic containers"], *SAID["image-store containers"]]

"""A capture's own engine on a copy of it, unpacked."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.containerd import Containerd
from tests.engines.docker import Docker
from tests.engines.erofs import erofs_utils
from tests.engines.modules import Module, built
from tests.engines.sandbox import Sandbox
from tests.engines.suite import Suite, rootfs
from tests.engines.unavailable import EngineUnavailable
from tests.support.captures import Capture

# Suites move on. Docker's captures are then opened by a newer one, which has to agree about them all the same.
_SUITES = {"26.1": Suite.TRIXIE, "28.5": Suite.FORKY, "29.7": Suite.FORKY}
NEWEST = (Module.MOBY, Module.CONTAINERD)
"""What makes a Docker 29 of the suite with Docker 28.5; its client, runc and docker-init stay."""


@contextmanager
def containerd_on(capture: Capture, host: Path, work: Path, *, collect: bool) -> Iterator[Containerd]:
    """The containerd that made a capture, alone: this machine's, the newest, or that of the suite whose Docker made it.

    Args:
        capture: which it is.
        host: where it is unpacked.
        work: a folder for logs, made if it is not there.
        collect: as for :class:`Containerd`.

    Raises:
        EngineUnavailable: it cannot be run here, or this machine's is another version.
    """
    with _sandbox(capture, host, work) as sandbox:
        root = host / capture.root if capture.docker is None else Path("/", capture.root)
        with Containerd(sandbox, root, collect=collect, snapshotter=snapshotter(capture)) as engine:
            if capture.docker is None and engine.version()[:4] != capture.containerd[:4]:
                raise EngineUnavailable(
                    f"this machine's containerd is {engine.version()}, the capture's {capture.containerd}"
                )
            yield engine


@contextmanager
def docker_on(
    capture: Capture, host: Path, work: Path, *, containerd_root: str = "", embedded: bool = False
) -> Iterator[Docker]:
    """The Docker of the suite that made a capture.

    Args:
        capture: one of a Docker host.
        host: as for :func:`containerd_on`.
        work: as for :func:`containerd_on`.
        containerd_root: as for :class:`Docker`.
        embedded: the same.

    Raises:
        EngineUnavailable: it cannot be run here.
    """
    with (
        _sandbox(capture, host, work) as sandbox,
        Docker(sandbox, containerd_root=containerd_root, embedded=embedded, classic=capture.classic) as docker,
    ):
        yield docker


def newest() -> list[Path]:
    """What the newest containerd needs besides runc: itself, its clients, buildkitd, and mkfs.erofs.

    Raises:
        EngineUnavailable: it cannot be had here.
    """
    modprobe = shutil.which("modprobe", path="/usr/sbin:/sbin")
    if modprobe is not None:
        # containerd looks whether the kernel has it already (plugins/snapshots/erofs/erofs_linux.go, v2.4.2).
        subprocess.run([modprobe, "-q", "erofs"], check=False)
    return [*map(built, (Module.CONTAINERD, Module.NERDCTL, Module.CRICTL, Module.BUILDKIT)), erofs_utils()]


def newest_on(sandbox: Sandbox, host: Path, snapshotter: str, *, collect: bool) -> Containerd:
    """The newest containerd with CRI, to be started on a host; nerdctl and it have written down where that was shown.

    Args:
        sandbox: one with the programs of :func:`newest`.
        host: looks like the root of a host.
        snapshotter: as for :class:`Containerd`.
        collect: as for :class:`Containerd`.
    """
    root = sandbox.show(host, "/run/host") / "var/lib/containerd"
    return Containerd(sandbox, root, collect=collect, cri=True, snapshotter=snapshotter)


def snapshotter(capture: Capture) -> str:
    """The one that a capture is of."""
    name = capture.name.rpartition("-")[2]
    return name if name in ("native", "erofs") else "overlayfs"


def _sandbox(capture: Capture, host: Path, work: Path) -> Sandbox:
    work.mkdir(exist_ok=True)
    if capture.docker is None:
        return Sandbox(work, programs=newest() if capture.containerd.startswith("2.4.") else ())
    programs = [built(each) for each in NEWEST] if capture.version.startswith("29.") else []
    return Sandbox(work, rootfs(_SUITES[capture.version[:4]]), host / capture.docker, programs)

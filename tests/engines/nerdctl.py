"""nerdctl against a containerd in a sandbox, as it is used on a host of its own."""

from __future__ import annotations

from pathlib import Path

from tests.engines.containerd import Containerd
from tests.engines.sandbox import CAPTURED, Daemon


class Nerdctl:
    """Runs nerdctl commands; its own data lie beside containerd's root, in ``nerdctl``.

    Args:
        engine: in a sandbox that has nerdctl among its programs.
    """

    apart = ("--network", "none", "--cgroup-parent", f"/{CAPTURED}")
    """What a new container is made with."""

    def __init__(self, engine: Containerd) -> None:
        self._engine = engine
        self._command: list[str | Path] = [
            "nerdctl", "--address", engine.socket, "--data-root", engine.root.with_name("nerdctl"),
            "--snapshotter", engine.snapshotter, "--cgroup-manager", "cgroupfs",
            "--cni-netconfpath", "/run/drydock-cni", "--insecure-registry",
        ]  # fmt: skip

    def __call__(self, *arguments: str | Path) -> str:
        """Run a command and give what it printed.

        Raises:
            RuntimeError: it failed.
        """
        return self._engine.sandbox.run(*self._command, *arguments).stdout.decode().strip()

    def pull(self, image: str) -> None:
        """Pull an image; again if containerd trips over itself.

        The btrfs snapshotter deletes a subvolume after the transaction that made it was rolled back, and the next
        transaction may have its number by then (containerd plugins/snapshots/btrfs/btrfs.go makeSnapshot, v2.4.2). Of
        layers that are unpacked side by side, one then fails now and then: once in ten pulls into a root that drydock
        never changed.

        Raises:
            RuntimeError: it failed for another reason.
        """

        def pulled() -> bool:
            try:
                self("pull", "-q", image)
            except RuntimeError as error:
                if "snapshot create failed: file exists" not in str(error):
                    raise
                return False
            return True

        assert any(pulled() for _ in range(3)), f"{image}: not pulled"

    def begin(self, *arguments: str | Path) -> Daemon:
        """Start a command that is to be interrupted."""
        return self._engine.sandbox.spawn("nerdctl.log", *self._command, *arguments)

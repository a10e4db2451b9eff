"""One containerd on one root: this machine's own (Debian 12: 1.6.20) or a suite's, without dockerd."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tests.engines.sandbox import Daemon, Sandbox, wait_for
from tests.engines.unavailable import EngineUnavailable

if TYPE_CHECKING:
    from typing_extensions import Self

# Nothing but storage is wanted: no restart of containers that were running, and CRI only where it is asked for.
_CONFIG = """\
version = {version}
root = "{root}"
state = "{state}"
disabled_plugins = [{cri}"io.containerd.internal.v1.restart", "io.containerd.monitor.container.v1.restart", \
"io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp", \
"io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "{state}/containerd.sock"
[debug]
level = "debug"
[plugins."io.containerd.gc.v1.scheduler"]
"""
_NO_CRI = '"io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", '
_ABOUT = re.compile("garbage|orphan|clean|remov|content|ingest|snapshot")
# Pods of the host's network need no CNI. restrict_oom_score_adj: a container of CI may not lower its own.
_CRI = """\
[plugins."io.containerd.cri.v1.images"]
snapshotter = "{snapshotter}"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
conf_dir = "{state}/cni"
bin_dirs = ["{state}/cni/bin"]
"""
# Who pulls through the transfer service unpacks only for the pairs listed; overlayfs is there by default.
_UNPACK = """\
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux/amd64"
snapshotter = "{snapshotter}"
differ = "{differ}"
"""
# containerd docs/snapshotters/erofs.md (v2.4.2): this one makes layers from the tar, without unpacking it first.
_EROFS = """\
[plugins."io.containerd.service.v1.diff-service"]
default = ["erofs", "walking"]
"""
# With a deletion_threshold of 0 (the default) a deletion would be followed by a collection at once, whatever the delay
# at start (containerd gc/scheduler/scheduler.go run, v1.6).
_NO_COLLECTION = """\
startup_delay = "0s"
deletion_threshold = 1000000
mutation_threshold = 1000000
"""


PAUSE = "registry.test/pause:1"
"""The image of CRI's sandboxes; it has to be imported."""


class Containerd:
    """A containerd in a sandbox, as a context manager: stopped cleanly at the end.

    Args:
        sandbox: open already; with a root file system its containerd is run, without one this machine's.
        root: containerd's root folder as the sandbox sees it.
        collect: whether it collects as usual: 100 ms after the start, and after deletions. Without, it never does,
            unless :meth:`collect` asks for it.
        cri: whether the CRI plugin is to run (containerd 2).
        snapshotter: what it is to use where nothing else is asked for.

    Raises:
        EngineUnavailable: no containerd here, or it cannot use the snapshotter (the kernel may lack a file system).
        TimeoutError: it did not come up; the message has the end of its log.
    """

    def __init__(
        self, sandbox: Sandbox, root: Path, *, collect: bool, cri: bool = False, snapshotter: str = "overlayfs"
    ) -> None:
        self.sandbox = sandbox
        self.root = root
        self.snapshotter = snapshotter
        self._collect = collect
        self._cri = cri
        # /run is a tmpfs of the sandbox's own.
        self._state = Path("/run/drydock-containerd")
        self._daemon: Daemon | None = None

    @property
    def socket(self) -> str:
        """Its socket's path as the sandbox sees it."""
        return f"{self._state}/containerd.sock"

    @property
    def daemon(self) -> Daemon:
        """The running process."""
        if self._daemon is None:
            raise RuntimeError("this containerd was not started")
        return self._daemon

    def __enter__(self) -> Self:
        if self.sandbox.rootfs is None:
            for tool in ("containerd", "ctr", "runc"):
                if self.sandbox.which(tool) is None:
                    raise EngineUnavailable(f"{tool} is not installed")
        config = self._config()
        self.sandbox.run("mkdir", "-p", self._state)
        self.sandbox.run("sh", "-c", f"cat >'{self._state}/config.toml'", stdin=config.encode())
        self._daemon = self.sandbox.spawn("containerd.log", "containerd", "--config", self._state / "config.toml")
        try:
            wait_for(self._answers, 20.0, "containerd", lambda: self.daemon.running)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.daemon.tail(200)}") from error
        if self.snapshotter not in self.snapshotters():
            self.stop()
            raise EngineUnavailable(f"containerd cannot use {self.snapshotter} here: {self.daemon.log}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it cleanly."""
        self.daemon.stop()

    def kill(self) -> None:
        """SIGKILL it: its databases and files are as it left them."""
        self.daemon.kill()

    def version(self) -> str:
        """What it says of itself, for example ``1.6.20~ds1``."""
        said = self.ctr_text("version")
        return said.split("Server:")[1].split("Version:")[1].split()[0]

    def snapshotters(self) -> set[str]:
        """Those that it can use here: a root may not be on btrfs, and older ones have no erofs."""
        rows = [line.split() for line in self.ctr_text("plugins", "ls").splitlines()]
        return {row[1] for row in rows if row[0] == "io.containerd.snapshotter.v1" and row[-1] == "ok"}

    def collect(self, namespace: str = "default") -> None:
        """Make its collector run, and wait until it is done, on disk too.

        Args:
            namespace: where the lease is that this takes; it is left there, empty, if it was not there before.
        """
        # ctr has no command for it; removing a lease with --sync waits for a collection, and this lease holds nothing.
        self.ctr("leases", "create", "--id", "drydock-collect", namespace=namespace)
        self.ctr("leases", "rm", "--sync", "drydock-collect", namespace=namespace)

    def warnings(self) -> list[str]:
        """The messages it logged as warnings or errors about what it collected."""
        lines = self.daemon.log.read_text(errors="replace").splitlines()
        found = [line for line in lines if re.search(r"level=(warning|error)", line) and _ABOUT.search(line)]
        return [line.partition(" ")[2].replace(str(self.root), "<root>") for line in found]

    def ctr(
        self, *arguments: str | Path, namespace: str | None = None, check: bool = True, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ctr against it.

        Raises:
            RuntimeError: ``check`` and it failed.
        """
        return self.sandbox.run(*ctr_command(self.socket, namespace), *arguments, check=check, stdin=stdin)

    def ctr_text(self, *arguments: str | Path, namespace: str | None = None) -> str:
        """Run ctr against it and give what it printed.

        Raises:
            RuntimeError: it failed.
        """
        return self.ctr(*arguments, namespace=namespace).stdout.decode(errors="surrogateescape")

    def _config(self) -> str:
        """Containerd 1.6 reads version 2 alone, containerd 2 that as well; CRI's settings below are of version 3."""
        made = _CONFIG.format(
            version=3 if self._cri else 2, root=self.root, state=self._state, cri="" if self._cri else _NO_CRI
        )
        made += "" if self._collect else _NO_COLLECTION
        if self._cri:
            made += _CRI.format(snapshotter=self.snapshotter, pause=PAUSE, state=self._state)
        if self.snapshotter != "overlayfs":
            differ = "erofs" if self.snapshotter == "erofs" else "walking"
            made += _UNPACK.format(snapshotter=self.snapshotter, differ=differ)
        return made + (_EROFS if self.snapshotter == "erofs" else "")

    def _answers(self) -> bool:
        return self.ctr("namespaces", "ls", "-q", check=False).returncode == 0


def ctr_command(socket: str, namespace: str | None) -> Sequence[str]:
    """How ctr is called on a socket."""
    return ["ctr", "-a", socket, *(["-n", namespace] if namespace else [])]

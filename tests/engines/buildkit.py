"""One buildkitd on one root, with a worker of its own (runc) or with the worker of a containerd."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tests.engines.containerd import Containerd
from tests.engines.sandbox import CAPTURED, Daemon, Sandbox, wait_for

if TYPE_CHECKING:
    from typing_extensions import Self

_STATE = "/run/drydock-buildkit"
_CONFIG = """\
root = "{root}"
[grpc]
address = ["unix://{state}/buildkitd.sock"]
[otel]
socketPath = "{state}/otel.sock"
[cdi]
disabled = true
[registry."127.0.0.1:5000"]
http = true
[worker.oci]
enabled = {oci}
gc = {gc}
snapshotter = "overlayfs"
networkMode = "host"
defaultCgroupParent = "/{cgroup}"
[worker.containerd]
enabled = {containerd}
gc = {gc}
address = "{address}"
namespace = "{namespace}"
snapshotter = "{snapshotter}"
networkMode = "host"
defaultCgroupParent = "/{cgroup}"
"""


class Buildkitd:
    """A buildkitd in a sandbox, as a context manager: stopped cleanly at the end.

    Args:
        sandbox: open already, with buildkitd among its programs.
        root: buildkitd's root folder as the sandbox sees it.
        containerd: whose worker is used; None: buildkitd runs builds itself, by runc.
        namespace: of the records in that containerd.
        gc: whether it collects by itself, one second after its start and after each build.

    Raises:
        TimeoutError: it did not come up; the message has the end of its log.
    """

    address = f"unix://{_STATE}/buildkitd.sock"

    def __init__(
        self,
        sandbox: Sandbox,
        root: Path,
        *,
        containerd: Containerd | None = None,
        namespace: str = "buildkit",
        gc: bool = True,
    ) -> None:
        self.sandbox = sandbox
        self.root = root
        self._config = _CONFIG.format(
            root=root,
            state=_STATE,
            gc=str(gc).lower(),
            cgroup=CAPTURED,
            oci=str(containerd is None).lower(),
            containerd=str(containerd is not None).lower(),
            address="" if containerd is None else containerd.socket,
            snapshotter="overlayfs" if containerd is None else containerd.snapshotter,
            namespace=namespace,
        )
        self._daemon: Daemon | None = None

    @property
    def daemon(self) -> Daemon:
        """The running process."""
        if self._daemon is None:
            raise RuntimeError("this buildkitd was not started")
        return self._daemon

    def __enter__(self) -> Self:
        self.sandbox.run("mkdir", "-p", _STATE, self.root)
        self.sandbox.run("sh", "-c", f"cat >{_STATE}/buildkitd.toml", stdin=self._config.encode())
        self._daemon = self.sandbox.spawn("buildkitd.log", "buildkitd", "--config", f"{_STATE}/buildkitd.toml")
        try:
            wait_for(self._answers, 30.0, "buildkitd", lambda: self.daemon.running)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.daemon.tail(200)}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.daemon.stop()
        else:
            self.daemon.kill()  # a build that is still running would hold it up

    def kill(self) -> None:
        """SIGKILL it and what it runs: its databases and files are as it left them."""
        self.daemon.kill()

    def buildctl(self, *arguments: str | Path, timeout: float = 120.0) -> str:
        """Run buildctl and give what it printed.

        Raises:
            RuntimeError: it failed.
        """
        return self.sandbox.run("buildctl", "--addr", self.address, *arguments, timeout=timeout).stdout.decode()

    def build(self, context: Path, *more: str) -> str:
        """Build the Dockerfile of a folder, as the sandbox sees it, and give its progress; the result is dropped.

        Raises:
            RuntimeError: it failed.
        """
        command = ("buildctl", "--addr", self.address, *_build(context), *more)
        return self.sandbox.run(*command).stderr.decode()

    def begin(self, context: Path, *more: str) -> Build:
        """Start a build that is to be interrupted."""
        log = f"build-{context.name}.log"
        return Build(self.sandbox.spawn(log, "buildctl", "--addr", self.address, *_build(context), *more))

    def usage(self) -> dict[str, dict[str, Any]]:
        """The records that ``buildctl du`` lists, by id; it has buildkitd drop what it drops at a disk-usage run."""
        rows = json.loads(self.buildctl("du", "--format", "{{json .}}")) or []
        return {row.get("id") or row["ID"]: row for row in rows}

    def _answers(self) -> bool:
        done = self.sandbox.run("buildctl", "--addr", self.address, "debug", "workers", check=False)
        return done.returncode == 0


class Build:
    """A build under way."""

    def __init__(self, process: Daemon) -> None:
        self._process = process

    @property
    def running(self) -> bool:
        """Whether it is still under way."""
        return self._process.running

    def interrupt(self) -> None:
        """Ctrl-C, and wait for it to end."""
        self._process.process.send_signal(signal.SIGINT)
        wait_for(lambda: not self.running, 60.0, "the end of the interrupted build")

    def tail(self) -> str:
        """The end of what it printed."""
        return self._process.tail()


def _build(context: Path) -> tuple[str | Path, ...]:
    local = ("--local", f"context={context}", "--local", f"dockerfile={context}")
    return ("build", "--progress", "plain", "--frontend", "dockerfile.v0", *local)

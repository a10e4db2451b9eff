"""A real Docker engine of a Debian suite, with the containerd image store, on a data root given."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
from tests.engines.containerd import ctr_command
from tests.engines.sandbox import Daemon, Sandbox, wait_for

if TYPE_CHECKING:
    from typing_extensions import Self

_CONFIG = {
    "iptables": False,
    "ip6tables": False,
    "bridge": "none",
}
_SOCKET = "/run/docker/containerd/containerd.sock"

_T = TypeVar("_T")


class Docker:
    """dockerd and the containerd it manages, in a sandbox made for a suite, as a context manager.

    Args:
        sandbox: open already.
        containerd_root: where its containerd works instead (Docker 29.7), as the sandbox sees it.
        embedded: whether containerd is a part of dockerd's own process (the same).
        classic: with the classic image store; None: as dockerd itself chooses.

    Raises:
        TimeoutError: it did not come up; the message has the end of its log.
    """

    def __init__(
        self, sandbox: Sandbox, *, containerd_root: str = "", embedded: bool = False, classic: bool | None = False
    ) -> None:
        self.sandbox = sandbox
        self._containerd_root = containerd_root
        self._features = {
            **({} if classic is None else {"containerd-snapshotter": not classic}),
            **({"embedded-containerd": True} if embedded else {}),
        }
        self._daemon: Daemon | None = None
        self._clients = 0

    @property
    def daemon(self) -> Daemon:
        """The running dockerd."""
        if self._daemon is None:
            raise RuntimeError("this dockerd was not started")
        return self._daemon

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, as often as wanted after a stop or a kill."""
        settings = {**_CONFIG, "features": self._features, "cgroup-parent": f"/{self.sandbox.cgroup}"}
        config = json.dumps(settings).encode()
        self.sandbox.run("mkdir", "-p", "/etc/docker")
        self.sandbox.run("sh", "-c", "cat >/etc/docker/daemon.json", stdin=config)
        # Left by a kill; a reboot would have emptied /run.
        self.sandbox.run("rm", "-f", "/run/docker.pid", "/run/docker/containerd/containerd.pid")
        moved = ["env", f"DOCKER_CONTAINERD_ROOT={self._containerd_root}"] if self._containerd_root else []
        self._daemon = self.sandbox.spawn("dockerd.log", *moved, "dockerd")
        try:
            wait_for(self._answers, 40.0, "dockerd", lambda: self.daemon.running)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.daemon.tail()}") from error

    def stop(self) -> None:
        """End it cleanly, its containerd too.

        dockerd ends its containerd last, and looks once a second whether that has ended
        (libcontainerd/supervisor/remote_daemon_linux.go, 26.1 to 29.7): this second is not waited for.
        """
        own = []
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended
            own = [each for each in self.daemon.process.children() if each.name() == "containerd"]
        if not own:
            self.daemon.stop()
            return
        self.daemon.process.terminate()
        _, left = psutil.wait_procs(own, 30.0)
        if left:
            raise TimeoutError(f"its containerd still runs after 30 s\n{self.daemon.tail()}")
        self.daemon.kill()

    def kill(self) -> None:
        """SIGKILL dockerd, its containerd and builds; shims and containers go on, as after a crash of dockerd alone."""
        self.daemon.kill()

    def docker(self, *arguments: str | Path, stdin: bytes = b"", timeout: float = 120.0) -> str:
        """Run the docker command and give what it printed.

        Raises:
            RuntimeError: it failed.
        """
        return self.sandbox.run("docker", *arguments, stdin=stdin, timeout=timeout).stdout.decode()

    def system_df(self, *options: str) -> str:
        """What ``docker system df`` prints.

        Raises:
            RuntimeError: as in `disk_usage`.
        """
        return _counted(lambda: self.docker("system", "df", *options))

    def disk_usage(self) -> dict[str, Any]:
        """What dockerd answers to ``docker system df -v``.

        Raises:
            RuntimeError: it failed, for one reason during ten seconds: a snapshot went while it was counted.
        """
        return _counted(lambda: self.api("/v1.47/system/df"))

    def api(self, path: str) -> Any:
        """What dockerd answers to GET of a path, taken from JSON.

        Raises:
            RuntimeError: the status is not 200; the message has the answer.
        """
        connection = http.client.HTTPConnection("docker")
        with socket.socket(socket.AF_UNIX) as connection.sock:
            connection.sock.connect(f"/proc/{self.sandbox.init.pid}/root/run/docker.sock")
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path}: {answer.status} {text.decode()}")
        return json.loads(text)

    def begin(self, *arguments: str | Path) -> Client:
        """Start a docker command that is to be interrupted."""
        self._clients += 1
        return Client(self.sandbox.spawn(f"client-{self._clients}.log", "docker", *arguments))

    def ctr(self, *arguments: str | Path, namespace: str = "moby") -> str:
        """Run ctr against its containerd and give what it printed."""
        return self.sandbox.run(*ctr_command(_SOCKET, namespace), *arguments).stdout.decode()

    def version(self) -> str:
        """The version of dockerd, for example ``28.5.2+dfsg3``."""
        return self.docker("version", "--format", "{{.Server.Version}}").strip()

    def _answers(self) -> bool:
        try:
            return self.sandbox.run("docker", "version", check=False, timeout=10.0).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def _counted(ask: Callable[[], _T]) -> _T:
    """The answer about disk usage, asked again while snapshots go.

    Docker 28.5 lists the snapshots, then asks for the usage of each (layerDiskUsage in daemon/containerd/service.go).
    If one goes between, the answer is that it does not exist. After a build and after a start, BuildKit deletes its
    views (cache/refs.go), and containerd collects what the build left.
    """
    end = time.monotonic() + 10
    while True:
        try:
            return ask()
        except RuntimeError as error:
            if time.monotonic() > end or not re.search("snapshot .*does not exist", str(error)):
                raise
        time.sleep(0.2)


class Client:
    """A docker command under way."""

    def __init__(self, process: Daemon) -> None:
        self._process = process

    def interrupt(self) -> None:
        """Ctrl-C, and wait for it to end."""
        self._process.process.send_signal(signal.SIGINT)
        wait_for(lambda: not self._process.running, 60.0, "the end of the interrupted command")

    def tail(self) -> str:
        """The end of what it printed."""
        return self._process.tail()

    @property
    def running(self) -> bool:
        """Whether it is still under way."""
        return self._process.running

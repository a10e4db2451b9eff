"""Where engines run: namespaces of their own, so that nothing collides, leaks out or stays behind.

A sandbox has its own mount, process, network and IPC namespaces. Its first process is the only thing to end: when that
dies the kernel kills every engine, shim and container in it, and all mounts made there go with it. Loopback is the only
network, so two sandboxes may use the same ports.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import psutil
from tests.engines.network import join_network, raise_loopback
from tests.engines.unavailable import EngineUnavailable

if TYPE_CHECKING:
    from typing_extensions import Self

CAPTURED = "drydock-captured"
"""The control group that the records of containers in captures name: whichever sandbox starts them removes it."""
_TOOLS = ("setpriv", "unshare", "nsenter", "mount")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CGROUPS = Path("/sys/fs/cgroup")

# $1: where to say that all is set up; $2: a root file system for the engine (of several, joined by ":", the first is on
# top) or "", $3: a folder for its upper layer, $4: the folder to show as /var/lib/docker, or "" to take the root file
# system as it is. The first process stays bash, which reaps orphaned shims.
_INIT = r"""
set -e
read -r pid _ </proc/self/stat
mount --make-rprivate /
if [ -n "$2" ]; then
    mount -t tmpfs tmpfs "$3"
    mkdir "$3/upper" "$3/work" "$3/root"
    if [ -n "$4" ]; then
        mount -t overlay overlay -o "lowerdir=$2,upperdir=$3/upper,workdir=$3/work" "$3/root"
    else
        mount --bind "$2" "$3/root"
    fi
    cd "$3/root"
    mkdir -p var/lib/docker mnt
    mount -t proc proc proc
    mount --rbind /sys sys
    mount --rbind /dev dev
    mount -t tmpfs tmpfs run
    [ -z "$4" ] || mount --bind "$4" var/lib/docker
    echo "$pid" >"$1.new"
    mv "$1.new" "$1"
    pivot_root . mnt
    cd /
    umount -l /mnt
    mount --make-rshared /
else
    # runc keeps its containers' state below /run: it must not meet that of other engines here.
    mount -t tmpfs tmpfs /run
    mount -t proc proc /proc
    echo "$pid" >"$1.new"
    mv "$1.new" "$1"
fi
while :; do sleep 3600 & wait $! || true; done
"""


class Daemon:
    """A process that runs in a sandbox until it is ended."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self._popen = popen
        self.log = log
        """Where its standard output and error go."""
        try:
            self.process = _only_child(popen)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.tail(200)}") from error

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    def stop(self, timeout: float = 30.0) -> None:
        """End it as a service manager does, and wait for it.

        Raises:
            TimeoutError: it did not end in time.
        """
        if self.running:
            self.process.send_signal(signal.SIGTERM)
        self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL it and everything it started."""
        family = [self.process]
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end at any time
            family += self.process.children(recursive=True)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.wait(10.0)

    def tail(self, lines: int = 15) -> str:
        """The end of its log, for messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait(self, timeout: float) -> None:
        """Wait for its end.

        Raises:
            TimeoutError: it did not end in time.
        """
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.log.name}: still running after {timeout} s") from error


class Sandbox:
    """Namespaces to run an engine in, as a context manager.

    Args:
        work: an existing folder for logs and scratch mount points, not below /run (which is hidden) and not in what the
            engine stores.
        rootfs: an engine's root file system, used read-only below a tmpfs; None for this machine's own.
        docker: the folder shown as /var/lib/docker; without it ``rootfs`` is all of the root, and is written to.
        programs: folders with programs in ``usr/local/bin`` that come before all others, the first first
            (:func:`tests.engines.modules.built` gives such).

    Raises:
        EngineUnavailable: not root, a tool is missing, or the kernel allows no namespaces.
    """

    def __init__(
        self, work: Path, rootfs: Path | None = None, docker: Path | None = None, programs: Sequence[Path] = ()
    ) -> None:
        self.work = work
        self.rootfs = rootfs
        self.programs = tuple(programs)
        self.cgroup = f"drydock-{uuid.uuid4().hex}"
        """Name of a top-level control group for what runs inside, removed at the end; made by the engine."""
        self._docker = docker
        self._init: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._daemons: list[Daemon] = []

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise EngineUnavailable("running an engine needs root")
        for tool in _TOOLS:
            if shutil.which(tool) is None:
                raise EngineUnavailable(f"{tool} (util-linux) is not installed")
        scratch = self.work / "scratch"
        scratch.mkdir(exist_ok=True)
        ready = self.work / "init.pid"
        ready.unlink(missing_ok=True)
        log = self.work / "init.log"
        with log.open("wb") as output:
            self._init = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--ipc", "--fork",
                 "--kill-child", "bash", "-c", _INIT, "sandbox", str(ready), self._lower(), str(scratch),
                 str(self._docker or "")],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
            )  # fmt: skip
        try:
            wait_for(ready.exists, 10.0, "the sandbox", self._alive)
            self._pid = int(ready.read_text())
            wait_for(self._entered, 10.0, "the sandbox's root", self._alive)
            self._inside(raise_loopback)
        except (OSError, TimeoutError) as error:
            self.close()
            said = " ".join(log.read_text(errors="replace").split())
            raise EngineUnavailable(f"no sandbox: {error}: {said}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def init(self) -> psutil.Process:
        """The first process, whose end is the end of everything inside."""
        return psutil.Process(self._pid)

    def close(self) -> None:
        """Kill everything in the sandbox; its mounts go with it. As sudden as a power cut, but nothing is unsynced."""
        if self._init is not None:
            if self._alive():
                # unshare has not seen the end of its child yet, so the number is still that child's.
                os.kill(self._pid or self._init.pid, signal.SIGKILL)
            self._init.wait()
            self._init, self._pid = None, 0
        for daemon in self._daemons:
            # nsenter, which stays outside, holds the mounts until it has seen the daemon's end.
            daemon.wait(10.0)
        self._daemons.clear()
        _remove_cgroup(self.cgroup)
        _remove_cgroup(CAPTURED)

    def run(
        self, *command: str | Path, check: bool = True, stdin: bytes = b"", timeout: float = 120.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside.

        Raises:
            RuntimeError: ``check`` and it failed; the message has what it said.
        """
        done = subprocess.run(
            self.enter(command), input=stdin, capture_output=True, timeout=timeout, check=False, cwd="/",
            env=self._environment(),
        )  # fmt: skip
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise RuntimeError(f"{' '.join(map(str, command))}: status {done.returncode}: {said}")
        return done

    def spawn(self, log: str, *command: str | Path) -> Daemon:
        """Start a long-running command inside; ``log`` names its log file in the work folder."""
        path = self.work / log
        # A shell that starts the tests in the background has SIGINT ignored, and docker's command then ignores it too.
        heeding = ["env", "--default-signal=INT", *self.enter(command)]
        with path.open("ab") as output:
            popen = subprocess.Popen(
                heeding, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
                env=self._environment(),
            )  # fmt: skip
        daemon = Daemon(popen, path)
        self._daemons.append(daemon)
        return daemon

    def show(self, folder: Path, at: str) -> Path:
        """Bind a folder to a path below /run, whatever it is called outside: engines write paths down.

        Give that path, as the sandbox sees it.
        """
        self.run("mkdir", "-p", at)
        self.run("mount", "--rbind", folder, at)
        return Path(at)

    def which(self, program: str) -> str | None:
        """Where a program is that :meth:`run` would find, without a root file system of the sandbox's own."""
        return shutil.which(program, path=self._environment()["PATH"])

    def listen(self, port: int = 0) -> socket.socket:
        """A TCP socket on the sandbox's loopback (0: a free port), usable from this process."""
        made: list[socket.socket] = []
        self._inside(lambda: made.append(socket.create_server(("127.0.0.1", port))))
        return made[0]

    def enter(self, command: Sequence[str | Path]) -> list[str]:
        """The words that run a command inside, for who starts it."""
        root = ["-r", "-w"] if self.rootfs else []
        return ["nsenter", "-t", str(self._pid), "-m", "-p", "-n", "-i", *root, *map(str, command)]

    def _environment(self) -> dict[str, str]:
        before = [] if self.rootfs else [f"{each}/usr/local/bin" for each in self.programs]
        return {**os.environ, "PATH": ":".join([*before, _PATH])}

    def _lower(self) -> str:
        return ":".join(map(str, [*self.programs, self.rootfs])) if self.rootfs is not None else ""

    def _alive(self) -> bool:
        return self._init is not None and self._init.poll() is None

    def _entered(self) -> bool:
        # With a root of its own, the first process has pivoted once its root no longer holds the scratch folder.
        return self.rootfs is None or not Path(f"/proc/{self._pid}/root{self.work}").exists()

    def _inside(self, action: Callable[[], object]) -> None:
        """Do ``action`` in a thread that is in the sandbox's network namespace."""
        failed: list[OSError] = []

        def enter() -> None:
            try:
                join_network(self._pid)
                action()
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]


def wait_for(
    condition: Callable[[], bool], timeout: float, what: str, alive: Callable[[], bool] = lambda: True
) -> None:
    """Poll until ``condition`` holds.

    Raises:
        TimeoutError: it did not in ``timeout`` seconds, or ``alive`` turned false.
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not there after {timeout} s")
        if not alive():
            raise TimeoutError(f"{what}: ended before it was there")
        time.sleep(0.02)


def _remove_cgroup(name: str) -> None:
    """Remove a control group and those in it, in every hierarchy; a killed engine leaves them, empty."""
    for top in (_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")):
        below = sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True)
        for group in (*below, top):
            # Where processes are still ending, the group stays: harmless, and empty soon.
            with contextlib.suppress(OSError):
                group.rmdir()


def _only_child(popen: subprocess.Popen[bytes]) -> psutil.Process:
    """What nsenter started: a pid namespace is entered by a child of it."""
    parent = psutil.Process(popen.pid)
    wait_for(lambda: bool(parent.children()), 10.0, "the daemon", lambda: popen.poll() is None)
    return parent.children()[0]

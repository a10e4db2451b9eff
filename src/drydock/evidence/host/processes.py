"""Processes that use a containerd root: engines that serve it, shims of its containers, and others that have it open.

The same path may mean different folders in two mount namespaces. So each path is judged by the device and inode of its
folders, in the namespace of the process that shows it. A process that has no file of the root open counts by these
rules:

- dockerd and containerd count if their flags or settings name the root, or one of its Docker data roots. dockerd also
  counts if its environment names the root for its own containerd. Any dockerd in this mount namespace counts for a
  system containerd of this host, unless its flags name the socket of another containerd.
- k3s, rke2, k0s and microk8s count for the root of their own kind on this host, because they start its containerd.
- kubelet counts for the root of a Kubernetes distribution. It counts for a system containerd of this host unless its
  flags name the socket of another runtime, and never for Docker's or a user's root.
- buildkitd counts for the workers of its root, and for a system containerd of this host unless its containerd worker
  is off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from drydock.evidence.files.regular import identity
from drydock.evidence.host.command_lines import last_flag
from drydock.evidence.host.config import read_buildkit_config, read_containerd_config, read_docker_config
from drydock.evidence.host.engines import DAEMONS, how_to_stop, is_shim, program
from drydock.evidence.host.filesystem import Host
from drydock.evidence.host.layout import layer_folders
from drydock.evidence.host.services import CONTAINERD_ROOT
from drydock.model.errors import Refused
from drydock.model.names import RawPath
from drydock.model.roots import Engine, Root
from drydock.model.text import shown
from drydock.model.usage import Process

_LARGEST = 1 << 24
_KUBERNETES = (Engine.K3S, Engine.RKE2, Engine.K0S, Engine.MICROK8S)
_TASKS = b"io.containerd.runtime.v2.task"

_CGROUP = 1 << 16
_MAPPED = re.compile(rb"^(?:[^ \n]+ +){5}(/.*)$", re.MULTILINE)
"""A line of /proc/PID/maps with a path (proc_pid_maps(5)); the five fields before it have no spaces."""
_CONTAINER = re.compile(rb"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])|lxc\.payload\.([^/\n]+)|(?<=/lxc/)([^/\n]+)")

_Key = tuple[int, int]
_Top = tuple[_Key | int | None, bytes]
"""A mount namespace, or a process that may see a part of it, and the prefix of its paths."""


def users(root: Root) -> list[Process]:
    """The processes that use ``root``, by pid. Only the user root sees the files of other users.

    This process does not count, nor do the working folders of the processes that started it.

    Raises:
        Refused: /proc is not mounted, as in a bare chroot: processes cannot be seen.
    """
    if not os.path.exists("/proc/self"):
        raise Refused("/proc is not mounted: processes that use the storage cannot be seen; mount -t proc proc /proc")
    return list(_ProcessSearch(root).users())


def containerd_roots() -> list[RawPath]:
    """The root for its containerd that the environment of each dockerd in this mount namespace names.

    Anybody can give a process this name: it counts if it runs as root, or as the user of this process.
    """
    found: list[RawPath] = []
    space, top = identity(b"/proc/self/ns/mnt"), identity(b"/")
    for pid in filter(bytes.isdigit, os.listdir(b"/proc")):
        process = b"/proc/" + pid
        if _read(process + b"/comm") != b"dockerd\n" or not _is_trusted(process):
            continue
        path = _containerd_root(process)
        if path and (identity(process + b"/ns/mnt"), identity(process + b"/root")) == (space, top):
            found.append(path)
    return found


class _ProcessSearch:
    """Searches every process for those that use one root."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._here = root.host == b"/" and bool(root.states)
        self._store = _keys(root.path, *(folder for _, folder in root.snapshotters), *layer_folders(root))
        self._buildkit = _keys(*root.buildkit) if root.layout.worker else set[_Key]()
        self._all = self._store | self._buildkit | _keys(*root.docker)
        self._space = identity(b"/proc/self/ns/mnt")
        self._seen: dict[tuple[_Key | int | None, bytes], _Key | None] = {}
        # Files that processes of the same kind, with the same folder on top, may map: they are not in the root.
        self._elsewhere: dict[tuple[_Top, bool], set[bytes]] = {}

    def users(self) -> Iterator[Process]:
        """The processes that use the root, each looked at once."""
        import psutil  # noqa: PLC0415 - only commands that change a store need it

        starters = {parent.pid for parent in psutil.Process().parents()}
        for pid in psutil.pids():
            thread = _living_thread(pid)
            if thread in (None, os.getpid()):
                continue
            try:
                facts = psutil.Process(thread).as_dict(["name", "cmdline"])
            except psutil.NoSuchProcess:  # it has ended
                continue
            arguments = [os.fsencode(each) for each in facts["cmdline"] or ()]
            name = program(arguments, os.fsencode(facts["name"] or ""))
            why, container = self._judge(thread, name, arguments, starter=pid in starters)
            if why is not None:
                yield Process(pid, name, why, how_to_stop(name, pid, self._root.engine), container)

    def _judge(
        self, pid: int, name: bytes, arguments: list[bytes], *, starter: bool
    ) -> tuple[str | None, tuple[bytes, bytes] | None]:
        """Why a process uses the root, or None; and the namespace and name of the container that it is the shim of."""
        daemon = name in DAEMONS
        why = None
        container = None
        if is_shim(name):
            container = (last_flag(arguments, b"namespace") or b"", last_flag(arguments, b"id") or b"")
            if self._keeps(pid, *container, last_flag(arguments, b"address")):
                why = f"keeps container {shown(container[1])} of namespace {shown(container[0])} running"
        if daemon:
            why = self._serves(pid, name, arguments)
        why = why or self._opened(pid, self._all if daemon else self._store, daemon=daemon, starter=starter)
        return why, container

    def _serves(self, pid: int, name: bytes, arguments: list[bytes]) -> str | None:
        """Why a daemon uses the root, by its flags, settings and kind; None if it does not."""
        kind, engine = DAEMONS[name], self._root.engine
        if kind in _KUBERNETES:
            return f"runs the containerd of {engine.value}" if self._here and kind is engine else None
        if name == b"kubelet":
            mine = self._may_talk(last_flag(arguments, b"container-runtime-endpoint"))
            used = engine in _KUBERNETES or (engine is Engine.CONTAINERD and mine)
            return "starts containers in it" if self._here and used else None
        if kind is Engine.BUILDKIT:
            return self._builds(pid, arguments)
        host = Host(RawPath(b"/proc/%d/root" % pid))
        if name == b"dockerd":
            settings = read_docker_config(host, last_flag(arguments, b"config-file") or b"/etc/docker/daemon.json")
            told = last_flag(arguments, b"data-root", b"graph", b"g") or settings.data_root or b"/var/lib/docker"
        else:
            config = last_flag(arguments, b"config", b"c") or b"/etc/containerd/config.toml"
            told = last_flag(arguments, b"root") or read_containerd_config(host, config).root or b"/var/lib/containerd"
        where = host.folder(told)
        if where is not None and identity(where) in self._all:
            return f"serves {shown(told)}"
        if name == b"dockerd" and (moved := _containerd_root(b"/proc/%d" % pid)):
            where = host.folder(moved)
            if where is not None and identity(where) in self._store:
                return f"has its containerd work in {shown(moved)}"
        if name == b"dockerd" and self._here and engine is Engine.CONTAINERD and self._is_beside(pid):
            return "may keep containers in it" if self._may_talk(last_flag(arguments, b"containerd")) else None
        return None

    def _builds(self, pid: int, arguments: list[bytes]) -> str | None:
        """As :meth:`_serves`, for a buildkitd."""
        host = Host(RawPath(b"/proc/%d/root" % pid))
        settings = last_flag(arguments, b"config") or b"/etc/buildkit/buildkitd.toml"
        told = last_flag(arguments, b"root") or read_buildkit_config(host, settings, []) or b"/var/lib/buildkit"
        where = host.folder(told)
        if where is not None and identity(where) in self._buildkit:
            return f"serves {shown(told)}"
        off = last_flag(arguments, b"containerd-worker") == b"false"
        return "may build in it" if self._here and self._root.engine is Engine.CONTAINERD and not off else None

    def _may_talk(self, socket: bytes | None) -> bool:
        """Whether a client with this socket, or with the default one, may talk to the root's containerd."""
        return socket is None or any(os.path.dirname(socket).endswith(state) for state in self._root.states)

    def _is_beside(self, pid: int) -> bool:
        return identity(b"/proc/%d/ns/mnt" % pid) == self._space and identity(b"/proc/%d/root" % pid) == identity(b"/")

    def _keeps(self, pid: int, namespace: bytes, container: bytes, address: bytes | None) -> bool:
        """Whether a shim's container belongs to the root.

        A shim works in the bundle of its container, whose link ``work`` leads into the root (containerd
        core/runtime/v2/bundle.go, v2.1). If the link is gone, the container's folder in the root tells, or the state of
        its engine.
        """
        try:
            work = os.readlink(b"/proc/%d/cwd/work" % pid)
        except OSError:
            work = b""
        if work.startswith(b"/"):
            return self._below((pid, b"/proc/%d/root" % pid), work, self._store)
        plain = all(part not in (b"", b".", b"..") and b"/" not in part for part in (namespace, container))
        if plain and os.path.lexists(os.path.join(self._root.path, _TASKS, namespace, container)):
            return True
        states = _keys(*self._root.states)
        bundle = _link(b"/proc/%d/cwd" % pid)
        if bundle is not None and self._below(self._top(pid), bundle, states):
            return True
        folder = os.path.dirname(address) if address else b""
        return bool(folder) and any(_is_at(state, folder) for state in self._root.states)

    def _opened(self, pid: int, wanted: set[_Key], *, daemon: bool, starter: bool) -> str | None:
        """How a process uses one of the wanted folders, by its open files; None if it does not."""
        base, top = b"/proc/%d/" % pid, self._top(pid)
        for name, what in ((b"root", "has its root folder in"), (b"cwd", "has its working folder in")):
            target = None if starter and name == b"cwd" else _link(base + name)
            if target is not None and self._below(top, target, wanted):
                return f"{what} {shown(target)}"
        try:
            descriptors = os.listdir(base + b"fd")
        except PermissionError:
            return "cannot be looked into (run as root)" if daemon and self._may_matter(pid) else None
        except OSError:  # the process has ended
            return None
        for number in descriptors:
            target = _link(base + b"fd/" + number)
            if target is not None and self._below(top, target, wanted):
                return f"has {shown(target)} open"
        # Most processes map the same libraries.
        elsewhere = self._elsewhere.setdefault((top, daemon), set())
        for target in _maps(base + b"maps") - elsewhere:
            if self._below(top, target, wanted):
                return f"has {shown(target)} mapped"
            elsewhere.add(target)
        return None

    def _top(self, pid: int) -> _Top:
        """The folder where a path starts that the kernel shows for a link of a process.

        The kernel shows a path from this process's root folder. In another mount namespace it shows it from the topmost
        folder (fs/d_path.c, Linux 6.1), which is as many levels above the process's root folder as the link of that has
        names.
        """
        space = identity(b"/proc/%d/ns/mnt" % pid)
        if space is None or space == self._space:
            return self._space, b""
        root = b"/proc/%d/root" % pid
        return space, root + b"/.." * (_link(root) or b"").count(b"/")

    def _below(self, top: _Top, target: bytes, wanted: set[_Key]) -> bool:
        """Whether a path is at or below a wanted folder. A path that is missing below ``top`` is of this namespace."""
        target = target.removesuffix(b" (deleted)")
        space, prefix = top
        if prefix and not os.path.lexists(prefix + os.path.dirname(target)):
            space, prefix = self._space, b""
        end = len(target)
        while end > 0:
            key = (space, target[:end])
            if key not in self._seen:
                self._seen[key] = identity(prefix + target[:end])
            if self._seen[key] in wanted:
                return True
            end = target.rfind(b"/", 0, end)
        return False

    def _may_matter(self, pid: int) -> bool:
        """Whether a daemon of another user could use the root: not if the root belongs to a third user."""
        try:
            owner, runs = os.lstat(self._root.path).st_uid, os.stat(b"/proc/%d" % pid).st_uid
        except OSError:
            return False
        return owner in (0, runs)


def name_and_container(pid: int) -> tuple[bytes, bytes]:
    """A process's name, and the id or name of the container that it runs in; each is empty if it is not known."""
    said: list[bytes] = []
    for file in ("comm", "cgroup"):
        try:
            with open(f"/proc/{pid}/{file}", "rb") as opened:
                said.append(opened.read(_CGROUP))
        except OSError:  # noqa: PERF203 - two files
            said.append(b"")
    return said[0].rstrip(b"\n"), container_in(said[1])


def container_in(groups: bytes) -> bytes:
    """The innermost container that control groups (/proc/PID/cgroup) name; empty if they name none.

    Docker, containerd, Podman and Kubernetes write an id of 64 digits: ``docker/ID``, ``docker-ID.scope``,
    ``cri-containerd-ID.scope``. LXC and Incus write a name: ``lxc.payload.NAME``, before LXC 4 ``lxc/NAME``.
    """
    found = _CONTAINER.findall(groups)
    return b"".join(found[-1]) if found else b""


def _keys(*paths: RawPath) -> set[_Key]:
    return {key for key in map(identity, paths) if key is not None}


def _link(path: bytes) -> bytes | None:
    """The target of a link in /proc, if it is a path; None for a socket, a pipe and the like."""
    try:
        target = os.readlink(path)
    except OSError:
        return None
    return target if target.startswith(b"/") else None


def _living_thread(pid: int) -> int | None:
    """A thread of a process by which its files are shown: the first one, or if that has ended, another; None if none.

    A thread that has ended has no files any more, and no link to its program; a thread of the kernel never has any
    (fs/proc/base.c proc_exe_link, kernel/exit.c do_exit, Linux 6.1).
    """
    if _has_program(pid):
        return pid
    try:
        threads = [int(each) for each in os.listdir(b"/proc/%d/task" % pid)]
    except OSError:  # it was waited for
        return None
    return next(filter(_has_program, threads), None)


def _has_program(thread: int) -> bool:
    try:
        os.readlink(b"/proc/%d/exe" % thread)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:  # another user's
        return True
    return True


def _is_trusted(process: bytes) -> bool:
    """Whether a dockerd runs as root or as this user, by its saved ids too: another may be a set-user-ID program."""
    ids = re.search(rb"^Uid:\t([0-9\t]+)$", _read(process + b"/status"), re.MULTILINE)
    own = {0, os.geteuid()}
    path = _link(process + b"/exe") or b""
    is_named = os.path.basename(path.removesuffix(b" (deleted)")) == b"dockerd"
    return is_named and ids is not None and own.issuperset(map(int, ids[1].split()))


def _containerd_root(process: bytes) -> RawPath | None:
    """The root that a dockerd's environment names for its containerd, embedded or started by it."""
    for variable in _read(process + b"/environ").split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == CONTAINERD_ROOT and value.startswith(b"/"):  # dockerd does not start with a relative one
            return RawPath(value)
    return None


def _read(path: bytes) -> bytes:
    """The bytes of a file of /proc; empty if it cannot be read, or its process has ended."""
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST)
    except OSError:
        return b""


def _maps(path: bytes) -> set[bytes]:
    found = set(_MAPPED.findall(_read(path)))
    # The kernel escapes only \n in a name (fs/proc/task_mmu.c show_map_vma, Linux 6.1).
    return {each.replace(b"\\012", b"\n") for each in found}


def _is_at(state: RawPath, folder: bytes) -> bool:
    """Whether a socket's folder is an engine's state folder, or, for dockerd's containerd, the one above it."""
    real = os.path.realpath(folder)
    return real in (os.path.realpath(state), os.path.dirname(os.path.realpath(state)))

"""The roots of one host: at the default places of its engines, and where its settings put them.

Sources of the default places: moby daemon/command/daemon.go and daemon/internal/libcontainerd/supervisor (v28),
containerd defaults/defaults_unix.go (v2.1), buildkit util/appdefaults/appdefaults_unix.go (v0.34), k3s
pkg/agent/config; the documentation of rke2, k0s and microk8s.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from drydock.evidence.files.regular import read_regular
from drydock.evidence.host.config import (
    ContainerdConfig,
    DockerConfig,
    read_buildkit_config,
    read_containerd_config,
    read_docker_config,
    unseen,
)
from drydock.evidence.host.daemon_settings import read_daemon_settings
from drydock.evidence.host.filesystem import Host, is_folder, names
from drydock.evidence.host.layout import (
    distinct_roots,
    has_containerds_worker,
    is_data_root,
    is_root,
    links_to_remapped,
    managed_roots,
    nested_roots,
    unknown_reason,
    with_remapped,
    worker_roots,
)
from drydock.evidence.host.processes import containerd_roots
from drydock.evidence.host.services import Services, read_services
from drydock.evidence.host.unit_files import parse_unit
from drydock.evidence.host.units import Program, Service
from drydock.model import messages
from drydock.model.findings import Finding, Place
from drydock.model.names import RawPath
from drydock.model.roots import Engine, Root
from drydock.model.store_modes import DaemonSettings

_LARGEST = 1 << 22
_MOST = 16384
_NOWHERE = (b"/", b"/dev", b"/proc", b"/sys", b"/nonexistent")


def home_dirs(host: Host) -> Iterator[tuple[bytes, int]]:
    """Each home directory of that host, once, with its user id.

    They come from its passwd file and from /home, because the users of a directory service are in no passwd file.
    """
    seen: set[bytes] = set()
    for home, uid in (*_passwd_homes(host), *_other_homes(host)):
        if home not in seen and home.startswith(b"/") and home not in _NOWHERE:
            seen.add(home)
            yield home, uid


def _passwd_homes(host: Host) -> Iterator[tuple[bytes, int]]:
    try:
        text = read_regular(host.reach(b"/etc/passwd"), _LARGEST)
    except OSError:
        return
    for line in text.split(b"\n", _MOST)[:_MOST]:
        fields = line.split(b":")
        if len(fields) >= 7 and fields[2].isdigit() and len(fields[2]) <= 10:
            yield fields[5].rstrip(b"/"), int(fields[2])


def _other_homes(host: Host) -> Iterator[tuple[bytes, int]]:
    folder = host.folder(b"/home")
    for name in sorted(names(folder, _MOST)) if folder else ():
        path = os.path.join(folder or b"", name)
        if is_folder(path):
            yield b"/home/" + name, os.lstat(path).st_uid


_DOCKER_DATA = (b"/var/lib/docker", b"/var/snap/docker/common/var-lib-docker")
_DOCKER_CONFIG = (b"/etc/docker/daemon.json", b"/var/snap/docker/current/config/daemon.json")
_DISTRIBUTIONS = (
    # engine, default data folder, containerd's root and config in it, state
    (
        Engine.K3S,
        b"/var/lib/rancher/k3s",
        b"agent/containerd",
        b"agent/etc/containerd/config.toml",
        b"/run/k3s/containerd",
    ),
    (
        Engine.RKE2,
        b"/var/lib/rancher/rke2",
        b"agent/containerd",
        b"agent/etc/containerd/config.toml",
        b"/run/k3s/containerd",
    ),
    (Engine.K0S, b"/var/lib/k0s", b"containerd", b"/etc/k0s/containerd.toml", b"/run/k0s/containerd"),
    (
        Engine.MICROK8S,
        b"/var/snap/microk8s",
        b"common/var/lib/containerd",
        b"current/args/containerd.toml",
        b"/var/snap/microk8s/common/run/containerd",
    ),
)
_SNAP = b"/var/snap/"
_UNITS = 256
_BUILDKIT = b"/var/lib/buildkit"
_BUILDKIT_CONFIG = b"/etc/buildkit/buildkitd.toml"
_TOPS = (*_DOCKER_DATA, b"/var/lib/containerd", _BUILDKIT, *(each[1] for each in _DISTRIBUTIONS))


class Survey:
    """Collects the roots of one host, and findings about settings that could not be read."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.findings: list[Finding] = []
        self.closed = [each for each in map(host.folder, _TOPS) if each is not None and not os.access(each, os.X_OK)]
        """Folders of engines that this user cannot enter."""
        self._data: list[RawPath] = []
        """Every folder that may be a data root."""
        self._configs: dict[bytes, DockerConfig] = {}
        """The daemon.json of the system's dockerd and of its snap, by path."""
        self._daemons: dict[RawPath, DaemonSettings] = {}
        """The settings of each data root's dockerd."""

    def roots(self) -> list[Root]:
        """Every root, once; the ones that the host's own settings explain best come first."""
        host = self._host
        services = read_services(host)
        self.findings.extend(services.findings)
        data, execs = self._docker(services)
        self._data += data
        owners = tuple(dict.fromkeys(each for one in data for each in with_remapped(one)))
        unknown = bool(self.findings)
        found: list[Root] = []
        self._daemons.update(self._settings(services, owners))
        daemons = tuple(self._daemons.items())
        states = tuple(self._reach(each + b"/containerd/daemon") for each in execs)
        moved = self._moved(services)
        found += [
            Root(each, Engine.DOCKER, host.root, states, owners, not unknown, daemons=daemons)
            for each in (*moved, *(root for one in data for root in managed_roots(host, one)))
        ]
        buildkit, unread = self._buildkit(services)
        builders = () if unread else tuple(filter(has_containerds_worker, buildkit))
        found += [
            root._replace(docker=owners, docker_known=not unknown, daemons=daemons, buildkit=builders)
            for root in self._containerd(services)
        ]
        found += [root for each in buildkit for root in worker_roots(each, host.root)]
        found += self._distributions(services)
        found += self._rootless()
        found += [root for one in data for root in nested_roots(host, one, host.root)]
        general = tuple(self.findings)
        return [
            root._replace(findings=tuple(dict.fromkeys((*root.findings, *general))))
            if root.docker and general
            else root
            for root in distinct_roots(found)
        ]

    def data_roots(self, found: Iterable[Root]) -> list[Root]:
        """The Docker data roots that no root belongs to.

        Args:
            found: what :meth:`roots` has found.
        """
        known = {data for root in found for data in root.docker}
        below = {data: with_remapped(data) for data in dict.fromkeys(self._data)}
        return [
            Root(
                data,
                Engine.DOCKER,
                self._host.root,
                docker=owners,
                docker_known=not self.findings,
                findings=tuple(self.findings),
                has_containerd=False,
                daemons=tuple((each, self._daemons[each]) for each in owners if each in self._daemons),
            )
            for data, owners in below.items()
            if owners and known.isdisjoint(owners)
        ]

    def _docker(self, services: Services) -> tuple[list[RawPath], list[bytes]]:
        """The data roots as this process reaches them, and the exec roots as paths in the host.

        A path that may belong to another program is used if it exists; its absence is not reported.
        """
        named: list[bytes] = [*services.flags[b"data-root"]]
        others: list[bytes] = [*services.others[b"data-root"]]
        execs: list[bytes] = []
        settings = [*services.flags[b"config-file"], *_DOCKER_CONFIG]
        for file in dict.fromkeys((*settings, *services.others[b"config-file"])):
            config = read_docker_config(self._host, file)
            self._configs[file] = config
            its = file in settings
            self.findings.extend(config.findings if its else ())
            (named if its else others).extend([config.data_root] if config.data_root else [])
            execs += [config.exec_root] if config.exec_root else []
        execs = [*services.flags[b"exec-root"], *execs, b"/var/run/docker"]
        reached = []
        for path in dict.fromkeys((*named, *_DOCKER_DATA, *others)):
            found = self._host.folder(path)
            why = unknown_reason(found) if found is not None else None
            if path in named or path in _DOCKER_DATA:
                why = self._host.hidden_reason(path) or why
            if why is not None:
                self.findings.append(unseen(path, messages.SETTING_OUT_OF_REACH(file=path, problem=why)))
            elif path in named and (found is None or not with_remapped(found)):
                self.findings.append(unseen(path, messages.NO_DATA_ROOT(folder=path)))
            for link in links_to_remapped(found) if found is not None else ():
                name = self._host.name(link)
                self.findings.append(unseen(name, messages.LINK_NOT_FOLLOWED(path=name)))
            reached += [found] if found is not None else []
        return list(dict.fromkeys(reached)), list(dict.fromkeys(execs))

    def _settings(self, services: Services, owners: Iterable[RawPath]) -> Iterator[tuple[RawPath, DaemonSettings]]:
        """The settings of each data root's dockerd."""
        unread = self.findings[0].message if self.findings else None
        known: dict[bool, DaemonSettings] = {}
        for data in owners:
            in_snap = self._host.name(data).startswith(_SNAP)
            if in_snap not in known:
                configs = [config for file, config in self._configs.items() if file.startswith(_SNAP) is in_snap]
                units = [] if in_snap else services.units
                settings = read_daemon_settings(self._host, units, configs, unread=unread)
                # A snap has its own dockerd, in a file system of its own.
                known[in_snap] = settings._replace(versions=()) if in_snap else settings
            yield data, known[in_snap]

    def _user_service(self, home: bytes) -> Service:
        """The unit of a user's dockerd (contrib/dockerd-rootless-setuptool.sh, moby v28)."""
        service = Service(b"docker.service", runs={Program.DOCKER})
        for folder in (home + b"/.config/systemd/user", b"/etc/systemd/user", b"/usr/lib/systemd/user"):
            parts = self._host.matches(folder + b"/docker.service.d/*.conf", _UNITS)
            for path in (folder + b"/docker.service", *parts):
                try:
                    service.files[path] = parse_unit(read_regular(self._host.reach(path), _LARGEST))
                except OSError:  # noqa: PERF203 - a few files
                    continue
        return service

    def _buildkit(self, services: Services) -> tuple[list[RawPath], bool]:
        """The roots of buildkitd, and whether a setting that may name another one could not be read."""
        findings: list[Finding] = []
        # --root and --config are flags of containerd too: a folder is known by its contents.
        others = (path for path in services.flags[b"config"] if path.endswith(b".toml"))
        configs = dict.fromkeys((_BUILDKIT_CONFIG, *others))
        named = [read_buildkit_config(self._host, path, findings) for path in configs]
        places = (_BUILDKIT, *named, *services.flags[b"root"])
        reached = [each for path in places if path and (each := self._host.folder(path)) is not None]
        return list(dict.fromkeys(reached)), bool(findings)

    def _moved(self, services: Services) -> Iterator[RawPath]:
        """Roots of dockerd's own containerd that a variable moved, in a service or in a running dockerd."""
        named = [*services.flags[b"containerd-root"]]
        if self._host.root == b"/":
            named += containerd_roots()
        for path in dict.fromkeys((*named, *services.others[b"containerd-root"])):
            reached = self._host.folder(path)
            if reached is not None and is_root(reached):
                yield reached
            elif path in named:
                why = self._host.hidden_reason(path)
                missing = messages.NO_CONTAINERD_ROOT(folder=path)
                text = missing if why is None else messages.SETTING_OUT_OF_REACH(file=path, problem=why)
                self.findings.append(unseen(path, text))

    def _containerd(self, services: Services) -> Iterator[Root]:
        """Roots of a system containerd: those of config files and flags, and the default.

        If several config files may belong to a root, what each says about snapshotters counts.
        """
        default = RawPath(b"/var/lib/containerd")
        configs: list[ContainerdConfig] = []
        for path in dict.fromkeys((b"/etc/containerd/config.toml", *services.flags[b"config"])):
            config = read_containerd_config(self._host, path)
            if config.is_toml or path.endswith(b".toml"):  # else it is another program's
                self.findings.extend(config.findings)
                configs.append(config)
        self.findings.extend(services.configs)
        for root in dict.fromkeys((*(config.root or default for config in configs), default, *services.flags[b"root"])):
            reached = self._host.folder(root)
            if reached is None or not is_root(reached):
                continue
            # --root overrides a config, and one that could not be read may say anything.
            its = [
                config
                for config in configs
                if services.flags[b"root"] or config.findings or self._host.folder(config.root or default) == reached
            ]
            states = (*(config.state for config in its), *services.flags[b"state"], b"/run/containerd")
            moved = [each for config in its for each in config.snapshotters.items()]
            findings = (*(each for config in its for each in config.findings), *services.configs)
            yield self._root(reached, Engine.CONTAINERD, tuple(filter(None, states)), moved, findings)

    def _distributions(self, services: Services) -> Iterator[Root]:
        for engine, default, root, settings, state in _DISTRIBUTIONS:
            for data in dict.fromkeys((default, *services.flags[b"data-dir"])):
                reached = self._host.folder(data + b"/" + root)
                if reached is None or not is_root(reached):
                    continue
                config = read_containerd_config(self._host, os.path.join(data, settings))
                states = (config.state or state,)
                yield self._root(reached, engine, states, config.snapshotters.items(), tuple(config.findings))

    def _rootless(self) -> Iterator[Root]:
        """Roots of users. A folder that a user's settings or links lead to counts only if the user owns it."""
        for home, uid in home_dirs(self._host):
            run = b"/run/user/%d" % uid
            docker = read_docker_config(self._host, home + b"/.config/docker/daemon.json")
            places = (docker.data_root, home + b"/.local/share/docker")
            data = tuple(dict.fromkeys(each for path in places if path and (each := self._owned(path, uid))))
            states = (self._reach((docker.exec_root or run + b"/docker") + b"/containerd/daemon"),)
            owners, unread = tuple(filter(is_data_root, data)), tuple(docker.findings)
            self._data += owners
            if docker.data_root and self._host.folder(docker.data_root) not in owners:
                unread = (*unread, unseen(docker.data_root, messages.NO_DATA_ROOT(folder=docker.data_root)))
            managed = [each for one in data for each in managed_roots(self._host, one) if os.lstat(each).st_uid == uid]
            daemons: tuple[tuple[RawPath, DaemonSettings], ...] = ()
            if owners:
                why = unread[0].message if unread else None
                settings = read_daemon_settings(self._host, [self._user_service(home)], [docker], unread=why)
                daemons = tuple((each, settings) for each in owners)
                self._daemons.update(daemons)
            for root in managed:
                yield Root(
                    root, Engine.ROOTLESS, self._host.root, states, owners, not unread, findings=unread, daemons=daemons
                )
            named = read_buildkit_config(self._host, home + b"/.config/buildkit/buildkitd.toml", [])
            for path in dict.fromkeys((named, home + b"/.local/share/buildkit")):
                buildkit = self._owned(path, uid) if path else None
                for worker in worker_roots(buildkit, self._host.root) if buildkit else ():
                    if os.lstat(worker.path).st_uid == uid:
                        yield worker
            config = read_containerd_config(self._host, home + b"/.config/containerd/config.toml")
            foreign = [where for where in config.snapshotters.values() if not self._owned(where, uid)]
            findings = (*config.findings, *(_foreign(each) for each in foreign))
            moved = {name: where for name, where in config.snapshotters.items() if where not in foreign}
            for path in (config.root, home + b"/.local/share/containerd"):
                reached = self._owned(path, uid) if path else None
                if reached is not None and is_root(reached):
                    states = (config.state or RawPath(run + b"/containerd"),)
                    yield self._root(reached, Engine.ROOTLESS, states, moved.items(), findings)

    def _owned(self, path: bytes, uid: int) -> RawPath | None:
        reached = self._host.folder(path)
        return reached if reached is not None and os.lstat(reached).st_uid == uid else None

    def _root(
        self,
        path: RawPath,
        engine: Engine,
        states: tuple[bytes, ...],
        snapshotters: Iterable[tuple[bytes, RawPath]],
        findings: tuple[Finding, ...],
    ) -> Root:
        moved = tuple(dict.fromkeys((name, self._reach(where)) for name, where in snapshotters))
        reached = tuple(dict.fromkeys(map(self._reach, states)))
        return Root(path, engine, self._host.root, reached, snapshotters=moved, findings=findings)

    def _reach(self, path: bytes) -> RawPath:
        try:
            return self._host.reach(path)
        except OSError:  # a loop of links, which the engine cannot follow either
            return RawPath(os.path.join(self._host.root, path.lstrip(b"/")))


def _foreign(path: RawPath) -> Finding:
    return messages.CONFIG_FOREIGN(folder=path).at(Place(path))

"""Which containers may be dropped by choice: as ``docker container prune`` chooses, with the engine stopped.

With the engine stopped every container looks stopped. One that ran when the engine was stopped last must stay, and
dockerd writes down nowhere when that was: what it writes when it ends, a start that fails writes as well (tried with
26.1 and 28.5). So a container goes only if something shows that it had ended before: see :meth:`_Chooser._shows`.

Sources: moby daemon/prune.go, daemon/daemon.go (restore, Shutdown), daemon/monitor.go, restartmanager, v26.1 to v28.5;
nerdctl pkg/labels (v2.3.5); containerd internal/cri/server/container_create.go (v2.4).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from drydock.model.container_drops import LastRun, Pod
from drydock.model.drops import ALL_LOSSES, Drop, DropKind, LabelFilter, selects
from drydock.model.names import RawPath, Ref, UnixNano, snapshot_ref, split_snapshot_key
from drydock.model.objects import LayerObject, ObjectKind, Verdict
from drydock.model.plans import ContainerDrop
from drydock.model.records import Container, Sandbox
from drydock.model.roots import DockerContainer
from drydock.model.store import Store
from drydock.model.store_modes import StoreMode
from drydock.model.text import quoted_name, quoted_path, shown, unshown
from drydock.model.times import age, show_time
from drydock.verdict.leases import is_dockers

_MINUTE: Final = 60 * 1_000_000_000
_UP: Final = 10 * _MINUTE
"""dockerd starts containers before it has started itself, and may then fail. After this time it has not."""
_SHORTEST_PREFIX: Final = 4
_NAME, _STATE = b"nerdctl/name", b"nerdctl/state-dir"
_CRI: Final = b"k8s.io"
_SANDBOXER: Final = b"podsandbox"
_DOCKER: Final = b"moby"
_CRI_NAME, _CRI_POD, _CRI_KIND = (
    b"io.kubernetes.container.name",
    b"io.kubernetes.pod.name",
    b"io.cri-containerd.kind",
)


class GoingContainer(NamedTuple):
    """A container that goes."""

    drop: ContainerDrop
    refs: tuple[Ref, ...]
    """Its record in containerd, and the leases of its own."""
    mounts: tuple[bytes, ...] = ()
    """The names of its records of mounts in the classic store."""
    data: RawPath = RawPath(b"")
    """Of a container of Docker: its data root."""


@dataclass(slots=True)
class ContainerChoice:
    """What becomes of the containers that a policy drops."""

    going: list[GoingContainer] = field(default_factory=list)
    staying: list[tuple[str, int, str]] = field(default_factory=list)
    """Containers that would go but for a doubt, or a loss that was not accepted: name shown, bytes written, reason."""


def choose_containers(
    verdict: Verdict,
    drops: Iterable[Drop],
    *,
    unused_for: int | None = None,
    filters: Iterable[LabelFilter] = (),
    accepted: Collection[bytes] = (),
    kept: Collection[bytes] = (),
) -> ContainerChoice:
    """Choose the containers to drop.

    Args:
        verdict: from :func:`drydock.verdict.judge.judge`, of a store with the folders of its containers.
        drops: the kinds and names that the user chose.
        unused_for: nanoseconds: only containers that ended at least this long ago go by their kind.
        filters: only containers with these labels go by their kind.
        accepted: names of containers that may be lost.
        kept: names of what stays, as the user has them, and the ids of what that is.
    """
    chooser = _Chooser(
        verdict, tuple(drops), unused_for=unused_for, filters=tuple(filters), accepted=accepted, kept=kept
    )
    return chooser.choose()


class ContainerKey(NamedTuple):
    """What tells a container from all others of a root."""

    namespace: bytes
    """Empty for a container of Docker."""
    id: bytes

    @property
    def whole(self) -> bytes:
        """The word that names no other container."""
        return (self.namespace or _DOCKER) + b"/" + self.id


def find_containers(store: Store, word: bytes) -> list[ContainerKey]:
    """The containers that a word names: by a whole name, by an id with or without its namespace, or by its beginning.

    What a killed run left of containers counts, where the record is gone.
    """
    names: dict[ContainerKey, set[bytes]] = {}
    for each in store.owners.containers.values():
        key = ContainerKey(b"", each.id)
        names[key] = {each.id, each.name or each.id, key.whole}
    for record in [*store.metadata.containers, *(left.record for left in store.container_files.let_go)]:
        if not is_dockers(record.namespace):
            names[ContainerKey(record.namespace, record.id)] = _record_names(record)
    found = [key for key, its in names.items() if word in its]
    if not found and len(word) >= _SHORTEST_PREFIX:
        found = [key for key in names if key.id.startswith(word)]
    return found


class _Chooser:
    def __init__(
        self,
        verdict: Verdict,
        drops: tuple[Drop, ...],
        *,
        unused_for: int | None,
        filters: tuple[LabelFilter, ...],
        accepted: Collection[bytes],
        kept: Collection[bytes],
    ) -> None:
        self._verdict = verdict
        self._store = verdict.store
        self._now: UnixNano = verdict.now
        self._all_stopped = any(drop.kind is DropKind.STOPPED_CONTAINERS for drop in drops)
        self._wanted = {
            key: drop.name
            for drop in drops
            if drop.kind is DropKind.CONTAINER
            for key in find_containers(self._store, drop.name)
        }
        """The words that name containers."""
        self._unused_for = unused_for
        self._filters = filters
        self._accepted = accepted
        self._kept = kept
        self._files = self._store.container_files
        self._runs: dict[RawPath, list[tuple[bytes, LastRun]]] = {}
        for name, each in self._files.docker.items():
            if each.last is not None:
                self._runs.setdefault(each.root, []).append((name, each.last))
        self._written: dict[tuple[bytes, bytes], int] = {}
        """Bytes of writable layers, by namespace and key of their snapshots, or by the name of the mount's record."""
        for found in verdict.objects:
            if found.kind is ObjectKind.SNAPSHOT:
                for ref in found.refs:
                    self._written[ref.namespace, split_snapshot_key(ref.key)[1]] = found.allocated
        for layers in self._store.layer_stores:
            sizes = {
                each.id: each.allocated
                for each in verdict.objects
                if isinstance(each, LayerObject)
                and each.kind is ObjectKind.LAYER_DIRECTORY
                and each.data_root == layers.data
            }
            for name, mount in layers.mounts.items():
                self._written[b"", name] = sizes.get(mount.mount_id or b"", 0)

    def choose(self) -> ContainerChoice:
        """Choose."""
        chosen = ContainerChoice()
        for container in self._store.owners.containers.values():
            self._choose_docker(container, chosen)
        # Sandboxes last: one goes only if no container of its pod stays.
        for record in sorted(self._store.metadata.containers, key=_is_sandbox):
            if not is_dockers(record.namespace):
                self._choose_record(record, chosen)
        return chosen

    # Docker's

    def _choose_docker(self, container: DockerContainer, chosen: ContainerChoice) -> None:
        files = self._files.docker.get(container.id)
        if files is None:
            return
        name = container.name or b""
        called = shown(name or container.id)
        word = self._wanted.get(ContainerKey(b"", container.id))
        if word is None and not (self._all_stopped and self._is_selected(files.labels, files.last)):
            return
        written = self._written_by(container)
        if word is None:
            reason = "it did not run when the engine was last stopped (--drop stopped-containers)"
            doubt = self._may_run(container, files.last)
        else:
            reason, doubt = f"chosen by --drop container={shown(word)}", None
        doubt = doubt or self._keeps((container.id, name)) or self._unknown(container)
        if doubt is not None:
            chosen.staying.append((called, written, f"container {called} stays: {doubt}"))
        elif not self._accepts((container.id, name)):
            chosen.staying.append((called, written, _would_be_lost(called, written)))
        else:
            drop = ContainerDrop(b"", container.id, name, written, reason)
            mounts = tuple(self._mounts(container))
            chosen.going.append(GoingContainer(drop, tuple(self._refs(container)), mounts, files.root))

    def _is_selected(self, labels: Mapping[bytes, bytes], last: LastRun | None) -> bool:
        if not selects(self._filters, labels):
            return False
        if self._unused_for is None:
            return True
        # One that never ran has no end.
        since = None if last is None else age(last.ended if last.started is not None else last.created, self._now)
        return since is not None and since >= self._unused_for

    def _may_run(self, container: DockerContainer, last: LastRun | None) -> str | None:
        """Why a container may have run when the engine was last stopped, or is started by it; None if neither."""
        if last is None:
            return "its state could not be read"
        if last.is_active:
            return "it ran when its engine was last there"
        if last.restart is None:
            return "its restart policy could not be read"
        if last.restart != b"no" and not last.is_stopped_by_hand:
            return f"the engine starts it again: its restart policy is {shown(last.restart)}"
        if last.started is None:
            return None
        if last.ended is None:
            return "it has no end"
        data = self._files.docker[container.id].root
        if self._shows(container.id, last.ended, self._runs.get(data, [])):
            return None
        return f"the engine's last stop may have ended it ({show_time(last.ended)}): nothing shows that it ran on"

    def _shows(self, own: bytes, end: UnixNano, runs: list[tuple[bytes, LastRun]]) -> bool:
        """Whether something shows that a container's end was no stop of the engine, or not the last one.

        That is a container that ran on for more than a minute, because a stop ends all; one that was created, or
        started although no policy starts it, later than that, because only an engine at work does so; or one that ran
        for long later. A restart of another by its policy alone shows nothing: an engine whose start fails afterwards
        restarts it too.
        """
        # A stop takes as long as the slowest container.
        after = end + _MINUTE + max((last.grace for _, last in runs), default=0)
        for name, last in runs:
            if name == own:
                continue
            if last.created > after:
                return True
            if last.started is None:
                continue
            if last.restart == b"no" and last.started > after:
                return True
            if last.ended is None or last.is_active:
                continue
            if last.started <= end and last.ended > after:
                return True
            if last.started > end and last.ended - last.started > max(_UP, after - end):
                return True
        return False

    def _unknown(self, container: DockerContainer) -> str | None:
        if not (container.manifest_known and container.mounts_known):
            return "its configuration could not be read"
        if container.mode is None:
            return "it is not known which of Docker's two stores has its layer"
        if self._store.owners.containers_changed is None:
            return "not all of Docker's containers could be read"
        if container.mode is StoreMode.CLASSIC:
            for layers in self._store.layer_stores:
                mount = layers.mounts.get(container.id)
                if mount is not None and mount.problem:
                    return f"the record of its layer cannot be read whole: {mount.problem}"
        return None

    def _written_by(self, container: DockerContainer) -> int:
        if container.mode is StoreMode.CLASSIC:
            return self._written.get((b"", container.id), 0)
        found = (size for (space, key), size in self._written.items() if is_dockers(space) and key == container.id)
        return sum(found)

    def _refs(self, container: DockerContainer) -> Iterator[Ref]:
        """The leases and the record that containerd has of a container of Docker."""
        own = {container.id, *container.mounts}
        others = (each.mounts for each in self._store.owners.containers.values() if each.id != container.id)
        own -= set().union(*others)
        for lease in self._store.metadata.leases:
            if is_dockers(lease.namespace) and lease.id in own:
                yield lease.ref
        for record in self._store.metadata.containers:
            if is_dockers(record.namespace) and record.id == container.id:
                yield record.ref

    def _mounts(self, container: DockerContainer) -> Iterator[bytes]:
        for layers in self._store.layer_stores:
            for name in layers.mounts:
                if name == container.id or name.startswith(container.id + b"-") or name in container.mounts:
                    yield name

    # Those of nerdctl and Kubernetes

    def _choose_record(self, record: Container, chosen: ContainerChoice) -> None:
        names = _record_names(record)
        word = self._wanted.get(ContainerKey(record.namespace, record.id))
        if word is None:
            return
        name = record.labels.get(_NAME) or record.labels.get(_CRI_NAME) or b""
        called = shown(name or record.id)
        written = self._written.get((record.namespace, record.snapshot_key), 0)
        doubt = self._keeps(names)
        if _is_sandbox(record):
            doubt = doubt or self._keeps_pod(record, chosen)
        elif _NAME in record.labels or _STATE in record.labels:
            files = self._files.nerdctl.get((record.namespace, record.id))
            doubt = doubt or ("what nerdctl keeps of it could not be read" if files is None else files.doubt)
        if self._is_parent(record):
            doubt = doubt or "another snapshot is made on its writable layer"
        if doubt is not None:
            chosen.staying.append((called, written, f"container {called} stays: {doubt}"))
        elif not self._accepts(names):
            chosen.staying.append((called, written, _would_be_lost(shown(record.id), written)))
        else:
            reason = f"chosen by --drop container={shown(word)}"
            refs = [record.ref]
            if _is_sandbox(record):
                reason += _say_network(self._files.pods[record.id])
                refs += self._pod_refs(record)
            drop = ContainerDrop(record.namespace, record.id, name, written, reason)
            chosen.going.append(GoingContainer(drop, tuple(refs)))

    def _keeps_pod(self, sandbox: Container, chosen: ContainerChoice) -> str | None:
        """Why a sandbox stays; None if it may go.

        Source: containerd internal/cri/server/sandbox_remove.go RemovePodSandbox (v2.4), pkg/cri/server (v1.6).
        """
        if sandbox.id not in self._files.pods:
            return "what the CRI plugin recorded of its pod could not be read"
        if any(each.outside_v1 or each.sandboxer != _SANDBOXER for each in self._sandboxes(sandbox)):
            return "another sandboxer than the CRI plugin's own may have its record"
        going = {each.drop.id for each in chosen.going if each.drop.namespace == sandbox.namespace}
        for each in self._store.metadata.containers:
            if each.namespace != sandbox.namespace or each.labels.get(_CRI_KIND) != b"container" or each.id in going:
                continue
            pod = each.sandbox_id or self._files.pod_of.get(each.id)
            if not pod:
                return f"it is not known which pod container {shown(each.id)} belongs to"
            if pod == sandbox.id:
                return f"it is the sandbox of a pod, whose container {shown(each.id)} stays"
        return None

    def _sandboxes(self, record: Container) -> Iterator[Sandbox]:
        return (each for each in self._store.metadata.sandboxes if each[:2] == (record.namespace, record.id))

    def _pod_refs(self, record: Container) -> Iterator[Ref]:
        """The lease and the record of a sandbox, besides its container."""
        yield from (each.ref for each in self._sandboxes(record))
        for lease in self._store.metadata.leases:
            if (lease.namespace, lease.id) == (record.namespace, record.id):
                yield lease.ref

    def _is_parent(self, record: Container) -> bool:
        own = snapshot_ref(record.namespace, record.snapshotter, record.snapshot_key)
        return any(each.parent_ref == own for each in self._store.metadata.snapshots)

    def _keeps(self, names: Collection[bytes]) -> str | None:
        for word in self._kept:
            if word in names or any(len(word) >= _SHORTEST_PREFIX and each.startswith(word) for each in names):
                return f"kept by --keep {shown(word)}"
        return None

    def _accepts(self, names: Collection[bytes]) -> bool:
        return ALL_LOSSES in self._accepted or not set(names).isdisjoint(self._accepted)


def _is_sandbox(record: Container) -> bool:
    return record.namespace == _CRI and record.labels.get(_CRI_KIND) == b"sandbox"


def _say_network(pod: Pod) -> str:
    """What of a pod's network stays, and what frees it."""
    if not pod.has_network:
        return ""
    frees = [f"rm {quoted_path(path)}" for path in (*pod.addresses, *pod.results)]
    frees += [f"ip netns delete {quoted_path(pod.namespace)}"] if pod.namespace else []
    if not pod.addresses:
        frees.append("its CNI plugin, for an address that no file in /var/lib/cni/networks reserves")
    return f"; its network stays reserved, freed by: {'; '.join(frees)}"


def _record_names(record: Container) -> set[bytes]:
    """What nerdctl and crictl call a container."""
    names = {record.id, record.namespace + b"/" + record.id, record.labels.get(_NAME, b"")}
    name, pod = record.labels.get(_CRI_NAME, b""), record.labels.get(_CRI_POD, b"")
    if name and pod:
        names |= {name, pod + b"/" + name}
    return names - {b""}


def _would_be_lost(called: str, written: int) -> str:
    word = quoted_name(unshown(called))
    return (
        f"WOULD BE LOST: what container {called} wrote ({written} bytes); drydock export container {word} -o FILE "
        f"saves it, --accept-loss {word} drops it"
    )

"""What has to be known to drop containers, and for nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from drydock.model.data import Fingerprint
from drydock.model.names import RawPath, UnixNano
from drydock.model.records import Container


class LastRun(NamedTuple):
    """What dockerd recorded of a container's last run (moby container/state.go, container/container.go, v28.5)."""

    is_active: bool
    """Whether it was running, paused or restarting when dockerd last wrote; still true after a crash."""
    created: UnixNano
    started: UnixNano | None
    """None if it never ran."""
    ended: UnixNano | None
    """None if it never ended."""
    restart: bytes | None
    """The name of its restart policy; None if that could not be read."""
    is_stopped_by_hand: bool
    """Whether a command stopped it (``HasBeenManuallyStopped``)."""
    grace: int
    """Nanoseconds that it is given to end when it is stopped."""

    @property
    def newest(self) -> UnixNano:
        """The latest of its times."""
        return max(each for each in (self.created, self.started, self.ended) if each is not None)


class ContainerFolder(NamedTuple):
    """A folder of a container: of dockerd, of the CRI plugin or of nerdctl; or the file of its name."""

    root: RawPath
    """Absolute path of the data root of dockerd or nerdctl, or of the containerd root."""
    path: RawPath
    """Relative to it."""
    fingerprint: Fingerprint
    allocated: int
    """Bytes of allocated blocks."""
    labels: Mapping[bytes, bytes] = MappingProxyType({})
    """Of a container of Docker: its labels."""
    last: LastRun | None = None
    """Of a container of Docker: its last run; None if it could not be read."""


class NerdctlFiles(NamedTuple):
    """What nerdctl keeps of one of its containers."""

    name: ContainerFolder | None = None
    """The file that reserves its name; None if there is none."""
    folders: tuple[ContainerFolder, ...] = ()
    """Its folders, in the order in which they go."""
    doubt: str | None = None
    """Why they cannot be removed; None if they can."""


class Pod(NamedTuple):
    """What the CRI plugin recorded of the network of a pod."""

    has_network: bool = False
    """Whether it has one of its own, which a CNI plugin made; otherwise it has that of the host."""
    addresses: tuple[RawPath, ...] = ()
    """Absolute paths of the files that reserve its addresses, as far as they were found."""
    namespace: bytes = b""
    """The name of its network namespace, if that is there; else empty."""
    results: tuple[RawPath, ...] = ()
    """Absolute paths of the files in which CNI keeps what its plugins answered, as far as they were found."""


class LetGo(NamedTuple):
    """What is left of a container of nerdctl whose record a killed run deleted."""

    record: Container
    """As it was."""
    files: NerdctlFiles


@dataclass(slots=True)
class ContainerFiles:
    """The folders of containers."""

    docker: dict[bytes, ContainerFolder] = field(default_factory=dict)
    """Of Docker, by the container's id."""
    cri: dict[bytes, ContainerFolder] = field(default_factory=dict)
    """Of Kubernetes, by the id of the container or the sandbox."""
    pods: dict[bytes, Pod] = field(default_factory=dict)
    """Of Kubernetes, by the id of the sandbox; only those whose records could be read."""
    pod_of: dict[bytes, bytes] = field(default_factory=dict)
    """Of Kubernetes, by the container's id: that of its sandbox."""
    nerdctl: dict[tuple[bytes, bytes], NerdctlFiles] = field(default_factory=dict)
    """Of nerdctl, by the container's namespace and id."""
    left: list[ContainerFolder] = field(default_factory=list)
    """What a run that was killed left of folders."""
    let_go: list[LetGo] = field(default_factory=list)
    """The same of containers of nerdctl, whose folders nothing else finds."""

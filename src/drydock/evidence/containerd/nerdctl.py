"""What nerdctl keeps of its containers outside containerd: folders of state and of hosts files, and names.

Layout below a data root: ``<address hash>/containers/<namespace>/<id>``, ``<address hash>/etchosts/<namespace>/<id>``,
``<address hash>/names/<namespace>/<name>``, whose content is the id. The record's label ``nerdctl/state-dir`` has the
first. Only the hash is taken from it, because somebody wrote it, and because a host may be mounted elsewhere.

Sources: nerdctl pkg/cmd/container/remove.go, pkg/namestore, pkg/dnsutil/hostsstore, pkg/labels, v2.3.5.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from drydock.evidence.files.directory import fingerprint, folder, names, open_folder
from drydock.evidence.files.regular import read_regular
from drydock.evidence.files.sizes import Measure
from drydock.model.container_drops import ContainerFolder, NerdctlFiles
from drydock.model.names import RawPath, is_container_id
from drydock.model.records import Container
from drydock.model.roots import Root
from drydock.model.text import shown

NAME: Final = b"nerdctl/name"
STATE: Final = b"nerdctl/state-dir"
_HEALTH: Final = b"nerdctl/healthcheck"
_WORD: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
"""pkg/identifiers/validate.go."""
_FORM: Final = re.compile(rb"/(?:[^/]+/)*nerdctl/([0-9a-f]{8})/containers/([^/]+)/([^/]+)\Z", re.DOTALL)
_LARGEST: Final = 4096


class _NotNerdctls(OSError):
    """Something that nerdctl did not make so, or that others may write to."""


def data_roots(root: Root) -> tuple[RawPath, ...]:
    """Nerdctl's data roots for a containerd root: beside it, as rootless nerdctl has it, and the host's own.

    Only those that are folders, have the owner of the containerd root, and that nobody else may write to.
    """
    above, _, _ = root.path.rpartition(b"/")
    places = [(RawPath(above or b"/"), [b"nerdctl"]), (root.host, [b"var", b"lib", b"nerdctl"])]
    found: dict[tuple[int, int], RawPath] = {}
    for start, parts in places:
        try:
            owner = os.stat(root.path).st_uid
            with folder(start, *parts) as descriptor:
                info = _own(descriptor, owner)
        except OSError:
            continue
        found.setdefault((info.st_dev, info.st_ino), RawPath(os.path.join(start, *parts)))
    return tuple(found.values())


def is_nerdctls(record: Container) -> bool:
    """Whether nerdctl made the record of a container."""
    return NAME in record.labels or STATE in record.labels


def read_nerdctl(root: Root, records: Iterable[Container], measure: Measure) -> dict[tuple[bytes, bytes], NerdctlFiles]:
    """What nerdctl keeps of its containers, by namespace and id, or why that cannot be said.

    Args:
        root: the containerd root.
        records: the containers' records.
        measure: counts allocated blocks.
    """
    own = [record for record in records if is_nerdctls(record)]
    roots = data_roots(root) if own else ()
    return {(record.namespace, record.id): _read(roots, record, measure) for record in own}


def _read(roots: tuple[RawPath, ...], record: Container, measure: Measure) -> NerdctlFiles:
    label, name = record.labels.get(STATE, b""), record.labels.get(NAME, b"")
    form = _FORM.match(label)
    if form is None or form.groups()[1:] != (record.namespace, record.id):
        return NerdctlFiles(doubt=f"its label {shown(STATE)} has no state folder of nerdctl: {shown(label)}")
    if not is_container_id(record.id) or not _WORD.match(record.namespace) or (name and not _WORD.match(name)):
        return NerdctlFiles(doubt="nerdctl gives no such name, id or namespace")
    if _HEALTH in record.labels:
        return NerdctlFiles(doubt="it has a health check, whose systemd units only nerdctl rm removes")
    path = form[1] + b"/containers/" + record.namespace + b"/" + record.id
    there = [data for data in roots if os.path.lexists(os.path.join(data, path))]
    if len(there) != 1:
        which = "no data root" if not there else "more than one data root"
        return NerdctlFiles(doubt=f"{which} of nerdctl on this host has its state folder {shown(path)}")
    try:
        return _files(there[0], form[1], record, name, measure)
    except OSError as error:
        reason = str(error) if isinstance(error, _NotNerdctls) else error.strerror
        return NerdctlFiles(doubt=f"what nerdctl keeps of it cannot be used: {reason}")


def _files(data: RawPath, store: bytes, record: Container, name: bytes, measure: Measure) -> NerdctlFiles:
    with folder(data) as top:
        owner = os.fstat(top).st_uid
    folders: list[ContainerFolder] = []
    for kind in (b"etchosts", b"containers"):
        try:
            with _walk(data, owner, store, kind, record.namespace) as parent:
                below = open_folder(record.id, parent)
                try:
                    info = _own(below, owner)
                    _check_mounts(below, info.st_dev)
                finally:
                    os.close(below)
                allocated = measure.folder(record.id, parent).allocated
        except FileNotFoundError:
            if kind == b"containers":
                raise
            continue
        path = RawPath(b"/".join((store, kind, record.namespace, record.id)))
        folders.append(ContainerFolder(data, path, fingerprint(info), allocated))
    named = None
    if name:
        try:
            with _walk(data, owner, store, b"names", record.namespace) as parent:
                held = read_regular(name, _LARGEST, parent)
                info = os.stat(name, dir_fd=parent, follow_symlinks=False)
            # nerdctl leaves a name that another container has.
            if held == record.id:
                path = RawPath(b"/".join((store, b"names", record.namespace, name)))
                named = ContainerFolder(data, path, fingerprint(info), info.st_blocks * 512)
        except FileNotFoundError:
            pass
    return NerdctlFiles(named, tuple(folders))


@contextmanager
def _walk(data: RawPath, owner: int, *parts: bytes) -> Iterator[int]:
    """The open folder ``parts`` below a data root, if each on the way is its owner's alone.

    Raises:
        OSError: one is missing, is a link, or is not.
    """
    with folder(data) as top:
        current = os.dup(top)
    try:
        for part in parts:
            below = open_folder(part, current)
            os.close(current)
            current = below
            _own(current, owner)
        yield current
    finally:
        os.close(current)


def _own(descriptor: int, owner: int) -> os.stat_result:
    info = os.fstat(descriptor)
    if info.st_uid != owner or stat.S_IMODE(info.st_mode) & 0o022:
        raise _NotNerdctls("a folder on its path has another owner, or others may write to it")
    return info


def _check_mounts(descriptor: int, device: int) -> None:
    for each in names(descriptor):
        if os.stat(each, dir_fd=descriptor, follow_symlinks=False).st_dev != device:
            raise _NotNerdctls(f"something is mounted on {shown(each)} in it")

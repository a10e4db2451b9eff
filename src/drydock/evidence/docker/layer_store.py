"""Reads the classic layer store of a data root: imagedb, layerdb, repositories.json and the folders of overlay2.

Everything below ``overlay2/<id>/diff`` is a guest's, and is not looked at. Sources: moby layer/filestore.go,
image/fs.go, image/store.go, reference/store.go, daemon/graphdriver/overlay2/overlay.go (v28.5).
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from drydock.evidence.docker.record_folder import BLOCK, SHORT, RecordFolder, digest_in, problem_of
from drydock.evidence.files.directory import fingerprint, folder, names
from drydock.evidence.files.regular import read_regular
from drydock.evidence.files.sizes import DiskUsage, Measure
from drydock.evidence.files.walk_pool import WalkAhead, measure_folders
from drydock.model import messages
from drydock.model.findings import Place
from drydock.model.layer_store import (
    OVERLAY2,
    REFERENCES,
    ClassicImage,
    DirectoryKind,
    LayerDirectory,
    LayerLink,
    LayerRecord,
    LayerRest,
    LayerStore,
    MountRecord,
    directory_kind,
)
from drydock.model.names import Digest, RawPath, is_container_id
from drydock.model.oci import built_labels, chain_ids
from drydock.model.progress import Progress, counter
from drydock.model.roots import DockerContainer
from drydock.model.text import shown

_CONFIG: Final = 8 << 20
_REFERENCES: Final = 64 << 20
YOUNG: Final = 3600
"""Seconds that unpacking a layer, and pulling an image, may take."""
_DEPTH: Final = 16
"""How deep a record of an image mount may lie below ``layerdb/mounts``."""

_IMAGE: Final = RawPath(b"image/" + OVERLAY2)
_LAYERS: Final = RawPath(_IMAGE + b"/layerdb/sha256")
_MOUNTS: Final = RawPath(_IMAGE + b"/layerdb/mounts")
_WRITE_SETS: Final = RawPath(_IMAGE + b"/layerdb/tmp")
_LAYERDB: Final = frozenset((b"sha256", b"mounts", b"tmp"))
_CONFIGS: Final = RawPath(_IMAGE + b"/imagedb/content/sha256")
_PARENTS: Final = RawPath(_IMAGE + b"/imagedb/metadata/sha256")
_LINKS: Final = RawPath(OVERLAY2 + b"/l")

_REMOVING: Final = re.compile(rb"([0-9a-f]{64})-[^-]*-removing\Z", re.DOTALL)
_DEVICE: Final = b"backingFsBlockDev"
_LINK: Final = re.compile(rb"[A-Z0-9]{26}\Z")
_TARGET: Final = re.compile(rb"\.\./([^/]+)/diff\Z", re.DOTALL)


def has_layer_store(data: RawPath) -> bool:
    """Whether a data root has anything of a classic layer store: an image, a layer, a mount or a directory."""
    kept = (b"l", _DEVICE)
    for path in (_CONFIGS, _LAYERS, _MOUNTS, OVERLAY2):
        try:
            with folder(data, *path.split(b"/")) as descriptor:
                if any(name not in kept for name in names(descriptor)):
                    return True
        except (FileNotFoundError, NotADirectoryError):  # noqa: PERF203 - four folders
            continue
        except OSError:
            return True
    return False


def read_layer_store(
    data: RawPath, containers: dict[bytes, DockerContainer] | None, *, live: bool = False
) -> LayerStore:
    """Read the layer store of a data root, without BuildKit's databases and without measuring directories.

    Args:
        data: absolute path of the data root.
        containers: of the data root, by id; None if they could not be listed.
        live: dockerd may be at work: what goes meanwhile is left out.
    """
    store = LayerStore(data, containers=containers or {}, containers_known=containers is not None, live=live)
    return _Reader(store, live=live).read()


def measure_directories(
    store: LayerStore,
    measure: Measure,
    *,
    recorded: bool,
    live: bool = False,
    progress: Progress | None = None,
    ahead: WalkAhead | None = None,
) -> None:
    """Measure the directories of a store that was read.

    Args:
        store: its directories get their allocated blocks.
        measure: counts inodes with several links once.
        recorded: leave out directories of which layerdb or BuildKit has a size, and those that dockerd did not make.
        live: dockerd may be at work: one process measures, and what goes meanwhile is left out.
        progress: told how many directories are done.
        ahead: has directories that are measured already.
    """
    sized = store.recorded_sizes() if recorded else {}
    wanted = [
        name
        for name, each in store.directories.items()
        if each.is_directory and name not in sized and not (recorded and each.kind is DirectoryKind.FOREIGN)
    ]
    step = counter(progress, "layer directories", len(wanted))
    try:
        with folder(store.data, OVERLAY2) as descriptor:
            usages: Iterator[DiskUsage] = iter(())
            if not live:
                known = {} if ahead is None else ahead.measured(wanted, descriptor, measure, step)
                usages = measure_folders(measure, wanted, descriptor, step, known)
            for name in wanted:
                try:
                    usage = measure.folder(name, descriptor) if live else next(usages)
                except FileNotFoundError:
                    if not live:
                        raise
                    continue
                if usage.skips:
                    more = f" (and {usage.skips - 1} more)" if usage.skips > 1 else ""
                    path = store.directories[name].path
                    text = messages.NOT_MEASURED(
                        snapshotter=OVERLAY2, directory=name, reason=usage.skipped[0], more=more
                    )
                    store.findings.append(text.at(Place(RawPath(os.path.join(store.data, path))), name))
                store.directories[name] = store.directories[name]._replace(allocated=usage.allocated)
    except OSError as error:
        if wanted:
            path = RawPath(os.path.join(store.data, OVERLAY2))
            problem = error.strerror or str(error)
            store.findings.append(messages.UNREADABLE(path=path, problem=problem).at(Place(path)))
            store.unlisted.append(f"{shown(path)}: {problem}")


class _Reader:
    """Reads one layer store."""

    def __init__(self, store: LayerStore, *, live: bool) -> None:
        self._store = store
        self._live = live

    def read(self) -> LayerStore:
        self._references()
        self._images_known()
        self._each(_CONFIGS, self._image)
        self._layerdb()
        self._each(_LAYERS, self._layer)
        self._each(_WRITE_SETS, self._write_set)
        self._each(_MOUNTS, self._mount)
        self._each(OVERLAY2, self._directory)
        self._each(_LINKS, self._link)
        if self._live:
            _leave_young(self._store)
        return self._store

    def _each(self, path: bytes, read: Callable[[bytes, int], None]) -> None:
        """Call ``read`` with each name in a folder, and a descriptor of the folder; a missing folder has none."""
        try:
            with folder(self._store.data, *path.split(b"/")) as descriptor:
                for name in names(descriptor):
                    try:
                        read(name, descriptor)
                    except FileNotFoundError:  # noqa: PERF203 - it went meanwhile
                        if not self._live:
                            raise
        except FileNotFoundError:
            return
        except OSError as error:
            self._blind(path, error.strerror or str(error))

    def _blind(self, path: bytes, problem: str) -> None:
        """Note that something that may name a layer or a directory could not be read."""
        whole = RawPath(os.path.join(self._store.data, path))
        self._store.findings.append(messages.UNREADABLE(path=whole, problem=problem).at(Place(whole)))
        self._store.unlisted.append(f"{shown(whole)}: {problem}")

    def _references(self) -> None:
        path = RawPath(os.path.join(self._store.data, REFERENCES))
        try:
            *parts, name = REFERENCES.split(b"/")
            with folder(self._store.data, *parts) as descriptor:
                found = json.loads(read_regular(name, _REFERENCES, descriptor))
            self._store.references = dict(_references(found))
        except FileNotFoundError:
            self._store.images_unknown = f"{shown(path)} is missing"
        except PermissionError as error:  # dockerd is root: it may read the file all the same
            self._store.images_unknown = f"{shown(path)} cannot be read: {error.strerror}"
            self._blind(REFERENCES, error.strerror or "")
        except (OSError, ValueError, RecursionError) as error:
            problem = problem_of(error, "it is not the JSON that dockerd writes")
            self._store.images_unknown = f"{shown(path)} cannot be read: {problem}"
            self._store.findings.append(messages.UNREADABLE_REFERENCES(path=path, problem=problem).at(Place(path)))

    def _images_known(self) -> None:
        """Note if the folder of configs is missing. dockerd makes it at each start, as repositories.json."""
        path = os.path.join(self._store.data, _CONFIGS)
        if not self._store.images_unknown and not os.path.lexists(path):
            self._store.images_unknown = f"{shown(path)} is missing"

    def _image(self, name: bytes, parent: int) -> None:
        if not is_container_id(name):  # 64 hexadecimal digits too
            self._store.foreign.append(RawPath(_CONFIGS + b"/" + name))
            return
        identity, path = Digest(b"sha256:" + name), RawPath(_CONFIGS + b"/" + name)
        size, problem = 0, ""
        config: Any = None
        try:
            raw = read_regular(name, _CONFIG, parent)
            size = len(raw)
            if sha256(raw).hexdigest().encode() != name:
                problem = "its config does not match its id"
            config = json.loads(raw)
        except (OSError, ValueError, RecursionError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            problem = problem or problem_of(error, "its config is not JSON")
        diff_ids = _diff_ids(config)
        if diff_ids is None:
            problem = problem or "its config does not list its layers"
        created = config.get("created") if isinstance(config, dict) else None
        image = ClassicImage(
            identity,
            path,
            size,
            tuple(sorted(each for each, target in self._store.references.items() if target == identity)),
            diff_ids or (),
            tuple(map(Digest, chain_ids(diff_ids or ()))),
            self._parent_image(name),
            created.encode("utf-8", "surrogatepass") if isinstance(created, str) else b"",
            _platform(config),
            built_labels(config),
            problem,
        )
        self._store.images[identity] = image

    def _parent_image(self, name: bytes) -> Digest | None:
        try:
            with folder(self._store.data, *_PARENTS.split(b"/"), name) as descriptor:
                return digest_in(read_regular(b"parent", SHORT, descriptor))
        except OSError:
            return None

    def _layerdb(self) -> None:
        with suppress(OSError), folder(self._store.data, *_IMAGE.split(b"/"), b"layerdb") as descriptor:
            for name in names(descriptor):
                if name not in _LAYERDB:
                    self._store.foreign.append(RawPath(_IMAGE + b"/layerdb/" + name))

    def _layer(self, name: bytes, parent: int) -> None:
        path = RawPath(_LAYERS + b"/" + name)
        removing = _REMOVING.match(name)
        if removing is not None:
            self._rest(name, path, parent, Digest(b"sha256:" + removing[1]))
            return
        if not is_container_id(name):
            self._store.foreign.append(path)
            return
        chain = Digest(b"sha256:" + name)
        with RecordFolder(name, parent) as record:
            cache_id = record.text(b"cache-id", is_name=True)
            diff_id = record.digest(b"diff")
            below = record.digest(b"parent", needed=False)
            size = record.number(b"size")
            self._store.layers[chain] = LayerRecord(
                chain,
                path,
                record.fingerprint,
                record.allocated,
                cache_id,
                diff_id,
                below,
                size,
                record.has(b"tar-split.json.gz"),
                record.problem,
            )

    def _write_set(self, name: bytes, parent: int) -> None:
        self._rest(name, RawPath(_WRITE_SETS + b"/" + name), parent, None)

    def _rest(self, name: bytes, path: RawPath, parent: int, chain: Digest | None) -> None:
        with RecordFolder(name, parent) as record:
            cache_id = record.text(b"cache-id", needed=False, is_name=True)
            if record.problem:
                self._blind(path, record.problem)
            self._store.rests.append(
                LayerRest(name, path, record.fingerprint, record.allocated, chain is not None, cache_id, chain)
            )

    def _mount(self, name: bytes, parent: int) -> None:
        self._mount_below(name, name, parent, _DEPTH)

    def _mount_below(self, whole: bytes, name: bytes, parent: int, depth: int) -> None:
        path = RawPath(_MOUNTS + b"/" + whole)
        with RecordFolder(name, parent) as record:
            below = record.folders()
            if record.descriptor is None or record.files or not below:
                mount_id = record.text(b"mount-id", directory_kind_is=(DirectoryKind.LAYER,))
                init_id = record.text(
                    b"init-id", needed=False, directory_kind_is=(DirectoryKind.LAYER, DirectoryKind.INIT)
                )
                chain = record.digest(b"parent", needed=False)
                self._store.mounts[whole] = MountRecord(
                    whole, path, record.fingerprint, record.allocated, mount_id, init_id, chain, record.problem
                )
            if below and not depth:
                self._blind(path, f"there are more than {_DEPTH} folders in each other")
            elif record.descriptor is not None:
                for each in below:
                    self._mount_below(whole + b"/" + each, each, record.descriptor, depth - 1)

    def _directory(self, name: bytes, parent: int) -> None:
        if name in (b"l", _DEVICE):
            return
        path, kind = RawPath(OVERLAY2 + b"/" + name), directory_kind(name)
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        link, lower, problem = None, b"", ""
        has_diff = is_committed = False
        is_directory = stat.S_ISDIR(found.st_mode)
        if not is_directory:
            problem = "it is not a folder"
        elif kind in (DirectoryKind.LAYER, DirectoryKind.INIT, DirectoryKind.BUILD):
            with RecordFolder(name, parent, sizes=False) as record:
                link = record.text(b"link", needed=False)
                lower = record.text(b"lower", needed=False) or b""
                has_diff, is_committed = b"diff" in record.folders(), record.has(b"committed")
                problem = record.problem
        names_below = tuple(each.removeprefix(b"l/") for each in lower.split(b":")) if lower else ()
        self._store.directories[name] = LayerDirectory(
            name,
            path,
            kind,
            fingerprint(found),
            is_directory,
            link,
            names_below,
            has_diff,
            is_committed,
            problem=problem,
        )

    def _link(self, name: bytes, parent: int) -> None:
        path = RawPath(_LINKS + b"/" + name)
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode) or not _LINK.match(name):
            self._store.foreign.append(path)
            return
        target = _TARGET.match(os.readlink(name, dir_fd=parent))
        directory = None if target is None else target[1]
        self._store.links[name] = LayerLink(name, path, fingerprint(found), directory, found.st_blocks * BLOCK)


def _leave_young(store: LayerStore) -> None:
    """Leave out what changed in the last hour and has no record: dockerd may be making it, before its record.

    dockerd writes the record of a layer when all of it is unpacked (moby layer/layer_store.go registerWithDescriptor).
    """
    oldest = time.time_ns() - YOUNG * 1_000_000_000
    named = {each.cache_id for each in store.layers.values()}
    named.update(name for each in store.mounts.values() for name in each.directories)
    store.directories = {
        name: each
        for name, each in store.directories.items()
        if name in named or each.kind is DirectoryKind.BUILD or each.fingerprint.ctime_ns < oldest
    }
    known = {each.link for each in store.directories.values()}
    store.links = {
        name: each for name, each in store.links.items() if name in known or each.fingerprint.ctime_ns < oldest
    }
    store.rests = [each for each in store.rests if each.fingerprint.ctime_ns < oldest]


def _diff_ids(config: object) -> tuple[Digest, ...] | None:
    """The diff ids in an image's config; None if it does not list them as dockerd writes them."""
    rootfs = config.get("rootfs") if isinstance(config, dict) else None
    listed = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if listed is None and isinstance(rootfs, dict) and rootfs.get("type") == "layers":
        return ()  # an image FROM scratch without files
    if not isinstance(listed, list):
        return None
    found = [digest_in(each.encode("utf-8", "surrogatepass")) if isinstance(each, str) else None for each in listed]
    digests = tuple(each for each in found if each is not None)
    return digests if len(digests) == len(found) else None


def _references(found: object) -> Iterator[tuple[bytes, Digest]]:
    """The references in repositories.json with the image ids.

    Raises:
        ValueError: it is not what dockerd writes.
    """
    if not isinstance(found, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - damage like any other that json finds
    repositories = found.get("Repositories")
    if repositories is None:
        return
    if not isinstance(repositories, dict):
        raise ValueError("no repositories")  # noqa: TRY004 - the same
    for references in repositories.values():
        if not isinstance(references, dict):
            raise ValueError("no references")  # noqa: TRY004 - the same
        for reference, identity in references.items():
            digest = digest_in(identity.encode("utf-8", "surrogatepass")) if isinstance(identity, str) else None
            if digest is None:
                raise ValueError("no image id")
            yield reference.encode("utf-8", "surrogatepass"), digest


def _platform(config: object) -> bytes:
    """The platform that a config of an image is for."""
    if not isinstance(config, dict):
        return b""
    parts = [config.get(key) for key in ("os", "architecture", "variant")]
    if not all(isinstance(each, str) and each for each in parts[:2]):
        return b""
    return "/".join(each for each in parts if isinstance(each, str) and each).encode("utf-8", "surrogatepass")

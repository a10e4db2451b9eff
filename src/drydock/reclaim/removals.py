"""One removal: the path is opened safely, the fingerprint is compared again, then the data is removed or moved.

The removal follows the engine where it matters. A blob is unlinked directly, because ``blobs/`` must not have another
name (containerd core/metadata/content.go, v2.1: one invalid name ends the GC). A snapshot's directory is first renamed
to ``rm-…``, a name that the overlay snapshotter cleans up itself if this process dies half-way (containerd
plugins/snapshots/overlay/overlay.go getCleanupDirectories, v2.1). A record of the classic layer store is first renamed
into ``layerdb/tmp``, which dockerd writes and never reads (moby layer/filestore.go StartTransaction, List, v28.5): half
a record of a layer would be passed over with all images on it, and half a record of a mount still holds its parents.
The folder of a container is first renamed into dockerd's ``tmp``, which dockerd empties when it starts (moby
daemon/daemon.go prepareTempDir, v28.5): of half a folder nobody could tell whose it was.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from drydock.evidence.containerd.snapshots import LAYER
from drydock.evidence.files.directory import fingerprint, look
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import open_regular
from drydock.model.data import Fingerprint
from drydock.model.names import SNAPSHOTTER_PREFIX, RawPath
from drydock.model.plans import Outcome, Removal, Status, Target
from drydock.model.text import shown
from drydock.reclaim import knife
from drydock.reclaim.recognition import Quarantined, Recognition, mend, recognise
from drydock.reclaim.remove_tree import Removed, describe_obstacle, remove_tree
from drydock.reclaim.root_dir import RootDir, describe_change
from drydock.reclaim.syscalls import clear_immutable

_STORE_FILES: Final = (
    rb"image/(identity-cache\.db|overlay2/(repositories\.json|imagedb/(content|metadata)/sha256/[0-9a-f]{64}"
    rb"|distribution/(diffid-by-digest|v2metadata-by-diffid)))"
    rb"|buildkit/(snapshots\.db|containerdmeta\.db|metadata_v2\.db|metadata\.db|history\.db|content"
    rb"|history_c8d\.db|containerd-[a-z0-9.-]+)"
)
_CONTAINER_FILES: Final = (
    rb"(containers|io\.containerd\.grpc\.v1\.cri/(containers|sandboxes))/[0-9a-f]{64}|tmp/drydock-container-[0-9]+(-[0-9]+)?"
    rb"|[0-9a-f]{8}/(containers|etchosts)/[A-Za-z0-9][A-Za-z0-9_.-]*/[0-9a-f]{64}"
    rb"|[0-9a-f]{8}/names/[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*"
)
_PLACES: Final = {
    target: re.compile(pattern, re.DOTALL)
    for target, pattern in (
        (Target.BLOB, rb".+/blobs/[^/]+/[^/]+"),
        (Target.INGEST, rb".+/ingest/[^/]+"),
        (Target.SNAPSHOT, rb".+/snapshots/[^/]+"),
        (Target.STORE_FILE, _STORE_FILES),
        (Target.LAYER_RECORD, rb"image/overlay2/layerdb/sha256/[^/]+"),
        (Target.MOUNT_RECORD, rb"image/overlay2/layerdb/mounts/.+"),
        (Target.WRITE_SET, rb"image/overlay2/layerdb/tmp/[^/]+"),
        (Target.LINK, rb"overlay2/l/[^/]+"),
        (Target.LAYER, rb"overlay2/(?!(l|backingFsBlockDev)\Z)[^/]+"),
        (Target.WRITTEN_LAYER, rb"overlay2/[0-9a-f]{64}"),
        (Target.CONTAINER_FOLDER, _CONTAINER_FILES),
    )
}
"""What the path of each kind of data looks like, relative to its root."""
_ASIDE: Final = b"image/overlay2/layerdb/tmp"
_REMOVING: Final = b"-removing"
"""The end of the name of a layer's record whose removal began (moby layer/layer_store.go deleteLayer, v28.5)."""
_MARK: Final = b"rm-"
_NAMES: Final = 1000
_SET_ASIDE: Final = (Target.LAYER_RECORD, Target.MOUNT_RECORD)
_TMP: Final = b"tmp"
_CONTAINERS: Final = b"containers/"
_EROFS: Final = SNAPSHOTTER_PREFIX + b"erofs/"


def remove(root_dir: RootDir, removal: Removal, stop: Callable[[], bool] = lambda: False) -> Outcome:
    """Remove the data of ``removal``, if it is still as the plan saw it.

    Returns:
        DONE with the freed bytes; CHANGED or GONE if nothing was done; FAILED with the reason.

    Raises:
        RemovalStopped: ``stop`` returned true; part of a directory may be removed by then.
    """

    def cut(parent: int, name: bytes, found: os.stat_result) -> Outcome:
        if not stat.S_ISDIR(found.st_mode):
            return _unlink(parent, name, removal, found)
        if removal.target is Target.SNAPSHOT and removal.path.startswith(_EROFS):
            try:
                _unprotect(parent, name, found)
            except OSError as error:
                reason = f"{shown(LAYER)} in it is immutable, and the flag cannot be cleared: {error.strerror}"
                return _failed(removal, error, reason)
        if removal.target is Target.SNAPSHOT and not name.startswith(_MARK):
            return _remove_renamed(parent, name, removal, (parent, _marked_names(name)), stop)
        if removal.target in _SET_ASIDE and not name.endswith(_REMOVING):
            aside = _open_aside(root_dir, found.st_dev)
            try:
                return _remove_renamed(parent, name, removal, (aside, _write_sets(found.st_ino)), stop)
            finally:
                os.close(aside)
        if removal.path.startswith(_CONTAINERS):
            aside = _open_tmp(root_dir)
            try:
                return _remove_renamed(parent, name, removal, (aside, _container_names(found.st_ino)), stop)
            finally:
                os.close(aside)
        return _outcome(removal, name, remove_tree(parent, name, (found.st_dev, found.st_ino), stop))

    return _checked(root_dir, removal, cut)


def move(root_dir: RootDir, removal: Removal, target: int, new_name: bytes) -> Outcome:
    """Move the data of ``removal``, if it is still as the plan saw it, into the open directory ``target``."""

    def cut(parent: int, name: bytes, _: os.stat_result) -> Outcome:
        knife.move(parent, name, target, new_name)
        if not _is_same(target, new_name, removal.expect):
            knife.move(target, new_name, parent, name)
            return Outcome(removal, Status.CHANGED, "it was swapped at the last moment")
        return Outcome(removal, Status.DONE)

    return _checked(root_dir, removal, cut)


def _checked(root_dir: RootDir, removal: Removal, cut: Callable[[int, bytes, os.stat_result], Outcome]) -> Outcome:
    """Call ``cut`` with the open folder, the name and its status, if the data is still as the plan saw it."""
    try:
        parent, name = _open_checked(root_dir, removal)
    except OSError as error:
        return _failed(removal, error)
    try:
        found = look(parent, name)
        if found is None:
            return Outcome(removal, Status.GONE)
        change = describe_change(removal.expect, fingerprint(found))
        if change is not None:
            return Outcome(removal, Status.CHANGED, change)
        return cut(parent, name, found)
    except OSError as error:
        return _failed(removal, error, describe_obstacle(parent, name, error))
    finally:
        os.close(parent)


def put_back(root_dir: RootDir, moved: Quarantined, source: int, name: bytes) -> Outcome:
    """Move ``name`` in the open directory ``source`` back to its place, if it is recognised and the place is free.

    Changed modes and owners are restored first.
    """
    removal = moved.removal
    try:
        parent, old_name = _open_checked(root_dir, removal)
    except OSError as error:
        return Outcome(removal, Status.FAILED, _describe_way(error))
    try:
        found = look(source, name)
        if found is None:
            return Outcome(removal, Status.FAILED, "it is not in quarantine")
        wrong, has_other = recognise(source, name, found, moved)
        if wrong is not None:
            return Outcome(removal, Status.FAILED, f"the quarantine has something else under its name: {wrong}")
        if has_other:
            mend(source, name, moved)
        knife.move(source, name, parent, old_name)
    except FileExistsError:
        return Outcome(removal, Status.FAILED, "something else is in its place")
    except OSError as error:
        return Outcome(removal, Status.FAILED, _describe_way(error))
    finally:
        os.close(parent)
    return Outcome(removal, Status.DONE)


def is_in_place(root_dir: RootDir, removal: Removal) -> bool:
    """Whether the same file or directory is still in the place that ``removal`` names."""
    found = _find(root_dir, removal)
    return found is not None and _fits(found, removal.expect)


def find_in_place(root_dir: RootDir, moved: Quarantined, *, mends: bool) -> Recognition | None:
    """Compare what is in the place of moved data with the journal; None if nothing is there.

    Args:
        root_dir: the root.
        moved: the data as the journal describes it.
        mends: whether changed modes and owners are restored, also those of a copy.
    """
    removal = moved.removal
    try:
        parent, name = _open_checked(root_dir, removal)
    except OSError:
        return None
    try:
        found = look(parent, name)
        if found is None:
            return None
        recognition = Recognition() if moved.is_same(found) else recognise(parent, name, found, moved)
        if mends and recognition.has_other and recognition.wrong is None:
            mend(parent, name, moved)
    except OSError as error:
        return Recognition(_describe_way(error))
    else:
        return recognition
    finally:
        os.close(parent)


def look_at(root_dir: RootDir, removal: Removal) -> tuple[int, bytes, os.stat_result]:
    """Open the directory with the data of ``removal``, which the caller closes; also the name in it, and its status.

    Raises:
        OSError: the data is not there, or not as the plan saw it.
    """
    parent, name = _open_checked(root_dir, removal)
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except BaseException:
        os.close(parent)
        raise
    if describe_change(removal.expect, fingerprint(found)) is not None:
        os.close(parent)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    return parent, name, found


def is_marked(root_dir: RootDir, removal: Removal) -> bool:
    """Whether the directory of ``removal`` was renamed for its removal, and is still there."""
    try:
        if removal.target is Target.SNAPSHOT:
            parent, name = _open_checked(root_dir, removal)
            renamed = _marked_names(name)
        elif removal.target in _SET_ASIDE:
            parent = open_directory(root_dir.fd, _ASIDE, cross_mounts=removal.expect.device != root_dir.device)
            renamed = _write_sets(removal.expect.inode)
        elif removal.path.startswith(_CONTAINERS):
            parent = _open_tmp(root_dir)
            renamed = _container_names(removal.expect.inode)
        else:
            return False
    except OSError:
        return False
    try:
        return any(_is_same(parent, each, removal.expect) for each in renamed)
    except OSError:
        return False
    finally:
        os.close(parent)


def is_taken(root_dir: RootDir, removal: Removal) -> bool:
    """Whether anything is in the place that ``removal`` names."""
    return _find(root_dir, removal) is not None


def _find(root_dir: RootDir, removal: Removal) -> os.stat_result | None:
    """Status of what is in the place that ``removal`` names; None also if it cannot be read."""
    try:
        parent, name = _open_checked(root_dir, removal)
    except OSError:
        return None
    try:
        return look(parent, name)
    except OSError:
        return None
    finally:
        os.close(parent)


def _open_checked(root_dir: RootDir, removal: Removal) -> tuple[int, bytes]:
    # Even a forged plan reaches only entries of these folders, never the folders themselves: a missing blobs/ or
    # snapshots/ stops the engine (containerd plugins/content/local/store.go Walk, plugins/snapshots/overlay/overlay.go
    # createSnapshot, v2.1), and Docker 29 takes the other image store where overlay2/ is empty (moby
    # daemon/image_store_choice.go, v29.1).
    if _PLACES[removal.target].fullmatch(removal.path) is None:
        raise OSError(errno.EINVAL, f"no {removal.target.value} has such a path")
    return root_dir.open_parent(removal.path, removal.expect.device)


def _is_same(parent: int, name: bytes, expect: Fingerprint) -> bool:
    found = look(parent, name)
    return found is not None and _fits(found, expect)


def _fits(found: os.stat_result, expect: Fingerprint) -> bool:
    # A rename changes the ctime, so only the fields that every file system keeps are compared.
    return (found.st_dev, found.st_ino, found.st_mode) == (expect.device, expect.inode, expect.mode)


def _unprotect(parent: int, name: bytes, found: os.stat_result) -> None:
    """Clear the flag that the erofs snapshotter's ``set_immutable`` sets on a layer, as its own Remove does.

    containerd sets the flag itself, and on this file only (plugins/snapshots/erofs/erofs.go Commit, Remove, v2.3.4). A
    link with this name leads to a layer in an operator's cache, whose flags are not containerd's.
    """
    directory = open_directory(parent, name, readable=True)
    try:
        here = os.fstat(directory)
        if (here.st_dev, here.st_ino) != (found.st_dev, found.st_ino):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        layer = look(directory, LAYER)
        if layer is None or not stat.S_ISREG(layer.st_mode):
            return
        descriptor = open_regular(LAYER, directory)
        try:
            clear_immutable(descriptor)
        finally:
            os.close(descriptor)
    finally:
        os.close(directory)


def _unlink(parent: int, name: bytes, removal: Removal, found: os.stat_result) -> Outcome:
    knife.unlink(name, dir_fd=parent)
    return Outcome(removal, Status.DONE, freed=found.st_blocks * 512 if found.st_nlink == 1 else 0)


def _remove_renamed(
    parent: int, name: bytes, removal: Removal, to: tuple[int, Iterator[bytes]], stop: Callable[[], bool]
) -> Outcome:
    """Rename a directory, then remove it; ``to`` is an open directory, and names in it of which the first is free."""
    expect, (folder, names) = removal.expect, to
    try:
        renamed = _rename(parent, name, folder, names)
    except OSError as error:
        if removal.target is not Target.SNAPSHOT or error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        # On a full disk there may be no block for the longer name. The row is deleted already, so a crash leaves only a
        # directory without a row. A crash would leave half of a record, so that waits for a block.
        return _outcome(removal, name, remove_tree(parent, name, (expect.device, expect.inode), stop))
    try:
        removed = remove_tree(folder, renamed, (expect.device, expect.inode), stop)
    except OSError as error:
        if error.errno == errno.ESTALE:
            knife.move(folder, renamed, parent, name)
            return Outcome(removal, Status.CHANGED, "it was swapped at the last moment")
        return _failed(removal, error, f"{error.strerror}; it is now called {shown(renamed)}")
    return _outcome(removal, renamed, removed)


def _rename(parent: int, name: bytes, folder: int, names: Iterator[bytes]) -> bytes:
    for renamed in names:
        try:
            knife.move(parent, name, folder, renamed)
        except FileExistsError:
            continue
        return renamed
    raise OSError(errno.EEXIST, f"{_NAMES} directories of that name wait to be removed already")


def _open_aside(root_dir: RootDir, device: int) -> int:
    """Open the folder for records that go, on the file system of the record; dockerd makes it with the first layer."""
    cross = device != root_dir.device
    with suppress(FileNotFoundError):
        return open_directory(root_dir.fd, _ASIDE, cross_mounts=cross)
    above, _, name = _ASIDE.rpartition(b"/")
    records = open_directory(root_dir.fd, above, cross_mounts=cross)
    try:
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=records)
        return open_directory(records, name)
    finally:
        os.close(records)


def _open_tmp(root_dir: RootDir) -> int:
    """Open dockerd's folder for temporary files, which it makes when it starts."""
    with suppress(FileExistsError):
        os.mkdir(_TMP, 0o700, dir_fd=root_dir.fd)
    return open_directory(root_dir.fd, _TMP)


def _container_names(inode: int) -> Iterator[bytes]:
    for number in range(_NAMES):
        yield b"drydock-container-%d" % inode + (b"-%d" % number if number else b"")


def _write_sets(inode: int) -> Iterator[bytes]:
    for number in range(_NAMES):
        yield b"write-set-%d" % inode + (b"-%d" % number if number else b"")


def _marked_names(name: bytes) -> Iterator[bytes]:
    for number in range(_NAMES):
        # 240: with prefix and number the name stays within 255 bytes.
        yield _MARK + name[:240] + (b"-%d" % number if number else b"")


def _outcome(removal: Removal, name: bytes, removed: Removed) -> Outcome:
    if not removed.left_count:
        return Outcome(removal, Status.DONE, freed=removed.freed, entries=removed.entries)
    where = shown(RawPath(removal.path.rpartition(b"/")[0] + b"/" + name))
    named = "; ".join(f"{left.path}: {left.reason}" for left in removed.left[:3])
    more = f"; and {removed.left_count - 3} more" if removed.left_count > 3 else ""
    detail = f"{removed.left_count} left in {where}: {named}{more}"
    return Outcome(removal, Status.FAILED, detail, removed.freed, removed.entries)


def _failed(removal: Removal, error: OSError, reason: str | None = None) -> Outcome:
    if error.errno == errno.ENOENT:
        return Outcome(removal, Status.GONE)
    if error.errno == errno.ESTALE:
        return Outcome(removal, Status.CHANGED, "it was swapped at the last moment")
    return Outcome(removal, Status.FAILED, reason or _describe_way(error))


def _describe_way(error: OSError) -> str:
    match error.errno:
        case errno.EXDEV:
            return "something is mounted on its path"
        case errno.ELOOP | errno.ENOTDIR:
            return "part of its path is a symbolic link, or not a directory"
    return error.strerror or type(error).__name__

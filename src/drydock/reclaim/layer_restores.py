"""Unpacking the files of a damaged layer again, and putting the former ones back.

The layer is unpacked whole into a new directory beside the snapshots, synced, and exchanged with the damaged one in one
call (renameat2, RENAME_EXCHANGE). Whenever a crash comes, the snapshot has the former files or the new ones. What is
left then is a directory that no row names and whose name begins with ``rm-``, which the overlay snapshotter removes
(containerd plugins/snapshots/overlay/overlay.go getCleanupDirectories, v2.1) and drydock too. Only the ``fs`` of a
committed snapshot is exchanged: what a container wrote is in a snapshot of its own.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from drydock.evidence.files.directory import fingerprint, look, open_folder, sync_folder
from drydock.evidence.files.openat2 import open_directory
from drydock.model.errors import ActionFailed
from drydock.model.names import LEFT_BY_RESTORE, RawPath
from drydock.model.plans import LayerRestore, Removal, RestoreOutcome, Status, Target
from drydock.model.text import shown
from drydock.reclaim import knife
from drydock.reclaim.journal import NO_NOTE, Note
from drydock.reclaim.quarantine import Quarantine
from drydock.reclaim.recognition import Quarantined, mend, open_aside, recognise
from drydock.reclaim.remove_tree import remove_tree
from drydock.reclaim.root_dir import RootDir, describe_change
from drydock.reclaim.syscalls import syncfs

FILES: Final = b"fs"
_PLACE: Final = re.compile(rb".+/snapshots/[1-9][0-9]*/fs", re.DOTALL)
Unpack = Callable[[LayerRestore, Callable[[], int], int], None]
"""Unpacks a layer: called with the layer, what makes an empty directory and opens it, and the open damaged directory.

It may make the empty directory again, which removes what was in it. It raises ActionFailed if the layer does not unpack
to the files of the snapshot, and OSError.
"""


class _Place(NamedTuple):
    """Where a restore works, as open directories."""

    snapshots: int
    snapshot: int
    staging: bytes
    """Name of the new directory beside the snapshots."""


def restore_layer(root_dir: RootDir, restore: LayerRestore, unpack: Unpack, apart: Quarantine | None) -> RestoreOutcome:
    """Carry out one restore, if the directory is still as the plan saw it.

    Args:
        root_dir: the open root.
        restore: the layer.
        unpack: unpacks it.
        apart: where the former directory is moved to; None: it is removed.
    """
    try:
        with _opened(root_dir, restore) as place:
            found = look(place.snapshot, FILES)
            if found is None:
                return RestoreOutcome(restore, Status.CHANGED, "its directory is not there any more")
            change = describe_change(restore.expect, fingerprint(found))
            if change is not None:
                return RestoreOutcome(restore, Status.CHANGED, change)
            if look(place.snapshots, place.staging) is not None:
                left = f"{shown(place.staging)} is beside the snapshots: left by a killed run since the plan"
                return RestoreOutcome(restore, Status.FAILED, left)
            os.mkdir(place.staging, 0o700, dir_fd=place.snapshots)
            try:
                _fill(place, restore, unpack)
            except (ActionFailed, OSError):
                with suppress(OSError):
                    remove_tree(place.snapshots, place.staging)
                raise
            return _take_place(place, restore, apart)
    except ActionFailed as error:
        return RestoreOutcome(restore, Status.FAILED, str(error))
    except OSError as error:
        return RestoreOutcome(restore, Status.FAILED, _reason(error))


def note_former(root_dir: RootDir, restore: LayerRestore, apart: Quarantine) -> Note:
    """What undo recognises the former directory by, synced; without a manifest if that cannot be written."""
    with suppress(OSError), _opened(root_dir, restore) as place:
        found = _status(place.snapshot, FILES)
        note = Note((found.st_uid, found.st_gid), None)
        with suppress(OSError):
            if apart.manifests is not None:
                member = apart.manifests.add(place.snapshot, FILES)
                apart.manifests.sync()
                return note._replace(manifest=member)
        return note
    return NO_NOTE


def put_back(root_dir: RootDir, restore: LayerRestore, moved: Quarantined, to: RawPath | None) -> RestoreOutcome:
    """Put the former directory of a restore back; GONE if it never left its place.

    Args:
        root_dir: the open root.
        restore: the layer, as the journal has it.
        moved: what the journal has about the former directory.
        to: absolute path in the quarantine that it was moved to; None: it was removed.
    """
    try:
        with _opened(root_dir, restore) as place:
            now = look(place.snapshot, FILES)
            if now is not None and moved.is_same(now):
                return RestoreOutcome(restore, Status.GONE, "it is in its place")
            if to is None:
                return RestoreOutcome(restore, Status.FAILED, "its former files were deleted: they cannot be put back")
            with suppress(OSError):
                staging = open_directory(place.snapshots, place.staging)
                try:
                    found = look(staging, FILES)
                    if found is not None and moved.is_same(found):
                        # The run was killed between the exchange and the move.
                        _exchange_back(place, staging, FILES)
                        remove_tree(place.snapshots, place.staging)
                        return RestoreOutcome(restore, Status.DONE)
                finally:
                    os.close(staging)
            folder = open_aside(to, restore.path)
            try:
                found = look(folder, FILES)
                if found is None:
                    return RestoreOutcome(restore, Status.FAILED, "it is not in quarantine")
                wrong, has_other = recognise(folder, FILES, found, moved)
                if wrong is not None:
                    detail = f"the quarantine has something else under its name: {wrong}"
                    return RestoreOutcome(restore, Status.FAILED, detail)
                if has_other:
                    mend(folder, FILES, moved)
                if now is None:
                    knife.move(folder, FILES, place.snapshot, FILES)
                else:
                    _exchange_back(place, folder, FILES)
                    # The new files come from the blob, which is still there.
                    remove_tree(folder, FILES)
            finally:
                os.close(folder)
    except OSError as error:
        return RestoreOutcome(restore, Status.FAILED, _reason(error))
    return RestoreOutcome(restore, Status.DONE)


def is_left(root_dir: RootDir, restore: LayerRestore) -> bool:
    """Whether a killed run left a directory beside the snapshots."""
    try:
        with _opened(root_dir, restore) as place:
            return look(place.snapshots, place.staging) is not None
    except OSError:
        return False


@contextmanager
def _opened(root_dir: RootDir, restore: LayerRestore) -> Iterator[_Place]:
    """The open folders of a restore. Even a forged plan or journal reaches only the files of a snapshot."""
    if _PLACE.fullmatch(restore.path) is None:
        raise OSError(errno.EINVAL, "no files of a snapshot have such a path")
    parent, _ = root_dir.open_parent(restore.path, restore.expect.device)
    try:
        above, number = root_dir.open_parent(RawPath(os.path.dirname(restore.path)), restore.expect.device)
        try:
            yield _Place(above, parent, LEFT_BY_RESTORE + number)
        finally:
            os.close(above)
    finally:
        os.close(parent)


def _fill(place: _Place, restore: LayerRestore, unpack: Unpack) -> None:
    """Unpack the layer into the new directory, and sync that."""
    staging = open_directory(place.snapshots, place.staging)
    made: list[int] = []

    def make() -> int:
        while made:
            os.close(made.pop())
            remove_tree(staging, FILES)
        os.mkdir(FILES, 0o755, dir_fd=staging)
        made.append(open_folder(FILES, staging))
        return made[0]

    try:
        former = open_folder(FILES, place.snapshot)
        try:
            unpack(restore, make, former)
        finally:
            os.close(former)
        syncfs(made[0])
    finally:
        for descriptor in (*made, staging):
            os.close(descriptor)


def _take_place(place: _Place, restore: LayerRestore, apart: Quarantine | None) -> RestoreOutcome:
    """Exchange both directories, and remove the former one or move it away."""
    staging = open_directory(place.snapshots, place.staging)
    try:
        knife.exchange(staging, FILES, FILES, place.snapshot)
        found = _status(staging, FILES)
        if (found.st_dev, found.st_ino) != (restore.expect.device, restore.expect.inode):
            knife.exchange(staging, FILES, FILES, place.snapshot)
            remove_tree(place.snapshots, place.staging)
            return RestoreOutcome(restore, Status.CHANGED, "it was swapped at the last moment")
        sync_folder(place.snapshot)
        sync_folder(staging)
        if apart is not None:
            folder = apart.open_folder(restore)
            try:
                knife.move(staging, FILES, folder, FILES)
                sync_folder(folder)
            finally:
                os.close(folder)
    except OSError as error:
        left = f"its former files may be in {shown(place.staging)}, beside the snapshots"
        return RestoreOutcome(restore, Status.FAILED, f"{_reason(error)}; {left}")
    finally:
        os.close(staging)
    removed = remove_tree(place.snapshots, place.staging)
    if removed.left_count:
        return RestoreOutcome(restore, Status.FAILED, f"{removed.left_count} left in {shown(place.staging)}")
    return RestoreOutcome(restore, Status.DONE)


def _exchange_back(place: _Place, folder: int, name: bytes) -> None:
    knife.exchange(folder, name, FILES, place.snapshot)
    sync_folder(place.snapshot)
    sync_folder(folder)


def as_removal(restore: LayerRestore) -> Removal:
    """The former directory as undo compares it."""
    return Removal(Target.SNAPSHOT, restore.root, restore.path, restore.expect, 0, restore.why)


def _status(parent: int, name: bytes) -> os.stat_result:
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return found


def _reason(error: OSError) -> str:
    if error.errno == errno.EINVAL and error.strerror == os.strerror(errno.EINVAL):
        return f"{error.strerror}: this file system cannot exchange two directories"
    return error.strerror or type(error).__name__

"""The quarantine: a directory that data is moved to instead of being deleted, so that it can be moved back.

Layout: ``DIR/<time>-<pid>/<path below the containerd root>``; what comes from a Docker data root lies below the
absolute path of that. The journal has both paths of each move.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from drydock.evidence.files.directory import look
from drydock.evidence.files.mountinfo import mount_id
from drydock.evidence.files.openat2 import open_directory
from drydock.model.errors import Refused
from drydock.model.names import RawPath
from drydock.model.plans import CutOutcome, LayerRestore, LogCut, Outcome, Removal, Status
from drydock.model.text import shown
from drydock.reclaim import knife, removals
from drydock.reclaim.journal import NO_NOTE, Note
from drydock.reclaim.log_cuts import cut_log
from drydock.reclaim.quarantine_manifest import ManifestWriter
from drydock.reclaim.recognition import Quarantined
from drydock.reclaim.root_dir import RootDir
from drydock.reclaim.state_dir import RUN_NAME

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Quarantine(NamedTuple):
    """The open directory of one run. Close it when done."""

    path: RawPath
    """Absolute."""
    fd: int
    root: RawPath
    """Absolute path of the containerd root."""
    manifests: ManifestWriter | None = None
    """Writes manifests of the moved directories."""

    def note(self, root_dir: RootDir, removals: Sequence[Removal]) -> list[Note]:
        """What an undo needs of each removal, on disk when this returns; without manifests that cannot be written."""
        notes = [self._note(root_dir, removal) for removal in removals]
        try:
            if self.manifests is not None:
                self.manifests.sync()
        except OSError:
            return [Note(note.owner, None) for note in notes]
        return notes

    def place(self, action: Removal | LogCut | LayerRestore) -> RawPath:
        """Where the data will be moved to; for the journal line that is written first."""
        return RawPath(os.path.join(self.path, *self._components(action)))

    def take(self, root_dir: RootDir, removal: Removal) -> Outcome:
        """Move the data of ``removal`` here, if it is still as the plan saw it."""
        components = self._components(removal)
        try:
            folder = self._open_folder(components[:-1])
        except OSError as error:
            return Outcome(removal, Status.FAILED, f"no folder in quarantine: {error.strerror}")
        try:
            return removals.move(root_dir, removal, folder, components[-1])
        finally:
            os.close(folder)

    def take_log(self, data_root: RootDir, cut: LogCut) -> CutOutcome:
        """Cut a log, if it is still as the plan saw it, and move its former file here."""
        try:
            folder = self._open_folder(self._components(cut)[:-1])
        except OSError as error:
            return CutOutcome(cut, Status.FAILED, f"no folder in quarantine: {error.strerror}")
        try:
            return cut_log(data_root, cut, folder)
        finally:
            os.close(folder)

    def open_folder(self, action: LayerRestore) -> int:
        """The open folder that the former directory of a layer is moved to.

        Raises:
            OSError: it cannot be made.
        """
        return self._open_folder(self._components(action)[:-1])

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    def _components(self, action: Removal | LogCut | LayerRestore) -> list[bytes]:
        root = action.data if isinstance(action, LogCut) else action.root
        above = b"" if root == self.root else root.lstrip(b"/") + b"/"
        return (above + action.path).split(b"/")

    def _note(self, root_dir: RootDir, removal: Removal) -> Note:
        try:
            parent, name, found = removals.look_at(root_dir, removal)
        except OSError:
            return NO_NOTE  # the removal will fail or find nothing
        try:
            member = None
            if self.manifests is not None and stat.S_ISDIR(found.st_mode):
                member = self.manifests.add(parent, name)
            return Note((found.st_uid, found.st_gid), member)
        finally:
            os.close(parent)

    def _open_folder(self, components: list[bytes]) -> int:
        current = os.dup(self.fd)
        for component in components:
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(component, 0o700, dir_fd=current)
                below = open_directory(current, component)
            finally:
                os.close(current)
            current = below
        return current


def open_quarantine(
    directory: RawPath,
    root_dir: RootDir,
    run: str,
    actions: Iterable[Removal | LogCut | LayerRestore] = (),
    manifests: ManifestWriter | None = None,
    *,
    is_data_root: bool = False,
) -> Quarantine:
    """Make the directory ``run`` in ``directory``, which must exist on the root's mount and outside of the root.

    Args:
        directory: the directory that the user chose.
        root_dir: the root.
        run: the name of the run.
        actions: the data to move; none may be on another file system, such as a snapshotter's own disk, because that
            move would fail after its records were dropped.
        manifests: writes manifests of the moved directories; the caller closes it.
        is_data_root: the root is a Docker data root without a containerd root. It may have the directory, as long as
            no engine owns that (:mod:`drydock.reclaim.engine_folders`).

    Raises:
        Refused: ``directory`` is not such a directory, or others may rename what is in it.
    """
    text = shown(directory)
    try:
        fd = os.open(directory, _DIRECTORY)
    except FileNotFoundError as error:
        raise Refused(f"quarantine {text} does not exist: make that folder first") from error
    except OSError as error:
        raise Refused(f"quarantine {text}: {error.strerror}") from error
    try:
        info = os.fstat(fd)
        if info.st_dev != root_dir.device or mount_id(fd) != mount_id(root_dir.fd):
            raise Refused(
                f"quarantine {text} is not on the file system of {shown(root_dir.path)}: nothing can be renamed into it"
            )
        elsewhere = next((each.path for each in actions if each.expect.device != info.st_dev), None)
        if elsewhere is not None:
            raise Refused(f"quarantine {text} is not on the file system of {shown(elsewhere)}: it cannot be renamed")
        if info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX:
            raise Refused(f"quarantine {text} can be written by others: chmod go-w it")
        if not is_data_root and _is_below(fd, root_dir):
            raise Refused(f"quarantine {text} lies in the store itself")
        os.mkdir(run, 0o700, dir_fd=fd)
        path = RawPath(os.path.join(os.path.abspath(directory), os.fsencode(run)))
        return Quarantine(path, open_directory(fd, os.fsencode(run)), root_dir.path, manifests)
    except OSError as error:
        raise Refused(f"quarantine {text}: {error.strerror}") from error
    finally:
        os.close(fd)


def put_back(root_dir: RootDir, moved: Quarantined, place: RawPath) -> Outcome:
    """Move the data at ``place``, the target of a move in a journal, back to where it was."""
    removal = moved.removal
    folder, _, name = removal.path.rpartition(b"/")
    run = place.removesuffix(b"/" + removal.path)
    if not place.startswith(b"/") or run == place or not folder or b".." in place.split(b"/"):
        return Outcome(removal, Status.FAILED, f"{shown(place)} is not a path in a quarantine")
    try:
        apart = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            source = open_directory(apart, folder)
        finally:
            os.close(apart)
    except FileNotFoundError:
        return Outcome(removal, Status.FAILED, "it is not in quarantine")
    except OSError as error:
        return Outcome(removal, Status.FAILED, f"quarantine {shown(os.path.dirname(place))}: {error.strerror}")
    try:
        return removals.put_back(root_dir, moved, source, name)
    finally:
        os.close(source)


def remove_emptied(run: RawPath, places: Iterable[RawPath]) -> None:
    """Remove the folders that a run made in a quarantine, its own the last; one that is not empty stays.

    Args:
        run: absolute path of the folder of the run, as its journal has it.
        places: where the journal says that things were moved to.
    """
    above, _, name = run.rpartition(b"/")
    if not run.startswith(b"/") or RUN_NAME.fullmatch(name) is None:
        return
    moved, folders = {place for place in places if b".." not in place.split(b"/")}, set[bytes]()
    for place in moved:
        folder: bytes = os.path.dirname(place)
        while folder.startswith(run + b"/") and folder not in folders:
            folders.add(folder)
            folder = os.path.dirname(folder)
    with contextlib.suppress(OSError):
        apart = os.open(above or b"/", os.O_PATH | _DIRECTORY)
        try:
            # A folder that was moved is not one that was made for it. What is below a folder comes after it by name.
            for folder in sorted(folders - moved, reverse=True):
                with contextlib.suppress(OSError):
                    path = name + folder[len(run) :]
                    parent = open_directory(apart, os.path.dirname(path))
                    try:
                        _remove_folder(parent, os.path.basename(path))
                    finally:
                        os.close(parent)
            _remove_folder(apart, name)
        finally:
            os.close(apart)


def _remove_folder(parent: int, name: bytes) -> None:
    if look(parent, name) is not None:
        knife.rmdir(name, dir_fd=parent)


def _is_below(fd: int, root_dir: RootDir) -> bool:
    current = os.dup(fd)
    try:
        previous: tuple[int, int] | None = None
        while True:
            info = os.fstat(current)
            identity = (info.st_dev, info.st_ino)
            if identity == (root_dir.device, root_dir.inode):
                return True
            if identity == previous:
                return False
            previous = identity
            above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=current)
            os.close(current)
            current = above
    finally:
        os.close(current)

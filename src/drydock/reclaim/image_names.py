"""Deleting names of images from a classic store's ``repositories.json``, and putting them back.

The file is written anew beside the old one and takes its place by a rename, as dockerd does it (moby
daemon/internal/refstore/store.go save, sys/atomicwriter, v28.5): a crash leaves the old file or the new one. The names
that go, with their images, are in the journal, and the former file is copied beside the journal.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from drydock.evidence.files.directory import names, open_folder
from drydock.evidence.files.regular import open_regular, read_regular
from drydock.evidence.files.xattrs import read_xattrs
from drydock.model.layer_store import REFERENCES
from drydock.model.names import Digest, RawPath
from drydock.model.plans import NameChange, NameDrop
from drydock.model.text import shown
from drydock.reclaim import knife
from drydock.reclaim.root_dir import RootDir

_NEW: Final = b".drydock-repositories.json"
"""The file that is written; a killed run may leave it, and the next one begins it anew."""
_NAME: Final = os.path.basename(REFERENCES)
_LIMIT: Final = 64 << 20
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Prepared(NamedTuple):
    """A change that can be made."""

    change: NameChange
    text: bytes
    """The new contents."""
    former: bytes
    mtime_ns: int


def prepare(data_root: RootDir, drops: Sequence[NameDrop]) -> Prepared:
    """Work out what the file becomes.

    Args:
        data_root: the open data root.
        drops: the names that go; all of this data root.

    Raises:
        OSError: the file cannot be read, or has not each name with its image any more.
    """
    with _opened(data_root) as parent:
        former = read_regular(_NAME, _LIMIT, parent)
        mtime = os.stat(_NAME, dir_fd=parent, follow_symlinks=False).st_mtime_ns
    document = _parse(former)
    repositories = document["Repositories"]
    for drop in drops:
        name, image = drop.name.decode("utf-8", "surrogatepass"), drop.image.decode()
        holder = next((each for each, names in repositories.items() if names.get(name) == image), None)
        if holder is None:
            raise OSError(errno.ESTALE, f"{shown(drop.name)} is not the name of {shown(drop.image)} any more")
        del repositories[holder][name]
        if not repositories[holder]:
            del repositories[holder]
    text = _text(document)
    names = tuple((drop.name, drop.image) for drop in drops)
    return Prepared(NameChange(data_root.path, names, _hash(former), _hash(text)), text, former, mtime)


def change_names(data_root: RootDir, prepared: Prepared) -> None:
    """Let the new file take the place of the old one.

    Raises:
        OSError: it cannot be written, or the old one changed since.
    """
    with _opened(data_root) as parent:
        if _hash(read_regular(_NAME, _LIMIT, parent)) != prepared.change.before:
            raise OSError(errno.ESTALE, "it changed since it was read")
        _replace(parent, prepared.text, None)


def put_back_names(data_root: RootDir, change: NameChange, copy: RawPath | None) -> str | None:
    """Take a change back; what was named meanwhile stays.

    Args:
        data_root: the open data root.
        change: the change.
        copy: path of the copy of the former file; None if it is gone.

    Returns:
        None if all of its names are back; else why some are not, in one shown line.

    Raises:
        OSError: the file cannot be read or written.
    """
    with _opened(data_root) as parent:
        now = read_regular(_NAME, _LIMIT, parent)
        with suppress(FileNotFoundError):
            knife.unlink(_NEW, dir_fd=parent)
        if _hash(now) == change.before:
            return None
        if _hash(now) == change.after and copy is not None:
            with suppress(OSError):
                former, status = read_regular(copy, _LIMIT), os.stat(copy)
                if _hash(former) == change.before:
                    _replace(parent, former, status.st_mtime_ns)
                    return None
        document = _parse(now)
        taken = _add(document["Repositories"], change.names)
        text = _text(document)
        if text != now:
            _replace(parent, text, None)
    return None if taken is None else f"{shown(taken)} names another image now"


def find_left(data_root: RootDir, change: NameChange) -> str | None:
    """What a killed run left of a change: the file that it wrote, or a name whose image is gone.

    Returns:
        One shown line; None if nothing is left, or the file cannot be read.
    """
    with suppress(OSError), _opened(data_root) as parent:
        if _NEW in names(parent):
            return f"{shown(REFERENCES)}: a file that changing it left is there"
        repositories = _parse(read_regular(_NAME, _LIMIT, parent))["Repositories"].values()
        there = {name: image for each in repositories for name, image in each.items()}
        for raw, image in change.names:
            is_named = there.get(raw.decode("utf-8", "surrogatepass")) == image.decode()
            if is_named and not os.path.lexists(os.path.join(data_root.path, config_path(image))):
                return f"{shown(REFERENCES)}: {shown(raw)}, which the run was about to delete, is there"
    return None


def config_path(image: Digest) -> RawPath:
    """The config of an image, relative to the data root."""
    return RawPath(b"image/overlay2/imagedb/content/sha256/" + image.partition(b":")[2])


def _add(repositories: dict[str, dict[str, str]], names: Sequence[tuple[bytes, Digest]]) -> bytes | None:
    """Put names back where they are free; one that is taken by another image, or None."""
    taken = None
    for raw, image in names:
        name = raw.decode("utf-8", "surrogatepass")
        repository = name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
        if repositories.setdefault(repository, {}).setdefault(name, image.decode()) != image.decode():
            taken = raw
    return taken


@contextmanager
def _opened(data_root: RootDir) -> Iterator[int]:
    """The open folder of the file, readable so that it can be synced."""
    found = os.stat(REFERENCES, dir_fd=data_root.fd, follow_symlinks=False)
    parent, _ = data_root.open_parent(REFERENCES, found.st_dev)
    try:
        opened = open_folder(b".", parent)
    finally:
        os.close(parent)
    try:
        yield opened
    finally:
        os.close(opened)


def _replace(parent: int, text: bytes, mtime: int | None) -> None:
    """Write a new file with the owner, mode and attributes of the old one, and rename it over that; sync both."""
    with suppress(FileNotFoundError):
        knife.unlink(_NEW, dir_fd=parent)
    old = open_regular(_NAME, parent)
    try:
        found = os.fstat(old)
    finally:
        os.close(old)
    attributes = read_xattrs(_NAME, parent)
    target = os.open(_NEW, _WRITE, 0o600, dir_fd=parent)
    try:
        try:
            rest = text
            while rest:
                rest = rest[os.write(target, rest) :]
            os.fchown(target, found.st_uid, found.st_gid)
            os.fchmod(target, stat.S_IMODE(found.st_mode))
            for key, value in attributes.items():
                os.setxattr(target, key, value)  # noqa: TID251 - the file is drydock's own until it takes the place
            if mtime is not None:
                os.utime(target, ns=(mtime, mtime))
            os.fsync(target)
        finally:
            os.close(target)
        knife.replace(parent, _NEW, _NAME)
    except OSError:
        with suppress(OSError):
            knife.unlink(_NEW, dir_fd=parent)
        raise
    os.fsync(parent)


def _parse(text: bytes) -> dict[str, Any]:
    """The file as JSON.

    Raises:
        OSError: it is not what dockerd writes.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    repositories = found.get("Repositories") if isinstance(found, dict) else None
    if isinstance(repositories, dict) and all(isinstance(each, dict) for each in repositories.values()):
        return {**found, "Repositories": repositories}
    raise OSError(errno.EINVAL, "it is not the JSON that dockerd writes")


def _text(document: Mapping[str, Any]) -> bytes:
    """As Go's encoding/json writes it: sorted names, no blanks."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()

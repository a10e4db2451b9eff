"""EROFS images: any bytes give entries or one-line errors, and never more entries than there is room for."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from drydock.evidence.files.erofs import ErofsImage, Inode, Unusable

_READ = 1 << 16
_SEGMENTS = 4096


def seeds() -> Iterator[bytes]:
    """The images in the corpus, which mkfs.erofs made, with numbers of their first inodes at their limits."""
    for path in sorted((Path(__file__).parent / "corpus/erofs").iterdir()):
        data = path.read_bytes()
        for at in (1024 + 12, 1024 + 14, 1024 + 40, 1024 + 80, 1152, 1154, 1160, 1168, 1184):
            yield data[:at] + b"\xff" + data[at + 1 :]


def one(data: bytes) -> None:
    """Read all that an image has."""
    descriptor = os.memfd_create("image")
    said = ""
    try:
        os.write(descriptor, data)
        _walk(ErofsImage(descriptor), len(data))
        for found in ErofsImage(descriptor).damage(lambda: False):
            assert found is None or found[1].isprintable()
    except Unusable as error:
        said = str(error)
    except OSError as error:
        said = _damage(error)
    finally:
        os.close(descriptor)
    assert said.isprintable()


def mutation(data: bytes, most: int, _seed: int, any_mutation: Callable[[bytes, int], bytes]) -> bytes:
    """As libFuzzer would: there is no sum that must be right."""
    return any_mutation(data, most)


def _walk(image: ErofsImage, size: int) -> None:
    pending = [image.inode(image.root)]
    count = 0
    while pending:
        directory = pending.pop()
        for name, number in _listed(image, directory):
            count += 1
            # A name takes 13 bytes at least, and no directory has two.
            assert count * 13 <= size
            assert name not in (b"", b".", b"..")
            assert not {0, ord("/")} & {*name}
            try:
                inode = image.find(directory, name, number)
                _read(image, inode)
            except OSError as error:
                _damage(error)
                continue
            if stat.S_ISDIR(inode.mode):
                pending.append(inode)


def _listed(image: ErofsImage, directory: Inode) -> list[tuple[bytes, int]]:
    try:
        return list(image.names(directory))
    except OSError as error:
        _damage(error)
        return []


def _damage(error: OSError) -> str:
    """What is said of damage; any other error is the reader's fault."""
    if error.errno != errno.EUCLEAN:
        raise error
    return error.strerror


def _read(image: ErofsImage, inode: Inode) -> None:
    info = image.stat(inode)
    assert stat.S_IFMT(info.st_mode)
    for name, value in image.xattrs(inode).items():
        assert name.startswith((b"user.", b"system.posix_acl_", b"trusted.", b"security."))
        assert len(value) < 1 << 16
    if stat.S_ISLNK(inode.mode):
        assert 0 < len(image.target(inode)) < 4096
    if not stat.S_ISREG(inode.mode):
        return
    end = 0
    for number, (start, length) in enumerate(image.segments(inode)):
        assert end <= start <= start + length <= inode.size
        end = start + length
        assert len(image.read(inode, min(length, _READ), start)) == min(length, _READ)
        if number == _SEGMENTS:
            break

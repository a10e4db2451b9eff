"""A process whose mounts no other process gets to see, and files of its own in memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_SIZE = 7 << 30
"""Bytes of a disk in memory. It takes what is in its files."""
_NEEDED = 20 << 30
"""Bytes of memory that are to be available for the disks of three workers."""
_MEMORY = Path("/dev/shm")


def keep_mounts_apart() -> None:
    """Give this process a mount namespace of its own, where it is allowed to (os.unshare is of Python 3.12).

    A new namespace, an engine's for example, begins with a copy of all mounts there are. One test's disk would stay
    mounted in what another test started meanwhile, and its store be in use for as long.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # Who may not do this may not mount either.
    with contextlib.suppress(OSError):
        _checked(libc.unshare(_CLONE_NEWNS))
        _checked(libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))


def keep_files_in_memory(folder: Path) -> bool:
    """Mount an ext4 with a journal on an empty folder, its blocks in memory; it goes with this process's namespace.

    An ext4 without a journal looks at each inode that was deleted within the last minutes before it takes another
    (fs/ext4/ialloc.c recently_deleted, Linux 6.18): after many removals a new file takes it up to a millisecond.

    Returns:
        Whether it is there: not without the rights, the tools, or the memory.
    """
    if not shutil.which("mkfs.ext4") or _available() < _NEEDED:
        return False
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=_MEMORY) as image:
        os.truncate(image.name, _SIZE)
        for command in (["mkfs.ext4", "-q", "-F"], ["mount", "-o", "loop,noinit_itable,discard"]):
            words = [*command, image.name, *([folder] if command[0] == "mount" else [])]
            if subprocess.run(words, capture_output=True, check=False).returncode:
                return False
        return True
    return False


def _available() -> int:
    """Bytes that a file in memory may have without taking any from others (proc_meminfo(5))."""
    place = os.statvfs(_MEMORY)  # a container often has 64 MiB there
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, value, *_ = line.split()
        if name == "MemAvailable:":
            return min(int(value) << 10, place.f_bavail * place.f_frsize)
    return 0


def _checked(status: int) -> None:
    if status != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))

"""A process whose mounts no other process gets to see."""

from __future__ import annotations

import contextlib
import ctypes
import os

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000


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


def _checked(status: int) -> None:
    if status != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))

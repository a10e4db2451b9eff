"""What malloc does with memory that was freed."""

from __future__ import annotations

import ctypes

_TABLE = 1 << 20
_M_MMAP_THRESHOLD = -3  # glibc malloc.h


def give_back_tables() -> None:
    """Have malloc give the tables of a large store back to the system when they are freed.

    glibc keeps what is as large as something that was freed before (mallopt(3), M_MMAP_THRESHOLD): a tenth of a scan's
    memory. Other C libraries have no such call.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _TABLE)

"""Where the command begins, also as ``python -m drydock``."""

from __future__ import annotations

import gc
import sys

from drydock import __version__

_VALUES = 100_000
_TABLE = 1 << 20
_M_MMAP_THRESHOLD = -3  # glibc malloc.h


def main() -> None:
    """Run ``drydock`` with the words of the command line."""
    if sys.argv[1:] == ["--version"]:
        # Importing click alone takes three times as long as an interpreter's start.
        sys.stdout.write(f"drydock {__version__}\n")
        return
    # A run makes millions of values that form no rings: looking for rings takes a fifth of it.
    gc.set_threshold(_VALUES)
    _give_back_tables()
    from drydock.cli import main as run  # noqa: PLC0415 - see above

    run()


def _give_back_tables() -> None:
    """Have malloc give the tables of a large store back to the system when they are freed.

    glibc keeps what is as large as something that was freed before (mallopt(3), M_MMAP_THRESHOLD): a tenth of a scan's
    memory. Other C libraries have no such call.
    """
    import ctypes  # noqa: PLC0415 - drydock --version does without

    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _TABLE)


if __name__ == "__main__":
    main()

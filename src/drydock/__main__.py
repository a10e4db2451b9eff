"""The entry point of the command, also of ``python -m drydock``."""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

from drydock.streams import open_streams, settle
from drydock.version import __version__

_VALUES = 100_000
_INTERRUPTED = 130


def main() -> NoReturn:
    """Run ``drydock`` with the words of the command line, and end with its exit status."""
    open_streams()
    if sys.argv[1:] == ["--version"]:
        # Importing click alone takes three times as long as an interpreter's start.
        sys.stdout.write(f"drydock {__version__}\n")
        sys.exit(settle(0))
    from drydock.interrupts import Interrupts  # noqa: PLC0415 - see above

    interrupts = Interrupts()
    interrupts.install()
    status: object = 0
    try:
        _run()
    except SystemExit as end:
        status = end.code
    except KeyboardInterrupt:  # before a command was chosen
        status = _INTERRUPTED
    interrupts.settle()
    code = settle(status if isinstance(status, int) else 0)
    interrupts.ignore()
    sys.exit(code)


def _run() -> None:
    # A run makes millions of values without reference cycles; searching for cycles would take a fifth of its time.
    gc.set_threshold(_VALUES)
    from drydock.cli import main as run  # noqa: PLC0415 - see above

    try:
        run()
    finally:
        # The interpreter would search once more at its end, when the system frees all memory anyway.
        gc.freeze()


if __name__ == "__main__":
    main()

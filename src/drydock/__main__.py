"""Where the command begins, also as ``python -m drydock``."""

from __future__ import annotations

import sys

from drydock import __version__


def main() -> None:
    """Run ``drydock`` with the words of the command line."""
    if sys.argv[1:] == ["--version"]:
        # Importing click alone takes three times as long as an interpreter's start.
        sys.stdout.write(f"drydock {__version__}\n")
        return
    from drydock.cli import main as run  # noqa: PLC0415 - see above

    run()


if __name__ == "__main__":
    main()

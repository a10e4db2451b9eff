"""Which drydock tests run: this environment's, or the one file that ``DRYDOCK_TEST_PROGRAM`` names."""

from __future__ import annotations

import os
import sys

PROGRAM = os.environ.get("DRYDOCK_TEST_PROGRAM")
"""The path of an executable, or None."""
ARCH = os.environ.get("DRYDOCK_TEST_ARCH", os.uname().machine)
"""What the one file is for; that of another architecture than this machine's runs under qemu-user."""
EMULATOR = None if os.uname().machine == ARCH else f"qemu-{ARCH}-static"
"""The command that runs programs of the tested architecture here; None where they run by themselves."""
_PROGRAM = filter(None, (EMULATOR, PROGRAM))
DRYDOCK = [*_PROGRAM] if PROGRAM else [sys.executable, "-m", "drydock"]
"""What to put in front of the words of a command line."""

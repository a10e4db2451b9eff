"""Which drydock tests run: this environment's, or the one file that ``DRYDOCK_TEST_PROGRAM`` names."""

from __future__ import annotations

import os
import sys

PROGRAM = os.environ.get("DRYDOCK_TEST_PROGRAM")
"""The path of an executable, or None."""
DRYDOCK = [PROGRAM] if PROGRAM else [sys.executable, "-m", "drydock"]
"""What to put in front of the words of a command line."""

"""What a test needs from the machine, and says when it is not there."""

import os

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, device nodes, file flags")

NOBODY = 65534
"""The user that Debian calls so, who owns nothing."""

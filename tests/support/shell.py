"""What a shell makes of a command line."""

from __future__ import annotations

import subprocess


def words(line: str) -> list[bytes]:
    """The words that bash hands to the ``drydock`` of a line, which must be all that it does."""
    script = f"drydock() {{ printf '%s\\0' \"$@\"; }}\n{line}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.split(b"\0")[:-1]

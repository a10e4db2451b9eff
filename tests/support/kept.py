"""Mount namespaces that only a file keeps."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def keep(file: Path, *command: str | Path) -> None:
    """Run a command in a new mount namespace, which ``file`` keeps after it.

    Linux 6.18 mounts only namespaces with a higher number than its own, and gives each processor numbers of its own: on
    one of them it is higher.
    """
    failed: subprocess.CalledProcessError | None = None
    for processor in sorted(os.sched_getaffinity(0)):
        words = ["taskset", "-c", str(processor), "unshare", f"--mount={file}", "--propagation", "private", *command]
        try:
            subprocess.run(words, check=True)
        except subprocess.CalledProcessError as error:
            failed = error
        else:
            return
    assert failed is not None
    raise failed

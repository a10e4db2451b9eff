"""drydock as one file for hosts with a Python and no pip: shiv's archive of all packages, for one Python version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from drydock.version import __version__
from release.build_root import BuildFailed
from release.sources import PACKAGES

TOP = Path(__file__).parents[1]
_TAG = "import sys; print(sys.implementation.cache_tag.replace('cpython-', 'cp'))"
_NOT_PACKED = shutil.ignore_patterns("bin", "direct_url.json", "RECORD", "__pycache__")


def pyz(python: Path, out: Path, time: int) -> Path:
    """Make it in ``out``; its name has the Python version and the architecture, and both must be the host's.

    pip takes the packages from its index: versions are those of the one file, checksums are not compared.

    Args:
        python: the interpreter that it is made for; it needs no pip.
        out: a folder.
        time: of all in it, seconds since 1970.

    Raises:
        BuildFailed: a package cannot be had for this Python, or does not build.
    """
    tag = _run([python, "-I", "-c", _TAG]).strip()
    made = out / f"drydock-{__version__}-{tag}-linux-{os.uname().machine}.pyz"
    with tempfile.TemporaryDirectory(prefix="drydock-pyz-") as name:
        site, pins = Path(name, "site"), Path(name, "pins.txt")
        pins.write_text("".join(f"{source.name}=={source.version}\n" for source in PACKAGES))
        _run(
            [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check",
             "--no-compile", "--constraint", pins, "--target", site, f"{TOP}[zstd]"]
        )  # fmt: skip
        # Scripts start the interpreter of this machine, and direct_url.json and RECORD name its folders.
        packed = shutil.copytree(site, Path(name, "packed"), ignore=_NOT_PACKED)
        version = f"3.{tag.removeprefix('cp3')}"
        _run(
            [sys.executable, "-m", "shiv", "--site-packages", packed, "--entry-point", "drydock.__main__:main",
             "--python", f"/usr/bin/env python{version}", "--reproducible", "--compressed", "--output-file", made],
            SOURCE_DATE_EPOCH=str(time),
        )  # fmt: skip
    made.chmod(0o755)
    return made


def _run(command: Sequence[str | Path], **more: str) -> str:
    done = subprocess.run(
        list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={**os.environ, **more},
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise BuildFailed(f"{' '.join(map(str, command))}: {' '.join(last)}")
    return done.stdout

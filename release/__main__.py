"""``python -m release``, as root: makes in ``dist`` the one file of each architecture that is named."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.engines.unavailable import EngineUnavailable

from drydock.version import __version__
from release.build_root import BuildFailed
from release.image import image_archive
from release.onefile import TOP, archive, executable
from release.sbom import bill_of_materials

_UNAVAILABLE = 3
"""Exit status where a mirror, root's rights or a tool is missing."""


def main() -> None:
    """Build, and write the checksums of all that is in the folder."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("--arch", action="append", choices=("x86_64", "aarch64"), help="by default this machine's")
    parser.add_argument("--out", type=Path, default=TOP / "dist", help="by default %(default)s")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    time = _commit_time()
    for arch in arguments.arch or [os.uname().machine]:
        name = f"drydock-{__version__}-linux-{arch}"
        program = executable(arch)
        (out / name).write_bytes(program)
        (out / name).chmod(0o755)
        (out / f"{name}.tar.gz").write_bytes(archive(arch, program, name, time))
        (out / f"{name}.oci.tar").write_bytes(image_archive(arch, program, time))
        (out / f"{name}.cdx.json").write_text(bill_of_materials(arch, name, program, time))
        print(f"{out / name}: {len(program):,} bytes")
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(out.glob(f"drydock-{__version__}-*"))
    ]
    (out / "SHA256SUMS").write_text("".join(sums))


def _commit_time() -> int:
    """SOURCE_DATE_EPOCH, or when the commit was made."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    shown = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=TOP, capture_output=True, check=True).stdout
    return int(shown)


try:
    main()
except BuildFailed as error:
    sys.exit(f"release: {error}")
except EngineUnavailable as error:
    print(f"release: {error}", file=sys.stderr)
    sys.exit(_UNAVAILABLE)

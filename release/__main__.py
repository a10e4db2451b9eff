"""``python -m release [WHAT ...]``, as root: makes in ``dist`` what is released, for each architecture that is named.

WHAT: ``file`` (the one file, the same as a folder, and the list of what is inside), ``deb`` (a Debian package),
``image`` (a container image as an OCI archive; of several architectures one more, of all), ``pyz`` (for a Python on the
host, not in the default, because it asks PyPI). SHA256SUMS has the checksums of all that is in the folder.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.engines.unavailable import EngineUnavailable

from drydock.version import __version__
from release import debian
from release.build_root import BuildFailed
from release.folder import folder_archive
from release.image import image_archive
from release.onefile import TOP, executable
from release.pyz import pyz
from release.sbom import bill_of_materials

_UNAVAILABLE = 3
"""Exit status where a mirror, root's rights or a tool is missing."""
_DEFAULT = ("file", "deb", "image")


def main() -> None:
    """Build, and write the checksums of all that is in the folder."""
    parser = argparse.ArgumentParser(
        prog="python -m release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"by default {', '.join(_DEFAULT)}")
    parser.add_argument("--arch", action="append", choices=("x86_64", "aarch64"), help="by default this machine's")
    parser.add_argument("--out", type=Path, default=TOP / "dist", help="by default %(default)s")
    parser.add_argument("--use", type=Path, metavar="DIR", help="take the one file from DIR instead of building it")
    parser.add_argument(
        "--python", type=Path, action="append", help="the interpreter that a pyz is for; by default this one"
    )
    arguments = parser.parse_args()
    wanted = set(arguments.what or _DEFAULT)
    if unknown := wanted - {*_DEFAULT, "pyz"}:
        parser.error(f"nothing to build is called {', '.join(sorted(unknown))}")
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    time = _commit_time()
    if "pyz" in wanted:
        for python in arguments.python or [Path(sys.executable)]:
            print(pyz(python, out, time))
    programs: dict[str, bytes] = {}
    for arch in (arguments.arch or [os.uname().machine]) if wanted - {"pyz"} else ():
        name = f"drydock-{__version__}-linux-{arch}"
        programs[arch] = program = (arguments.use / name).read_bytes() if arguments.use else executable(arch)
        if "file" in wanted:
            (out / name).write_bytes(program)
            (out / name).chmod(0o755)
            (out / f"{name}.tar.gz").write_bytes(folder_archive(arch, program, name, time))
            (out / f"{name}.cdx.json").write_text(bill_of_materials(arch, name, program, time))
            print(f"{out / name}: {len(program):,} bytes")
        if "deb" in wanted:
            (out / debian.package_name(arch)).write_bytes(debian.package(arch, program, time))
        if "image" in wanted:
            (out / f"{name}.oci.tar").write_bytes(image_archive({arch: program}, time))
    if "image" in wanted and len(programs) > 1:
        (out / f"drydock-{__version__}-linux.oci.tar").write_bytes(image_archive(programs, time))
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(out.glob(f"drydock[-_]{__version__}[-_]*"))
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

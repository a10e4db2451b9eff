"""erofs-utils of Debian 13: Debian 12's are older than what containerd's erofs snapshotter asks for (1.7)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.engines.cache import kept
from tests.engines.suite import MIRROR, signed
from tests.engines.unavailable import EngineUnavailable

_SUITE = "trixie"
# The programs bring their own C library, apart: laid over a root file system, nothing else may come to use it.
_WRAPPER = """\
#!/bin/sh
here=$(dirname "$0")/../../../opt/erofs-utils
libraries=$(echo "$here"/usr/lib/*-linux-gnu)
exec "$libraries"/ld-linux-*.so.? --library-path "$libraries" "$here/usr/bin/$(basename "$0")" "$@"
"""


def erofs_utils() -> Path:
    """A folder with ``mkfs.erofs``, ``fsck.erofs`` and ``dump.erofs`` in ``usr/local/bin``, fetched once (9 MB).

    Raises:
        EngineUnavailable: no apt here, or the mirror cannot be reached.
    """
    return kept("erofs-utils", _fetch)


def _fetch(made: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise EngineUnavailable("no apt-get and dpkg-deb to fetch erofs-utils with")
    apt = made / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "sources").write_text(f"deb [{signed()}] {MIRROR} {_SUITE} main\n")
    # As if nothing were installed: then all that the programs need comes along, and from the same suite.
    (apt / "status").touch()
    options = {
        "Dir::Etc::SourceList": apt / "sources",
        "Dir::Etc::SourceParts": "-",
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": "root",
    }
    chosen = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    for command in (["update"], ["--yes", "--no-install-recommends", "--download-only", "install", "erofs-utils"]):
        done = subprocess.run(
            ["apt-get", "-qq", *chosen, *command], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode != 0:
            said = " ".join(done.stderr.decode(errors="replace").split())
            raise EngineUnavailable(f"erofs-utils of {_SUITE}: apt-get {command[0]} failed: {said}")
    unpacked = made / "opt/erofs-utils"
    unpacked.mkdir(parents=True)
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
    programs = made / "usr/local/bin"
    programs.mkdir(parents=True)
    for name in ("mkfs.erofs", "fsck.erofs", "dump.erofs"):
        (programs / name).write_text(_WRAPPER)
        (programs / name).chmod(0o755)
    shutil.rmtree(apt)

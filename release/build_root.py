"""Where the one file is built: a Debian root with a compiler and static libraries, the same on each host."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.engines.cache import kept
from tests.engines.suite import MIRROR, debootstrap
from tests.engines.unavailable import EngineUnavailable

SUITE = "trixie"
_SECURITY = f"{MIRROR}-security {SUITE}-security"
"""Where Debian publishes what is too urgent for the suite itself."""
STATIC = {
    "libc6-dev": ("glibc", "LGPL-2.1-or-later"),
    "libffi-dev": ("libffi", "MIT"),
    "libgcc-14-dev": ("gcc-14", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libsqlite3-dev": ("sqlite3", "blessing"),
    "libssl-dev": ("openssl", "Apache-2.0"),
    "libzstd-dev": ("libzstd", "BSD-3-Clause OR GPL-2.0-only"),
    "zlib1g-dev": ("zlib", "Zlib"),
}
"""The Debian packages whose static libraries are linked in: what it is, and its licence as an SPDX expression."""
LIBRARIES = ("libc6-dev", "libffi-dev", "libsqlite3-dev", "libssl-dev", "libzstd-dev", "zlib1g-dev")
_TOOLS = ("ca-certificates", "gcc", "make", "patch", "pkgconf", "xz-utils")
_CROSS = {"aarch64": ("gcc-aarch64-linux-gnu", "arm64"), "x86_64": ("gcc-x86-64-linux-gnu", "amd64")}
"""By machine, what Debian calls its compiler and its architecture."""

# $1: the root, then pairs of what to show and where below it; after "--" the command. All mounts go with the namespace.
_INSIDE = r"""
set -e
root=$1; shift
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/build"
while [ "$1" != -- ]; do
    mkdir -p "$root/build/$2"
    mount --bind "$1" "$root/build/$2"
    shift 2
done
shift
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TZ=UTC HOME=/ \
    DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=0 "$@"
"""


class BuildFailed(Exception):
    """A step of the build failed; the message says which, and where its output is."""


def build_root(arch: str) -> Path:
    """A root that builds for ``arch``, made if it is not there yet (three minutes, 700 MB, needs a Debian mirror).

    Raises:
        EngineUnavailable: not root, no debootstrap, or the mirror cannot be reached.
    """
    here = os.uname().machine
    if os.geteuid() != 0:
        raise EngineUnavailable("building the one file needs root")
    key = hashlib.sha256(repr((SUITE, _SECURITY, _TOOLS, LIBRARIES, arch, here)).encode()).hexdigest()[:16]

    def make(made: Path) -> None:
        debootstrap(SUITE, (*_TOOLS, *LIBRARIES), made)
        (made / "build").mkdir()
        with (made / "etc/apt/sources.list").open("a") as sources:
            sources.write(f"deb {_SECURITY} main\n")
        script = "apt-get update -qq && apt-get upgrade -yqq"
        if arch != here:
            compiler, debian = _CROSS[arch]
            libraries = " ".join(f"{name}:{debian}" for name in LIBRARIES)
            script = (
                f"dpkg --add-architecture {debian} && {script} && "
                f"apt-get install -yqq --no-install-recommends {compiler} {libraries}"
            )
        run_inside(made, {}, ["sh", "-c", script], made.with_name(f"{made.name}.log"))

    return kept(f"release/root-{arch}-{key}", make)


def run_inside(root: Path, shown: Mapping[str, Path], command: Sequence[str], log: Path) -> None:
    """Run a command in ``root``, as nice as a build should be.

    Args:
        root: from :func:`build_root`.
        shown: folders, by their names below /build there.
        command: what to run.
        log: gets what it prints.

    Raises:
        BuildFailed: it failed.
    """
    if (unshare := shutil.which("unshare")) is None:
        raise EngineUnavailable("unshare (util-linux) is not installed")
    pairs = [word for name, path in shown.items() for word in (str(path), name)]
    with log.open("ab") as output:
        done = subprocess.run(
            [unshare, "--mount", "--pid", "--fork", "--kill-child", "nice", "-n", "5", "sh", "-c", _INSIDE, "build",
             str(root), *pairs, "--", *command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, cwd="/",
        )  # fmt: skip
    if done.returncode != 0:
        last = " ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
        raise BuildFailed(f"{command[-1] if command[0] != 'sh' else command[1]} failed: {last} (see {log})")


def installed(root: Path, names: Sequence[str]) -> dict[str, str]:
    """The versions of Debian packages in ``root``."""
    versions: dict[str, str] = {}
    name = ""
    for line in (root / "var/lib/dpkg/status").read_text().splitlines():
        key, _, value = line.partition(": ")
        if key == "Package":
            name = value
        elif key == "Version" and name in names:
            versions[name] = value
    return versions

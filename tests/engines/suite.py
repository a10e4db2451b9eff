"""Debian suites with a Docker engine in them, made by debootstrap once and kept."""

from __future__ import annotations

import enum
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.engines.cache import kept
from tests.engines.unavailable import EngineUnavailable

_PACKAGES = (
    "containerd", "docker.io", "docker-cli", "docker-buildx", "iptables", "ca-certificates", "busybox-static",
)  # fmt: skip
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "http://deb.debian.org/debian"
_SCRIPTS = Path("/usr/share/debootstrap/scripts")


class Suite(enum.Enum):
    """A Debian suite; the value is its name."""

    TRIXIE = "trixie"
    """Docker 26.1, containerd 1.7: leases of 24 h."""
    FORKY = "forky"
    """Docker 28.5, containerd 2.1: leases of 8 h."""


def rootfs(suite: Suite) -> Path:
    """The root file system of a suite, made if it is not there yet (about a minute, 500 MB, needs a Debian mirror).

    It lies below ``$DRYDOCK_ENGINES``, by default /var/cache/drydock-engines.

    Raises:
        EngineUnavailable: not root, no debootstrap, or the mirror cannot be reached.
    """
    if os.geteuid() != 0:
        raise EngineUnavailable("running an engine needs root")
    return kept(suite.value, lambda made: debootstrap(suite.value, _PACKAGES, made))


def debootstrap(suite: str, packages: Sequence[str], made: Path) -> None:
    """Make a root file system with a suite's base and ``packages``; what debootstrap prints goes beside it.

    Raises:
        EngineUnavailable: no debootstrap, or the mirror cannot be reached.
    """
    if shutil.which("debootstrap") is None:
        raise EngineUnavailable("debootstrap is not installed")
    # An older debootstrap has no script for a newer suite; sid's is the one they all share.
    script = _SCRIPTS / (suite if (_SCRIPTS / suite).exists() else "sid")
    log = made.with_name(f"{suite}.log")
    with log.open("wb") as output:
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", *_keyring(), suite, str(made),
             MIRROR, str(script)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, cwd="/",
        )  # fmt: skip
    if done.returncode != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise EngineUnavailable(f"debootstrap {suite} failed: {' '.join(last)} (see {log})")


def signed() -> str:
    """The option of a line of sources.list for a suite that may be newer than this machine's keys."""
    return f"signed-by={_KEYRING}" if _keys_are_new_enough() else "trusted=yes"


def _keyring() -> list[str]:
    return [f"--keyring={_KEYRING}"] if _keys_are_new_enough() else ["--no-check-gpg"]


def _keys_are_new_enough() -> bool:
    """Signatures are checked where this machine's keyring has keys new enough for every suite (trixie's and later)."""
    return _KEYRING.exists() and Path("/usr/share/keyrings/debian-archive-trixie-automatic.gpg").exists()

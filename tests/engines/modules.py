"""The newest engines, and linters, built from their Go modules once and kept: one module a folder of ``modules``.

Each folder's ``go.mod`` names what is built (its ``tool`` lines) and fixes every version; a module of its own for each
group of binaries, since their dependencies do not agree. Go comes from :mod:`tests.engines.go`.

The programs that ask bbolt are a module as well, with sources of their own.
"""

from __future__ import annotations

import enum
import hashlib
import re
import subprocess
from pathlib import Path

from tests.engines import go
from tests.engines.cache import folder, kept
from tests.engines.unavailable import EngineUnavailable

_MODULES = Path(__file__).with_name("modules")
_BBOLT = Path(__file__).parents[1] / "bbolt_reader" / "go"
BINARIES = Path("usr/local/bin")
"""Where they lie in what :func:`built` gives: it can be laid over a root file system."""


class Module(enum.Enum):
    """A group of binaries; the value is the folder's name."""

    CONTAINERD = "containerd"
    """containerd 2.4.2 with its shim for runc, and ctr."""
    CRICTL = "crictl"
    """crictl 1.37.0."""
    NERDCTL = "nerdctl"
    """nerdctl 2.3.5."""
    MOBY = "moby"
    """dockerd 29: v2.0.0-beta.24 of the module."""
    BUILDKIT = "buildkit"
    """buildkitd and buildctl 0.34.2."""
    ACTIONLINT = "actionlint"
    """actionlint 1.7.12, which checks GitHub's workflows."""
    CONTAINERS_STORAGE = "containers-storage"
    """containers-storage 1.59.1, which checks the store of Podman and CRI-O."""
    CNI = "cni"
    """CNI's plugins bridge, loopback and host-local 1.10.0."""
    BBOLT = "bbolt"
    """The programs of tests/bbolt_reader/go with bbolt 1.5.0."""


_FLAGS = {
    Module.MOBY: "-X github.com/moby/moby/v2/dockerversion.Version=2.0.0-beta.24",
    Module.BUILDKIT: "-X github.com/moby/buildkit/version.Version=v0.34.2",
}
"""A dockerd that is not built by its own scripts calls itself ``library-import``, and a buildkitd ``0.0.0+unknown``."""


def built(module: Module) -> Path:
    """A folder with a module's binaries in ``usr/local/bin``, built if they are not there (a minute or two each).

    It is known by its go.mod, go.sum and the Go that builds it: when one of them changes, it is built anew.

    Raises:
        EngineUnavailable: no Go new enough, the module proxy cannot be reached, or the build failed.
    """
    source = _BBOLT if module is Module.BBOLT else _MODULES / module.value
    text = (source / "go.mod").read_text()
    compiler = go.new_enough(_wanted(text))
    # "tool" is the pattern for all tool lines of go.mod.
    what = "./..." if module is Module.BBOLT else "tool"
    command = ["build", "-trimpath", f"-ldflags=-s -w {_FLAGS.get(module, '')}", what]
    stamp = hashlib.sha256(f"{go.version(compiler)} {command}".encode())
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        stamp.update(f"{path.relative_to(source)}\0".encode() + path.read_bytes())

    def make(made: Path) -> None:
        binaries = made / BINARIES
        binaries.mkdir(parents=True)
        # containerd's btrfs snapshotter needs cgo (containerd plugins/snapshots/btrfs/btrfs.go, v2.4.2).
        environment = go.environment(folder(), cgo=module is Module.CONTAINERD)
        log = folder() / f"go/{module.value}.log"
        with log.open("wb") as output:
            done = subprocess.run(
                [compiler, *command[:1], "-o", f"{binaries}/", *command[1:]], cwd=source, env=environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False,
            )  # fmt: skip
        if done.returncode != 0:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise EngineUnavailable(f"go build of {module.value} failed: {' '.join(last)} (see {log})")

    return kept(f"go/{module.value}-{stamp.hexdigest()[:16]}", make)


def _wanted(text: str) -> str:
    found = re.search(r"^go (\S+)$", text, re.MULTILINE)
    assert found is not None
    return found[1]

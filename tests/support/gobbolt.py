"""Go's own bbolt, as an oracle: the programs of tests/bbolt_reader/go, built once with each of two versions and kept.

Those of Debian's version need golang-go and golang-github-coreos-bbolt-dev; :func:`why_not` says what is missing. The
newest version is asked besides, where it can be built (tests/engines/modules.py).
"""

from __future__ import annotations

import enum
import functools
import shutil
import subprocess
from pathlib import Path

from tests.engines.modules import BINARIES, Module, built
from tests.engines.unavailable import EngineUnavailable
from tests.support.gobuild import GOPATH, build


class Bbolt(enum.Enum):
    """A version of bbolt."""

    DEBIAN = "1.3.6"
    """Debian 12's."""
    NEWEST = "1.5.0"


SOURCES = Path(__file__).parents[1] / "bbolt_reader" / "go"


def why_not() -> str:
    """The reason why Go's bbolt cannot be used here; empty where it can."""
    if shutil.which("go") is None:
        return "no Go compiler: apt install golang-go golang-github-coreos-bbolt-dev"
    if not (GOPATH / "src/go.etcd.io/bbolt").is_dir():
        return "no Go bbolt: apt install golang-github-coreos-bbolt-dev"
    return ""


@functools.cache
def newest() -> str:
    """The reason why the newest bbolt cannot be had here; empty where it can."""
    try:
        built(Module.BBOLT)
    except EngineUnavailable as reason:
        return str(reason)
    return ""


@functools.cache
def program(name: str, by: Bbolt = Bbolt.DEBIAN) -> Path:
    """One of the programs, built if its source has changed.

    Raises:
        EngineUnavailable: the newest version cannot be built here.
    """
    if by is Bbolt.NEWEST:
        return built(Module.BBOLT) / BINARIES / name
    return build(SOURCES / name)


def fill(path: Path, shape: str, page_size: int = 4096, count: int = 1000, by: Bbolt = Bbolt.DEBIAN) -> Path:
    """Let Go write a file; the shapes are those of fill/main.go."""
    subprocess.run([program("fill", by), path, shape, str(page_size), str(count)], check=True, timeout=300)
    return path


def check(path: Path, *, timeout: float = 20) -> tuple[int, str]:
    """What ``Tx.Check`` says: exit code (0 nothing, 1 something, 2 it panicked, 3 cannot open, -1 it hung) and text.

    Where Debian's bbolt finds nothing, it is what the newest says.
    """
    said = _check(path, Bbolt.DEBIAN, timeout)
    return said if said[0] or newest() else _check(path, Bbolt.NEWEST, timeout)


def _check(path: Path, by: Bbolt, timeout: float) -> tuple[int, str]:
    try:
        done = subprocess.run([program("check", by), path], capture_output=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        return -1, "hung"
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def dump(path: Path) -> str:
    """Every bucket, sequence, key and value of a file, as ``drydock bolt dump`` prints it; both read the same."""
    said = _dump(path, Bbolt.DEBIAN)
    assert newest() or _dump(path, Bbolt.NEWEST) == said
    return said


def _dump(path: Path, by: Bbolt) -> str:
    return subprocess.run([program("dump", by), path], capture_output=True, check=True, timeout=300).stdout.decode()


def churn(path: Path, seed: int, count: int = 2000) -> str:
    """Use a file as its owner would, changing it; what went wrong, which a panic is too, or nothing.

    The newest version uses a copy.
    """
    if not newest():
        copy = path.with_name(f"{path.name}.newest")
        shutil.copyfile(path, copy)
        wrong = _churn(copy, seed, count, Bbolt.NEWEST)
        copy.unlink()
        if wrong:
            return wrong
    return _churn(path, seed, count, Bbolt.DEBIAN)


def _churn(path: Path, seed: int, count: int, by: Bbolt) -> str:
    done = subprocess.run(
        [program("churn", by), path, str(seed), str(count)], capture_output=True, check=False, timeout=300
    )
    text = (done.stdout + done.stderr).decode(errors="replace")
    return "" if not done.returncode else text or f"exit code {done.returncode}"


def drop(path: Path, *buckets: tuple[bytes, ...], touches: int = 0, freelist: bool = True) -> None:
    """Delete buckets, each in a transaction of its own, and make more transactions that change next to nothing."""
    names = ["/".join(name.hex() for name in bucket) for bucket in buckets]
    command = [program("drop"), path, "false" if freelist else "true", *names, *["touch"] * touches]
    subprocess.run(command, check=True, timeout=300)

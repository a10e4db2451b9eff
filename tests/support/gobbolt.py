"""Go's own bbolt, as an oracle: the programs of tests/bbolt_reader/go, built once and kept.

They need Debian's golang-go and golang-github-coreos-bbolt-dev; :func:`why_not` says what is missing.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

GOPATH = Path("/usr/share/gocode")
SOURCES = Path(__file__).parents[1] / "bbolt_reader" / "go"


def why_not() -> str:
    """The reason why Go's bbolt cannot be used here; empty where it can."""
    if shutil.which("go") is None:
        return "no Go compiler: apt install golang-go golang-github-coreos-bbolt-dev"
    if not (GOPATH / "src/go.etcd.io/bbolt").is_dir():
        return "no Go bbolt: apt install golang-github-coreos-bbolt-dev"
    return ""


def cache() -> Path:
    """Where built programs are kept: $DRYDOCK_TEST_CACHE, or a directory of the user's cache."""
    named = os.environ.get("DRYDOCK_TEST_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "drydock-tests"


@functools.cache
def program(name: str) -> Path:
    """One of the programs, built if its source has changed."""
    source = SOURCES / name / "main.go"
    built = cache() / f"gobbolt-{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        partial = built.with_suffix(f".{os.getpid()}")
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GOPATH), "GOFLAGS": "", "CGO_ENABLED": "0"}
        environment.setdefault("GOCACHE", str(cache() / "go-build"))
        subprocess.run(["go", "build", "-o", partial, "."], cwd=source.parent, env=environment, check=True)
        partial.replace(built)
    return built


def fill(path: Path, shape: str, page_size: int = 4096, count: int = 1000) -> Path:
    """Let Go write a file; the shapes are those of fill/main.go."""
    subprocess.run([program("fill"), path, shape, str(page_size), str(count)], check=True, timeout=300)
    return path


def check(path: Path, *, timeout: float = 20) -> tuple[int, str]:
    """What ``Tx.Check`` says: exit code (0 nothing, 1 something, 2 it panicked, 3 cannot open, -1 it hung) and text."""
    try:
        done = subprocess.run([program("check"), path], capture_output=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        return -1, "hung"
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def dump(path: Path) -> str:
    """Every bucket, sequence, key and value of a file, as ``drydock bolt dump`` prints it."""
    return subprocess.run([program("dump"), path], capture_output=True, check=True, timeout=300).stdout.decode()


def churn(path: Path, seed: int, count: int = 2000) -> str:
    """Use a file as its owner would, changing it; what went wrong, which a panic is too, or nothing."""
    done = subprocess.run(
        [program("churn"), path, str(seed), str(count)], capture_output=True, check=False, timeout=300
    )
    text = (done.stdout + done.stderr).decode(errors="replace")
    return "" if not done.returncode else text or f"exit code {done.returncode}"


def drop(path: Path, *buckets: tuple[bytes, ...], touches: int = 0, freelist: bool = True) -> None:
    """Delete buckets, each in a transaction of its own, and make more transactions that change next to nothing."""
    names = ["/".join(name.hex() for name in bucket) for bucket in buckets]
    command = [program("drop"), path, "false" if freelist else "true", *names, *["touch"] * touches]
    subprocess.run(command, check=True, timeout=300)

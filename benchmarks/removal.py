"""Removing trees, beside rm."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks import ruler
from benchmarks.root import OVERLAY, plant

from drydock.evidence.files.directory import fingerprint
from drydock.model.names import RawPath
from drydock.model.plans import Removal, Status, Target
from drydock.reclaim.execute_removals import run_removals
from drydock.reclaim.journal_writer import JournalWriter
from drydock.reclaim.root_dir import open_root_dir

_FOLDER = f"{OVERLAY}/snapshots"
_IMAGE = 4 << 30
_RM = "`rm -rf`"


def remove(directory: Path, *, quick: bool, rounds: int) -> tuple[str, list[str]]:
    """What ``clean --apply`` does to trees, journal and all, against ``rm -rf``."""
    files = 1_500 if quick else 150_000
    sizes = [files // 10, files // 3, files]
    rows = []
    for place, opened in _PLACES.items():
        if os.geteuid() and place != _HERE:
            continue
        seconds: dict[tuple[str, int], list[float]] = {}
        with opened(directory) as (parent, forget):
            for count in sizes:
                for turn in range(rounds):
                    for name, way in list(_WAYS.items())[:: -1 if turn % 2 else 1]:
                        seconds.setdefault((name, count), []).append(_timed(way, parent, count, files, forget))
        middle = {each: median(some) for each, some in seconds.items()}
        ratio = median(map(float.__truediv__, seconds["drydock", files], seconds[_RM, files]))
        growth = [ruler.exponent(sizes, [middle[name, count] for count in sizes]) for name in _WAYS]
        both = " | ".join(f"{middle[name, files]:.2f}" for name in _WAYS)
        rows.append(f"| {place} | {both} | {ratio:.2f} | {growth[0]:.2f} | {growth[1]:.2f} |")
    return "Removing snapshots", [
        f"{files:,} files in {_count(files, files)} snapshots; medians of {rounds}, in turns. The exponents are of the",
        f"seconds with the files: {', '.join(f'{size:,}' for size in sizes)}.",
        "",
        "| file system | `rm -rf`: seconds | drydock: seconds | median of the ratios | exponent of `rm` | of drydock |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Target ratio: at most 0.8; exponent: at most 1.05. `rm` removes file by file, and drydock four snapshots",
        "at once, in as many processes. Where unlink waits for the disk, they wait together: the more it waits, the",
        "smaller the ratio. ext4 without a journal waits at each file if it is mounted with `discard`. Where nothing",
        "waits, the processes share the cores, and do more than `rm`, because they look at the size of each file: on",
        "one core, drydock takes longer than `rm`.",
    ]  # fmt: skip


def _count(files: int, most: int) -> int:
    """How many snapshots so many files are in."""
    return max(1, 100 * files // most)


def _timed(way: Callable[[Path], None], directory: Path, files: int, most: int, forget: Callable[[], None]) -> float:
    """Seconds that it takes to remove the snapshots that are planted for it."""
    with tempfile.TemporaryDirectory(dir=directory) as parent:
        top = Path(parent) / "root"
        snapshots = _count(files, most)
        for number in range(snapshots):
            plant(top / _FOLDER / str(number) / "fs", files // snapshots, b"x" * 700)
        forget()
        start = time.perf_counter()
        way(top)
        return time.perf_counter() - start


@contextmanager
def _here(directory: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    yield directory, os.sync


@contextmanager
def _in_memory(_: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    with tempfile.TemporaryDirectory() as point, _mounted(Path(point), "-t", "tmpfs", "tmpfs"):
        yield Path(point), os.sync


@contextmanager
def _ext4_in_memory(directory: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    with _in_memory(directory) as (memory, _), _ext4(memory) as (point, _):
        yield point, os.sync


@contextmanager
def _cold_ext4(directory: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    with _ext4(directory) as (point, image):

        def forget() -> None:
            subprocess.run(["umount", point], check=True)
            subprocess.run(["mount", "-o", "loop", image, point], check=True)

        yield point, forget


@contextmanager
def _ext4(directory: Path) -> Iterator[tuple[Path, Path]]:
    """A new file system in a file in ``directory``: where it is mounted, and the file."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        image, point = Path(folder, "image"), Path(folder, "point")
        with open(image, "wb") as file:
            file.truncate(_IMAGE)
        options = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["/usr/sbin/mkfs.ext4", "-q", "-F", "-E", options, image], check=True)
        point.mkdir()
        with _mounted(point, "-o", "loop", str(image)):
            yield point, image


@contextmanager
def _mounted(point: Path, *options: str) -> Iterator[None]:
    subprocess.run(["mount", *options, point], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", point], check=True)


_HERE = "that of `--directory`, caches warm"
_PLACES = {
    _HERE: _here,
    "ext4 in a file on it, mounted anew before each removal": _cold_ext4,
    "ext4 in memory": _ext4_in_memory,
    "tmpfs": _in_memory,
}


def _drydock(top: Path) -> None:
    """Remove each snapshot of ``top`` as ``apply`` does: fingerprint, journal, rename, removal."""
    state = Path(tempfile.mkdtemp(dir=top.parent))
    fd = os.open(state, os.O_RDONLY)
    root_dir = open_root_dir(RawPath(os.fsencode(top)))
    journal = JournalWriter(fd, RawPath(os.fsencode(state)), root_dir.path, None)
    removals = []
    for name in os.listdir(os.fsencode(top / _FOLDER)):
        path = RawPath(os.fsencode(_FOLDER) + b"/" + name)
        expect = fingerprint(os.lstat(os.path.join(root_dir.path, path)))
        removals.append(Removal(Target.SNAPSHOT, root_dir.path, path, expect, 0, "no row names it"))
    for outcome in run_removals(removals, root_dir, journal):
        if outcome.status is not Status.DONE:
            raise RuntimeError(outcome.detail)
    journal.finish()
    journal.close()
    root_dir.close()
    os.close(fd)


def _rm(top: Path) -> None:
    """Remove each snapshot of ``top`` with rm."""
    subprocess.run(["rm", "-rf", "--", *(str(path) for path in (top / _FOLDER).iterdir())], check=True)


_WAYS = {_RM: _rm, "drydock": _drydock}

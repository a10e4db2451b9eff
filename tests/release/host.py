"""A host that has nothing: a root with the one file, a folder of this machine at the same path, and /proc or not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drydock.reclaim.state_dir import PLACES

_APART = ("/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-ec")
"""Starts a shell that sees none of this machine's processes, and so none of the mount namespaces that these keep: qemu
enters no other, for it has two threads (setns(2): EINVAL), and drydock refuses to change what may be mounted there."""
_BEGIN = "root=$1 folder=$2; shift 2; mount --make-rprivate /; "
_SHOW = 'mkdir -p "$root$folder"; mount --bind "$folder" "$root$folder"; '
_PROC = 'mount -t proc proc "$root/proc"; '
# $1: a folder that has the places of runs, $2: these, one a line; then a command.
_OTHER_PLACES = """
kept=$1 places=$2; shift 2
for place in $places; do
    mkdir -p -m 700 "$place" "$kept$place"
    mount --bind "$kept$place" "$place"
done
mount -t proc proc /proc
exec "$@"
"""
RUN_NAME = re.compile(rb"[0-9]{8}T[0-9]{6}Z-[0-9]+")
"""What drydock calls a run: its time and process."""
_LASTED = re.compile(rb"(?<=\ndrydock_scan_duration_seconds )[0-9.e-]+")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    out: bytes
    err: bytes


def here(*words: str | Path, started_by: Sequence[str | Path] = ()) -> Ended:
    """This environment's drydock, with as little around it; ``started_by`` is what starts it."""
    done = subprocess.run(
        [*started_by, sys.executable, "-m", "drydock", *map(str, words)], stdin=subprocess.DEVNULL,
        capture_output=True, check=False, cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def masked(ended: Ended) -> tuple[int, bytes, bytes]:
    """Without what names a run and its time."""
    return ended.status, _LASTED.sub(b"SPAN", RUN_NAME.sub(b"RUN", ended.out)), RUN_NAME.sub(b"RUN", ended.err)


@dataclass(frozen=True, slots=True)
class BareHost:
    """The root, which is this one folder, and what is shown in it."""

    root: Path
    folder: Path
    emulator: str = ""
    """The path in the root of what runs the one file, where it is of another architecture."""

    def beside(self, *words: str | Path) -> Ended:
        """Run this environment's drydock, which as the one file finds no runs of this machine, and keeps its own."""
        places = "\n".join(map(os.fsdecode, PLACES))
        kept = self.root.with_name("places")
        return here(*words, started_by=(*_APART, _OTHER_PLACES, "sh", kept, places))

    def run(
        self, *words: str | Path, proc: bool = True, before: str = "", after: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Ended:  # fmt: skip
        """Run the one file in it.

        Args:
            words: of the command line.
            proc: whether /proc is mounted.
            before: what a shell of this machine does first, in the same mount namespace; ``$root`` is the root.
            after: the same, once ``$folder`` is shown there.
            environment: all that the file's environment has; nothing where it is left out.
        """
        run = f'exec chroot "$root" {self.emulator} /drydock "$@"'
        script = "\n".join((_BEGIN, before, _SHOW, _PROC if proc else "", after, run))
        done = subprocess.run(
            [*_APART, script, "sh", self.root, self.folder, *map(str, words)],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} if environment is None else {**environment},
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)


def bare_host(program: Path, root: Path, folder: Path, emulator: Path | None = None) -> BareHost:
    """Make one in ``root``, an empty folder; ``folder`` is shown under its own path."""
    (root / "proc").mkdir()
    (root / str(folder).lstrip("/")).mkdir(parents=True)
    shutil.copy2(program, root / "drydock")
    if emulator is None:
        return BareHost(root, folder)
    shutil.copy2(emulator, root / "emulator")
    return BareHost(root, folder, "/emulator")

"""The files of a release, made once a session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines.unavailable import EngineUnavailable
from tests.support.program import ARCH, EMULATOR, PROGRAM

from drydock.version import __version__

TOP = Path(__file__).parents[2]
NAME = f"drydock-{__version__}-linux-{ARCH}"


def release(out: Path, *arguments: str) -> None:
    """Make a release of this tree in ``out``.

    Raises:
        EngineUnavailable: what it is made with or of cannot be had here.
    """
    command = [sys.executable, "-m", "release", "--out", str(out), *arguments]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    # A build that fails is a failure; a mirror that cannot be reached is none of this tree's.
    if done.returncode == 3:
        raise EngineUnavailable(done.stderr.strip())
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a release of this tree for one architecture: ``DRYDOCK_TEST_RELEASE``, or made here."""
    given = os.environ.get("DRYDOCK_TEST_RELEASE")
    if given:
        return Path(given)
    out = tmp_path_factory.mktemp("release")
    release(out, "--arch", ARCH)
    return out


@pytest.fixture(scope="session")
def emulator() -> Path | None:
    """What runs programs of the tested architecture here; None where they run by themselves."""
    if EMULATOR is None:
        return None
    found = shutil.which(EMULATOR)
    if found is None:
        raise EngineUnavailable(f"{EMULATOR} (qemu-user-static) is not installed")
    return Path(found)


@pytest.fixture
def command(program: Path, emulator: Path | None) -> list[Path]:
    """What to put in front of the words of a command line, to run the one file here."""
    return [program] if emulator is None else [emulator, program]


@pytest.fixture(scope="session")
def program(request: pytest.FixtureRequest) -> Path:
    """The one file of this tree, or the one that is to be tested."""
    if PROGRAM is not None:
        return Path(PROGRAM)
    made: Path = request.getfixturevalue("released") / NAME
    return made


@pytest.fixture(scope="session")
def native_program(program: Path, emulator: Path | None) -> Path:
    """The one file, where this machine's kernel starts it: engines, packages and Ansible ask no emulator."""
    if emulator is not None:
        pytest.skip(f"this machine does not run programs for {ARCH} by itself")
    return program


@pytest.fixture
def own_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty folder that is a file system of its own: reports say how full that is."""
    folder = tmp_path / "folder"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)

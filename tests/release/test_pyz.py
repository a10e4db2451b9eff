"""The archive for hosts with a Python and no pip, on this machine's Python without all that was installed for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from release.pyz import pyz
from tests.release.host import Ended, here
from tests.support.captures import capture, unpack

from drydock.version import __version__

pytestmark = [pytest.mark.root, pytest.mark.slow]

_SITES = "import json, site, sys; print(json.dumps([sys.executable, *site.getsitepackages()]))"
# $1: an empty folder, $2: this machine's folder that is shown there too, $3: folders to hide, one a line.
_ROOT = """
root=$1 shown=$2 hidden=$3; shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
for each in /usr /bin /sbin /lib*; do
    if [ -L "$each" ]; then cp -d "$each" "$root$each"; else mkdir "$root$each"; mount --bind "$each" "$root$each"; fi
done
mkdir -p "$root/proc" "$root/dev"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
echo "$hidden" | while read -r each; do mount -t tmpfs tmpfs "$root$each"; done
mkdir -p "$root$shown"
mount --rbind "$shown" "$root$shown"
exec chroot "$root" "$@"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, for the Python that these tests run on."""
    return pyz(Path(sys.executable), tmp_path_factory.mktemp("pyz"), 1_700_000_000)


def test_on_a_host_without_pip(
    made: Path, own_disk: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It brings all that it needs: the same output as here, with data files and shared objects, and zstd."""
    of = capture("docker-29-interrupted")
    folder = unpack(of, own_disk)
    base, *sites = json.loads(_said([sys._base_executable, "-I", "-c", _SITES]))  # type: ignore[attr-defined]
    if not base.startswith("/usr/"):
        pytest.skip(f"{base} is not the system's Python: what it needs is not known")
    hidden = [site for site in sites if Path(site).is_dir()]
    assert any(Path(site, "pip").is_dir() for site in hidden) or not hidden
    root = tmp_path_factory.mktemp("root")
    program = tmp_path / "drydock.pyz"
    shutil.copy2(made, program)

    def run(*words: str | Path) -> Ended:
        command = ["sh", "-ec", _ROOT, "sh", str(root), str(tmp_path), "\n".join(hidden)]
        done = subprocess.run(
            ["unshare", "--mount", *command, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True,
            check=False, cwd="/",
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "SHIV_ROOT": str(tmp_path / "cache"), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    assert b"No module named pip" in run(base, "-m", "pip", "--version").err
    assert b"No module named 'msgspec'" in run(base, "-c", "import msgspec").err
    versions = run(program, "--version", "--verbose").out.decode().splitlines()
    assert versions[0] == f"drydock {__version__}"
    assert "not installed" not in "".join(line for line in versions if "zstd" in line)
    for words in (
        ("scan", "--now", of.taken_at, "--host", "node-1", "--format", "json", folder),
        ("scan", "--now", of.taken_at, "--host", "node-1", "--format", "html", folder),
        ("verify", "--data", "--unpacked", "--state", tmp_path / "state", folder),
        ("schema", "scan"),
    ):
        assert run(program, *words) == here(*words), words


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

"""The Debian package: lintian finds nothing, and it installs, runs and goes in the Debian suites that are kept here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from release.debian import package_name
from tests.engines.suite import Suite, rootfs
from tests.release.conftest import NAME
from tests.support.program import ARCH

from drydock.version import __version__

pytestmark = [pytest.mark.root, pytest.mark.slow]

# $1: an empty folder, $2: a suite's root file system, $3: the package; then a script that runs in it.
_ROOT = """
root=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$root/upper,workdir=$root/work" "$root/root"
cp "$3" "$root/root/drydock.deb"
mount -t proc proc "$root/root/proc"
exec chroot "$root/root" sh -ec "$4"
"""


@pytest.fixture
def package(released: Path) -> Path:
    """The package."""
    return released / package_name(ARCH)


def test_lintian(package: Path, tmp_path: Path) -> None:
    """It has nothing to say, down to its remarks; it sees that a package has no copyright."""
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    done = _lintian(package)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    subprocess.run(["dpkg-deb", "--raw-extract", package, tmp_path / "raw"], check=True)
    for path in ("share/doc/drydock/copyright", "bin/drydock"):
        (tmp_path / "raw/usr" / path).unlink()
    command = ["dpkg-deb", "-Znone", "--build", tmp_path / "raw", tmp_path / "wrong.deb"]
    subprocess.run(command, check=True, capture_output=True)
    assert "no-copyright-file" in _lintian(tmp_path / "wrong.deb").stdout


@pytest.mark.usefixtures("native_program")
@pytest.mark.parametrize("suite", Suite)
def test_installs(suite: Suite, package: Path, released: Path, tmp_path: Path) -> None:
    """With dpkg alone, for it needs no package; the program is the one file; when removed, nothing of it is left."""
    script = """
        find / -xdev -not -path '/var/*' -not -path '/proc/*' >/var/before
        dpkg --install /drydock.deb >&2
        dpkg --verify drydock
        drydock --version
        sha256sum /usr/bin/drydock
        dpkg --listfiles drydock
        dpkg --purge drydock >&2
        find / -xdev -not -path '/var/*' -not -path '/proc/*' | diff /var/before - >&2
    """
    (tmp_path / "root").mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", _ROOT, "sh", tmp_path / "root", rootfs(suite), package, script],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    version, digest, *files = done.stdout.splitlines()
    assert version == f"drydock {__version__}"
    sums = (released / "SHA256SUMS").read_text()
    assert f"{digest.split()[0]}  {NAME}\n" in sums
    for path in (
        "/usr/share/man/man1/drydock-clean.1.gz",
        "/usr/share/bash-completion/completions/drydock",
        "/usr/share/zsh/vendor-completions/_drydock",
        "/usr/share/fish/vendor_completions.d/drydock.fish",
    ):
        assert path in files


def _lintian(package: Path) -> subprocess.CompletedProcess[str]:
    command = ["lintian", "--allow-root", "--display-info", "--fail-on=error,warning,info", package]
    return subprocess.run(command, capture_output=True, text=True, check=False)

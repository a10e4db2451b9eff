"""A systemd of its own: process 1 of new namespaces, on a copy of this machine's file system that is thrown away."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.engines.unavailable import EngineUnavailable

_MANAGER = Path("/lib/systemd/systemd")
TOP = Path(__file__).resolve().parents[2]
_TYPED = """\
[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force

[Service]
Type=oneshot
WorkingDirectory=/srv/source
ExecStart=/bin/sh -ex /srv/typed/script
"""
# Not where it is here: a service has a /tmp and a /var/tmp of its own, and a checkout may lie in one of them.
_DRYDOCK = """\
#!/bin/sh
PYTHONPATH=/srv/source/src exec /srv/venv/bin/python -m drydock "$@"
"""
_PRINTED = """\
[Service]
StandardOutput=append:/srv/typed/output
StandardError=append:/srv/typed/output
"""
# $1: an empty folder; then pairs of what to show and where. All mounts go with the namespace. Of the boot, no more than
# the units that the script starts: no udev, no journal.
_BOOT = """
set -e
work=$1; shift
mount --make-rprivate /
mkdir "$work/upper" "$work/inner" "$work/root"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/inner" overlay "$work/root"
root=$work/root
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for name in run var/lib etc/systemd/system usr/lib/systemd/system/sysinit.target.wants; do
    mkdir -p "$root/$name"
    mount -t tmpfs -o mode=755 tmpfs "$root/$name"
done
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
while [ $# != 0 ]; do
    mkdir -p "$root/$2"
    mount --rbind "$1" "$root/$2"
    shift 2
done
rm -f "$root/usr/local/bin/drydock"
cp "$root/srv/typed/drydock" "$root/usr/local/bin/"
cp "$root/srv/typed/typed.service" "$root/etc/systemd/system/"
mkdir "$root/etc/systemd/system/service.d"
cp "$root/srv/typed/printed.conf" "$root/etc/systemd/system/service.d/"
export container=test
exec chroot "$root" /lib/systemd/systemd --system --unit=typed.service --log-target=console --show-status=no
"""


def typed(work: Path, shown: Mapping[Path, str], script: Sequence[str]) -> tuple[int, str]:
    """Boot, type a script as root in the top folder of the source (/srv/source), and power off.

    ``drydock`` is in /usr/local/bin, and /var/lib holds only what is shown there.

    Args:
        work: a folder, which becomes the copy's.
        shown: folders of this machine, and where the machine that boots has them. What it writes there stays.
        script: the lines; the first that fails ends it.

    Returns:
        The exit status of the script, and what it and the services that it started printed.

    Raises:
        EngineUnavailable: systemd is not installed, or cannot be process 1 here.
    """
    if os.geteuid() != 0:
        raise EngineUnavailable("booting systemd needs root")
    if not _MANAGER.exists() or shutil.which("systemctl") is None:
        raise EngineUnavailable("systemd is not installed")
    typing, copy = work / "typed", work / "copy"
    typing.mkdir(parents=True)
    copy.mkdir()
    (typing / "script").write_text("".join(f"{line}\n" for line in script))
    (typing / "typed.service").write_text(_TYPED)
    (typing / "drydock").write_text(_DRYDOCK)
    (typing / "drydock").chmod(0o755)
    (typing / "printed.conf").write_text(_PRINTED)
    # The upper layer of an overlay must not itself lie on one.
    boot = f"mount -t tmpfs tmpfs {shlex.quote(str(copy))}\n{_BOOT}"
    places = {typing: "/srv/typed", TOP: "/srv/source", Path(sys.prefix): "/srv/venv", **shown}
    pairs = [word for source, where in places.items() for word in (str(source), where)]
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "sh", "-c", boot, "boot",
         str(copy), *pairs],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False, timeout=300,
    )  # fmt: skip
    output = typing / "output"
    if not output.exists():
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise EngineUnavailable(f"systemd cannot be process 1 of new namespaces here: {' '.join(last)}")
    return done.returncode, output.read_text()

"""Which mount a file belongs to, with /proc and without it."""

import os
import subprocess
import sys

import pytest

from drydock.evidence.files.mountinfo import mount_id

# $1: a folder. A second mount of it has the same device and inode, and another id.
_TWICE = """
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/once" "$1/again"
mount --bind "$1/once" "$1/again"
cd "$1"
python=$2; shift 2
exec "$python" "$@"
"""
_ASK = """
import ctypes, os
from drydock.evidence.files.mountinfo import mount_id
fds = [os.open(name, os.O_PATH) for name in ("/", "once", "again")]
known = [mount_id(fd) for fd in fds]
ctypes.CDLL(None).umount2(b"/proc", 2)
assert not os.path.exists("/proc/self")
print(known == [mount_id(fd) for fd in fds], len(set(known)))
"""


@pytest.mark.root
def test_without_proc(tmp_path):
    """The ids are the same as with /proc, and tell two mounts of one folder apart."""
    command = ["unshare", "--mount", "sh", "-ec", _TWICE, "sh", tmp_path, sys.executable, "-c", _ASK]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True 3\n"), done.stderr


def test_neither_has_it(monkeypatch):
    """A file system without handles of files, and no /proc: that is an error, and not a guess."""
    reading, _ = pipe = os.pipe()
    monkeypatch.setattr("builtins.open", lambda *_: (_ for _ in ()).throw(FileNotFoundError))
    with pytest.raises(OSError, match="does not say which mount"):
        mount_id(reading)
    for fd in pipe:
        os.close(fd)

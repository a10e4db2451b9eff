"""Exports that do not come to their end: what is said, and that no half file is taken for a whole one."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from tests.support.captures import capture
from tests.support.program import DRYDOCK

pytestmark = pytest.mark.root

KILLED = "docker-28.5-killed"
COMMAND = [*DRYDOCK, "export"]


def _drydock(*words, **options):
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, check=False, text=True, **options)


@pytest.fixture
def full(tmp_path):
    """A file system of 1 MiB."""
    point = tmp_path / "full"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", point], check=True)
    yield point
    subprocess.run(["umount", point], check=True)


def test_a_full_disk(unpacked, full):
    """No file is left, that is said, and how much an image takes; a redirected pipe is said not to be whole."""
    host = unpacked(capture(KILLED))
    done = _drydock("image", "shop", host, "-o", full / "x.tar")
    assert done.returncode == 4
    assert "No space left on device; no file is left; the archive takes" in done.stderr
    done = _drydock("container", "web", host, "-o", full / "x.tar")
    assert done.returncode == 4
    assert done.stderr.endswith("No space left on device; no file is left\n")
    assert os.listdir(full) == []
    with (full / "half.tar").open("wb") as file:
        done = subprocess.run(
            [*COMMAND, "image", "shop", host, "-o", "-"], stdout=file, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 4
    assert b"No space left on device; the archive on stdout is incomplete" in done.stderr


def test_a_reader_that_leaves(unpacked):
    """``| head``: ended as by the signal, without a word of Python."""
    host = unpacked(capture(KILLED))
    for words in (("image", "shop"), ("container", "web")):
        script = f"{' '.join(COMMAND)} {' '.join(words)} {host} -o - | head -c 1000 | wc -c; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, text=True)
        assert done.stdout.split() == ["1000", "141"]
        assert done.stderr == ""


@pytest.fixture
def large(tmp_path):
    """A store with an image of one layer of 20 GiB, all of it a hole: an export takes long enough to be stopped."""
    blobs = tmp_path / "host/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256"
    blobs.mkdir(parents=True)

    def add(document):
        raw = json.dumps(document).encode()
        value = hashlib.sha256(raw).hexdigest()
        (blobs / value).write_bytes(raw)
        return {"mediaType": "application/json", "digest": f"sha256:{value}", "size": len(raw)}

    size = 20 << 30
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + "ab" * 32, "size": size}
    with (blobs / ("ab" * 32)).open("wb") as file:
        file.truncate(size)
    config = add({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}})
    manifest = add({"schemaVersion": 2, "config": config, "layers": [layer]})
    return tmp_path / "host", manifest["digest"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_export(number, large, tmp_path):
    """Ctrl-C, a service manager, the out-of-memory killer: no file; and an error where a pipe got a part of it."""
    host, digest = large
    target = tmp_path / "out"
    target.mkdir()
    words = [*COMMAND, "image", digest, str(host), "-o"]
    with subprocess.Popen([*words, str(target / "x.tar")], stderr=subprocess.PIPE) as process:
        _wait_for_bytes(process)
        process.send_signal(number)
        said = process.stderr.read().decode()
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert os.listdir(target) == []
    if number != signal.SIGINT:
        return
    assert said.endswith("drydock: interrupted; no file is left\n")
    with subprocess.Popen([*words, "-"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _wait_for_bytes(process)
        process.send_signal(number)
        assert process.stderr.read().decode().endswith("interrupted; the archive on stdout is incomplete\n")
    assert process.returncode == 130


def _wait_for_bytes(process):
    """Until it has written some megabytes, as the kernel counts them."""
    for _ in range(600):
        with open(f"/proc/{process.pid}/io") as file:
            written = dict(line.split(": ") for line in file)["wchar"]
        if int(written) > 8 << 20:
            return
        time.sleep(0.05)
    pytest.fail("it wrote nothing")


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_somebody_who_is_not_root(unpacked, tmp_path):
    """Nobody's export of root's store says what cannot be read, and writes nothing."""
    host = unpacked(capture(KILLED))
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *COMMAND]
    os.chmod(host, 0o755)
    for words in (["image", "shop"], ["container", "web"]):
        done = subprocess.run(
            [*nobody, *words, host, "-o", tmp_path / "x.tar"], capture_output=True, check=False, text=True
        )
        assert done.returncode in (8, 32), done.stderr
        assert "Permission denied" in done.stderr or "root" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "x.tar").exists()


def test_a_name_that_is_not_there(unpacked, tmp_path):
    """Another tag, a name cut short, a slip of the fingers: what is there is named, the likeliest first."""
    host = unpacked(capture("containerd-1.6-namespaces"))
    for word, wanted in (("app:2", "app:1"), ("bse:1", "base:1"), ("docker.io/library/app", "app:1")):
        done = _drydock("image", word, host, "-o", tmp_path / "x.tar")
        if done.returncode:
            assert done.returncode == 8
            assert f"is called {word}; here are: docker.io/library/{wanted}" in done.stderr
    done = _drydock("container", "rann", host, "-o", tmp_path / "x.tar")
    assert "is called rann; here are: ran" in done.stderr

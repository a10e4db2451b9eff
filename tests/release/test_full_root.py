"""A Docker host whose root file system has 0 bytes free: the file comes in through memory, and README's lines help."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images, start_pull
from tests.engines.docker import Docker
from tests.engines.images import Image, busybox_layer, layer, noise
from tests.engines.registry import Registry
from tests.engines.sandbox import Sandbox
from tests.engines.suite import Suite, rootfs
from tests.support.full_disk import disk, fill
from tests.support.newcomer import TOP, blocks, section
from tests.support.tmux import Terminal, terminal
from tests.support.trees import tree

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

_REGISTRY = f"127.0.0.1:{PORT}"
_SIZE = 768 << 20
_LEFT_OUT = ("./proc/*", "./sys/*", "./dev/*", "./run/*", "./var/cache/*", "./var/lib/apt/*", "./usr/share/locale/*",
             "./usr/share/doc/*", "./usr/share/man/*")  # fmt: skip
# scan says with 1 that something can be freed.
_FINE = (0, 1)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The root file system of a host with Docker 28.5, on a disk of its own, with Docker's data and all else on it."""
    point = tmp_path / "root"
    point.mkdir()
    with disk(tmp_path / "disk", point, _SIZE):
        copy = f'tar -C "$1" {" ".join(f"--exclude={each!r}" for each in _LEFT_OUT)} -cf - . | tar -C "$2" -xf -'
        subprocess.run(["sh", "-ec", copy, "sh", rootfs(Suite.FORKY), point], check=True)
        yield point


def test_readme_frees_it(native_program: Path, root: Path, tmp_path: Path) -> None:
    """Nothing can be written; the file comes to /dev/shm; after README's lines there is room, and a pull works.

    What is not freed, an image and a stopped container, is as before.
    """
    readme = (TOP / "README.md").read_text()
    first = re.findall(r"^Then, on the host, as root:\n\n```\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)[0]
    (lines,) = blocks(section(readme, "The disk is full"))[:1]
    assert lines[0].startswith("systemctl stop")
    assert lines[-1].startswith("systemctl start")
    base = busybox_layer()
    served = {**images(base), "more:1": Image((base, layer({"srv/": b"", "srv/more": noise(9, 300)})))}
    work = tmp_path / "work"
    work.mkdir()
    with Sandbox(work, root) as sandbox, Docker(sandbox) as docker:
        assert docker.version().startswith("28.5")
        with Registry(sandbox.listen(PORT), served) as registry:
            docker.docker("pull", "-q", f"{_REGISTRY}/shop:1")
            docker.docker("run", "--name", "web", "--network", "none", f"{_REGISTRY}/shop:1", "/bin/busybox", "true")
            start_pull(docker, registry, "tools:2", served["tools:2"], held=3).interrupt()
        sandbox.run("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")
        fill(root)
        with Registry(sandbox.listen(PORT), served), pytest.raises(RuntimeError, match="no space left"):
            docker.docker("pull", "-q", f"{_REGISTRY}/more:1")
        fill(root)
        for place in ("/", "/tmp", "/usr/local/bin", "/var/lib"):
            full = sandbox.run("cp", "/bin/busybox", f"{place}/x", check=False)
            assert b"No space left" in full.stderr, place
            sandbox.run("rm", "-f", f"{place}/x")
        fill(root)
        assert _room(root) == 0

        # As scp does it.
        sandbox.run("sh", "-c", "cat >/dev/shm/drydock", stdin=native_program.read_bytes())
        said = {}
        for line in lines:
            if line.startswith("systemctl "):
                {"stop": docker.stop, "start": docker.start}[line.split()[1]]()
                continue
            done = sandbox.run("sh", "-c", f"{first}{line}", check=False)
            assert done.returncode in _FINE, (line, done)
            assert done.stderr == b"", line
            said[line] = done.stdout.decode()

        assert "1 interrupted pull" in said["drydock pulls"]
        assert re.search(r"journal:? /run/drydock/", said[lines[-2]])
        assert _room(root) > 1 << 20
        with Registry(sandbox.listen(PORT), served):
            docker.docker("pull", "-q", f"{_REGISTRY}/more:1")
        for image, path, made in (("more:1", "/srv/more", (9, 300)), ("shop:1", "/srv/shop", (1, 60))):
            found = docker.docker(
                "run", "--rm", "--network", "none", f"{_REGISTRY}/{image}", "/bin/busybox", "sha256sum", path
            )
            assert found.split()[0] == hashlib.sha256(noise(*made)).hexdigest()
        assert docker.docker("ps", "-a", "--format", "{{.Names}}").split() == ["web"]


@pytest.mark.skipif("DRYDOCK_TEST_LONG" not in os.environ, reason="long: ./run prove runs it")
def test_browse_frees_it_and_goes_back(native_program: Path, root: Path, tmp_path: Path) -> None:
    """Keys alone: moved aside and undone, Docker lists what it did; then, with 0 bytes free, freed.

    A quarantine frees nothing, and needs some blocks itself: without these it is refused. The disk is freed by the
    second run, which deletes. Each list is the engine's own.
    """
    served = images(busybox_layer())
    work = tmp_path / "work"
    work.mkdir()
    with Sandbox(work, root) as sandbox, Docker(sandbox) as docker:
        with Registry(sandbox.listen(PORT), served) as registry:
            docker.docker("pull", "-q", f"{_REGISTRY}/shop:1")
            docker.docker("run", "--name", "web", "--network", "none", f"{_REGISTRY}/shop:1", "/bin/busybox", "true")
            start_pull(docker, registry, "tools:2", served["tools:2"], held=3).interrupt()
        before = _lists(docker)
        sandbox.run("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")
        sandbox.run(
            "sh", "-c", "cat >/dev/shm/drydock && chmod 755 /dev/shm/drydock", stdin=native_program.read_bytes()
        )
        sandbox.run("mkdir", "/aside")
        docker.stop()
        fill(root)
        assert _room(root) == 0
        stored = tree(root / "var/lib/docker", times=False)
        with terminal(sandbox.enter(["/dev/shm/drydock", "browse"])) as screen:
            _mark_the_pull(screen)
            _move_aside(screen)
            screen.sees(r"quarantine /aside: No space left on device\nNothing was changed: .*\nPress a key")
            assert tree(root / "var/lib/docker", times=False) == stored
            os.truncate(root / "ballast", (root / "ballast").stat().st_size - (1 << 20))
            screen.presses("Space", "1 marked: frees ")
            _move_aside(screen)
            screen.sees(r"journal: (?s:.*)Press a key")
            assert set(tree(root / "var/lib/docker", times=False)) < set(stored)
            screen.presses("Space", "nothing is marked")
            screen.presses("u", "undo: yes")
            screen.presses("Enter", r"Do this\? \[y/N\]")
            screen.types("y", "Enter")
            screen.sees(r"former contents(?s:.*)Press a key")
            screen.presses("Space", "nothing is marked")
            screen.presses("q", "ended with 0")
        assert set(tree(root / "var/lib/docker", times=False)) == set(stored)
        (root / "ballast").unlink()
        docker.start()
        assert _lists(docker) == before
        docker.stop()

        fill(root)
        assert _room(root) == 0
        with terminal(sandbox.enter(["/dev/shm/drydock", "browse"])) as screen:
            _mark_the_pull(screen)
            screen.presses("a", "ends lease")
            screen.presses("Enter", r"Do this\? \[y/N\]")
            screen.types("y", "Enter")
            screen.sees(r"journal: /run/drydock/(?s:.*)Press a key")
            screen.presses("Space", "nothing is marked")
            screen.presses("q", "ended with 0")
        assert _room(root) > 1 << 20
        docker.start()
        after = _lists(docker)
        assert (after["images"], after["containers"]) == (before["images"], before["containers"])
        assert len(after["leases"]) < len(before["leases"])


def _move_aside(screen: Terminal) -> None:
    screen.presses("a", "ends lease")
    screen.presses("m", "A folder on the same file system")
    screen.types("/aside")
    screen.presses("Enter", r"Do this\? \[y/N\]")
    screen.types("y", "Enter")


def _mark_the_pull(screen: Terminal) -> None:
    screen.sees("nothing is marked")
    screen.presses("/", "Enter takes it")
    screen.presses("pull", "\npull")
    screen.presses("Enter", r"filter 'pull'(?s:.*) pull 127\.0\.0\.1")
    screen.presses("Space", "1 marked: frees ")


def _lists(docker: Docker) -> dict[str, list[str]]:
    """What the engine lists."""
    return {
        "images": sorted(docker.docker("image", "ls", "--all", "--no-trunc", "--digests").splitlines()),
        "containers": docker.docker("ps", "--all", "--format", "{{.ID}} {{.Names}} {{.Image}}").splitlines(),
        "leases": sorted(docker.ctr("leases", "ls", "-q").split()),
        "content": sorted(docker.ctr("content", "ls", "-q").split()),
        "snapshots": sorted(line.split()[0] for line in docker.ctr("snapshots", "ls").splitlines()),
    }


def _room(point: Path) -> int:
    """Bytes free, for root: engines run as root."""
    found = os.statvfs(point)
    return found.f_bfree * found.f_frsize

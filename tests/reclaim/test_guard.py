"""The guards: each refusal is one line that names what to stop."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.engines.containerd import Containerd
from tests.engines.images import Image, busybox_layer, write_archive
from tests.engines.sandbox import Sandbox, wait_for
from tests.engines.unavailable import EngineUnavailable
from tests.evidence.host.test_mounts import SNAPSHOTS, in_container
from tests.support.kept import keep
from tests.support.privilege import needs_root
from tests.support.proc import python, running, shell

from drydock.evidence.host import mounts, processes
from drydock.evidence.host.locks import hold
from drydock.model.errors import Refused
from drydock.model.names import RawPath, UnixNano
from drydock.model.roots import Engine, Root
from drydock.reclaim.guard import check_clock, refuse_if_used
from drydock.verdict.clock import Ahead

pytestmark = pytest.mark.xdist_group("host")


def root(path):
    """The root as a value."""
    return Root(RawPath(os.fsencode(path)), Engine.CONTAINERD)


@pytest.fixture
def store(tmp_path):
    """A containerd root whose name is an attack on terminals."""
    path = tmp_path / "store\x1b[2J\n"
    (path / "snapshots/7/fs").mkdir(parents=True)
    (path / "file").touch()
    return path


def test_clock_before_most_records():
    """A clock earlier than more than half of what carries a time is refused; as many, fewer and none are not."""
    with pytest.raises(Refused, match="3 of 5 records carry a later time"):
        check_clock(UnixNano(10**18), Ahead(5, 3))
    check_clock(UnixNano(10**18), Ahead(4, 2))
    check_clock(UnixNano(10**18), Ahead(5, 0))
    check_clock(UnixNano(0), Ahead())


def test_process(store):
    """A process that has a file of the root open is named in one line, with what to do."""
    with running(python("file = open(sys.argv[1] + '/file')", store)) as child:
        with pytest.raises(Refused) as caught:
            refuse_if_used(root(store))
        assert f"pid {child.pid}" in str(caught.value)
        assert f"end process {child.pid}" in str(caught.value)
        assert str(caught.value).isprintable()
    refuse_if_used(root(store))


@pytest.mark.parametrize("name", ["drydock", "drydock-0.1.0-linux-x86_64"])
def test_another_drydock_that_goes(store, tmp_path, name):
    """Whoever holds the locks waits for a drydock that they refuse; without them, and for others, nobody waits."""
    for called in (name, "other"):
        (tmp_path / called).write_text('#!/bin/sh\nexec 3<"$1"\necho ready\nread _\nread _\n')
        (tmp_path / called).chmod(0o755)
    for called, held, waits in ((name, True, True), (name, False, False), ("other", True, False)):
        with running([tmp_path / called, store / "file"]) as child, ThreadPoolExecutor(1) as pool:
            asked = pool.submit(refuse_if_used, root(store), held=held)
            if not waits:
                with pytest.raises(Refused, match=f"{called[:15]} .pid {child.pid}."):
                    asked.result(timeout=30)
                continue
            time.sleep(0.5)
            assert not asked.done()
            child.kill()
            child.wait()
            assert asked.result(timeout=30) is None
    with running([tmp_path / name, store / "file"]), pytest.raises(Refused, match="drydock"):
        refuse_if_used(root(store), held=True)  # it stays


def test_importing_is_cheap():
    """Nothing that only reads loads psutil."""
    code = "import sys, drydock.reclaim.guard, drydock.evidence.host.roots; sys.exit('psutil' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.root
@needs_root
def test_mount(store, tmp_path):
    """A mount in another namespace is named, with the namespace to enter."""
    (tmp_path / "the part").mkdir()
    command = shell(f'mount --bind "$1/snapshots/7/fs" "{tmp_path}/the part"')
    with running(["unshare", "-m", "sh", "-c", command, "sh", store]) as child:
        with pytest.raises(Refused, match=rf"nsenter -t {child.pid} -m umount '.*/the part'$") as caught:
            refuse_if_used(root(store))
        assert str(caught.value).isprintable()
    refuse_if_used(root(store))


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("container", [b"", b"web\x1b[2J"])
def test_the_root_folder_of_a_container(tmp_path, monkeypatch, container):
    """It is never advised to unmount it: the process is named, and its container where its control group has one."""
    snapshots = tmp_path / "store" / SNAPSHOTS
    for name in ("1/fs/old", "2/fs", "2/work"):
        (snapshots / name).mkdir(parents=True)
    (tmp_path / "merged").mkdir()
    monkeypatch.setattr(processes, "container_in", lambda _: container)
    monkeypatch.setattr(processes, "users", lambda _: [])
    options = f"lowerdir={snapshots}/1/fs,upperdir={snapshots}/2/fs,workdir={snapshots}/2/work"
    with in_container(tmp_path / "store", tmp_path / "store", tmp_path / "merged", options) as child:
        with pytest.raises(Refused) as caught:
            refuse_if_used(root(tmp_path / "store"))
        said = str(caught.value)
        assert f"(pid {child.pid})" in said
        assert said.endswith("; stop that container" if container else f"; end process {child.pid}")
        assert ("of container web\\x1b[2J is an overlay" in said) == bool(container)
        assert "umount" not in said


@pytest.mark.root
@needs_root
def test_mount_that_a_file_keeps(store, tmp_path):
    """A mount in a namespace without a process is named with a command that unmounts it."""
    for name in ("the part", "kept"):
        (tmp_path / name).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "--make-private", "none", tmp_path / "kept"], check=True)
    try:
        (tmp_path / "kept/space").touch()
        keep(tmp_path / "kept/space", "mount", "--bind", store / "snapshots/7/fs", tmp_path / "the part")
        for _ in range(50):
            with pytest.raises(Refused) as caught:
                refuse_if_used(root(store))
            # The tests beside this one enter every mount namespace too, and such a process is then named instead.
            if f"--mount={tmp_path}" in str(caught.value):
                break
        subprocess.run(["sh", "-c", str(caught.value).partition("unmount it: ")[2]], check=True)
        refuse_if_used(root(store))
    finally:
        # Lazily: those beside this one that enter every mount namespace have its file open meanwhile.
        subprocess.run(["umount", "-lR", tmp_path / "kept"], check=True)


@pytest.mark.root
@pytest.mark.engine
@needs_root
@pytest.mark.slow
def test_containerd(tmp_path):
    """A real containerd: it, then its shim and its container's overlay alone, are refused; on another root, never."""
    mine, other, archive = tmp_path / "mine", tmp_path / "other", tmp_path / "image.tar"
    for path in (mine, other):
        path.mkdir()
    image = Image((busybox_layer(),))
    write_archive(archive, {"docker.io/library/x:1": image})
    database = RawPath(os.fsencode(mine / "io.containerd.metadata.v1.bolt/meta.db"))
    try:
        with Sandbox(tmp_path) as sandbox, Containerd(sandbox, mine, collect=False) as engine:
            pid = engine.daemon.process.pid
            with pytest.raises(Refused, match=rf"containerd \(pid {pid}\).*systemctl stop"):
                refuse_if_used(root(mine))
            with pytest.raises(Refused, match=rf"containerd \(pid {pid}\)"):
                hold(database, exclusive=False)
            refuse_if_used(root(other))

            engine.ctr("images", "import", archive, namespace="ns")
            engine.ctr(
                "run", "-d", "--null-io", "--cgroup", "", "docker.io/library/x:1", "c1", "/bin/busybox", "sleep", "300",
                namespace="ns",
            )  # fmt: skip
            os.kill(pid, 9)
            wait_for(lambda: not engine.daemon.running, 10.0, "the end of containerd")
            hold(database, exclusive=False).release()
            shims = [each for each in processes.users(root(mine)) if each.container == (b"ns", b"c1")]
            assert [each.name[:15] for each in shims] == [b"containerd-shim"]
            with pytest.raises(Refused, match="keeps container c1 of namespace ns running"):
                refuse_if_used(root(mine))
            overlays = [each for each in mounts.users(root(mine)) if "overlay" in each.why or "mount of" in each.why]
            assert overlays
            assert all(re.fullmatch(rb"[0-9]+", each.snapshot or b"") for each in overlays)
            assert processes.users(root(other)) == []
            assert mounts.users(root(other)) == []
    except EngineUnavailable as error:
        pytest.skip(str(error))
    refuse_if_used(root(mine))


@pytest.mark.root
@pytest.mark.engine
@needs_root
@pytest.mark.slow
@pytest.mark.parametrize("alone", [False, True], ids=["engine", "container-alone"])
def test_a_containerd_of_another_host_at_the_same_path(tmp_path, alone):
    """A real containerd, its shim and its container elsewhere, with this root's paths in their own mount namespace."""
    mine, other, archive = tmp_path / "mine", tmp_path / "other", tmp_path / "image.tar"
    mine.mkdir()
    write_archive(archive, {"docker.io/library/x:1": Image((busybox_layer(),))})
    try:
        with Sandbox(tmp_path) as sandbox, Containerd(sandbox, mine, collect=False) as engine:
            engine.ctr("images", "import", archive, namespace="ns")
            engine.ctr(
                "run", "-d", "--null-io", "--cgroup", "", "docker.io/library/x:1", "c1", "/bin/busybox", "sleep", "300",
                namespace="ns",
            )  # fmt: skip
            with pytest.raises(Refused):
                refuse_if_used(root(mine))
            subprocess.run(["cp", "-a", mine, other], check=True)
            if alone:
                shims = [each.pid for each in processes.users(root(mine)) if each.container]
                os.kill(engine.daemon.process.pid, 9)
                for pid in shims:
                    os.kill(pid, 9)
                wait_for(lambda: not engine.daemon.running, 10.0, "the end of containerd")
                assert mounts.users(root(mine))
            subprocess.run(["mount", "--bind", other, mine], check=True)
            try:
                assert processes.users(root(mine)) == []
                assert mounts.users(root(mine)) == []
                refuse_if_used(root(mine))
            finally:
                subprocess.run(["umount", mine], check=True)
            with pytest.raises(Refused):
                refuse_if_used(root(mine))
    except EngineUnavailable as error:
        pytest.skip(str(error))

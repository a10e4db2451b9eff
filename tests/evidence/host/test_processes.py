"""Users of a root, told by real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from tests.support.privilege import needs_root
from tests.support.proc import python, running, shell

from drydock.evidence.host.engines import program
from drydock.evidence.host.processes import container_in, containerd_roots, name_and_container, users
from drydock.model.names import RawPath
from drydock.model.roots import Engine, Root, worker_layout

pytestmark = pytest.mark.xdist_group("host")


@pytest.fixture
def store(tmp_path):
    """A containerd root."""
    path = tmp_path / "store"
    path.mkdir()
    (path / "file").write_bytes(b"x" * 8192)
    return path


def root(path, engine=Engine.CONTAINERD, **more):
    """The root as a value."""
    return Root(RawPath(os.fsencode(path)), engine, **more)


_MAPPED = """
import mmap, os
file = open(sys.argv[1] + '/file')
kept = mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)
os.closerange(3, 64)
"""


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("file = open(sys.argv[1] + '/file')", "open"),
        ("import os; file = open(sys.argv[1] + '/file'); os.unlink(sys.argv[1] + '/file')", "open"),
        ("import os; os.chdir(sys.argv[1])", "working folder"),
        (_MAPPED, "mapped"),
    ],
)
def test_any_process_that_has_it_open(store, tmp_path, code, word):
    """A process of any name counts by what it has open; another root beside it does not."""
    other = tmp_path / "store-other"
    other.mkdir()
    with running(python(code, store)) as child:
        found = users(root(store))
        assert [each.pid for each in found] == [child.pid]
        assert word in found[0].why
        assert found[0].stop == f"end process {child.pid}"
        assert users(root(other)) == []
    assert users(root(store)) == []


_FIRST_THREAD_ENDED = """
import ctypes, os, threading
file = open(sys.argv[1] + '/file')
threading.Thread(target=sys.stdin.read).start()
print('ready', flush=True)
ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[os.uname().machine], 0)  # exit: of one thread
"""


def test_a_process_whose_first_thread_has_ended(store):
    """It is a zombie to ps, and its other threads still have the file open."""
    with running(python(_FIRST_THREAD_ENDED, store)) as child:
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert os.listdir(f"/proc/{child.pid}/fd") == []
        found = users(root(store))
    assert [(each.pid, each.stop) for each in found] == [(child.pid, f"end process {child.pid}")]
    assert "open" in found[0].why


def test_a_zombie_has_nothing_open(store):
    """Of which no thread is left."""
    with running(python("import os; file = open(sys.argv[1] + '/file')", store)) as child:
        child.kill()
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert users(root(store)) == []


def test_layers_of_the_classic_store(store, tmp_path):
    """A process that has a directory of overlay2 or a record of image/overlay2 open counts, and a volume does not."""
    data = tmp_path / "docker"
    used = root(store, Engine.DOCKER, docker=(RawPath(os.fsencode(data)),))
    for folder, counts in (("overlay2/layer", True), ("image/overlay2/layerdb", True), ("volumes/data", False)):
        (data / folder).mkdir(parents=True)
        (data / folder / "file").touch()
        with running(python("file = open(sys.argv[1] + '/file')", data / folder)) as child:
            assert [each.pid for each in users(used)] == [child.pid] * counts


def test_not_itself_nor_who_started_it(store, monkeypatch):
    """This process does not count, though it has files open and works in the root."""
    monkeypatch.chdir(store)
    with (store / "file").open("rb"):
        assert users(root(store)) == []


@pytest.mark.root
@needs_root
def test_same_path_in_another_namespace(store, tmp_path):
    """A process that has the same path of another mount open does not count; by another path, it does."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").touch()
    hidden = shell(f"mount --bind {other} {store}; exec 3<{store}/file")
    with running(["unshare", "-m", "sh", "-c", hidden]):
        assert users(root(store)) == []
    elsewhere = shell(f"mount --bind {store} {other}; exec 3<{other}/file")
    with running(["unshare", "-m", "sh", "-c", elsewhere]) as child:
        assert [each.pid for each in users(root(store))] == [child.pid]


@pytest.mark.root
@needs_root
def test_chrooted_process(store):
    """A process whose root folder lies in the store counts."""
    code = "import os; os.chdir('/'); os.chroot(sys.argv[1] + '/inner')"
    (store / "inner").mkdir()
    with running(python(code, store)) as child:
        found = users(root(store))
    assert [(each.pid, "root folder" in each.why) for each in found] == [(child.pid, True)]


@pytest.mark.root
@needs_root
def test_chrooted_process_of_another_namespace(store, tmp_path):
    """A process counts by a file that it has open though its root folder is not the topmost of its namespace."""
    (tmp_path / "host").mkdir()
    inner = shell(f"exec 3<{store}/file")
    command = f"mount --rbind / {tmp_path}/host; exec chroot {tmp_path}/host sh -c '{inner}'"
    with running(["unshare", "-m", "sh", "-c", command]) as child:
        assert [each.pid for each in users(root(store))] == [child.pid]
    assert users(root(store)) == []


@pytest.mark.parametrize("name", ["a\rb", "a\nb", "a\\040b"])
def test_mapped_below_a_strange_name(tmp_path, name):
    """A mapped file counts whatever bytes its path has: the kernel escapes line ends only."""
    store = tmp_path / name
    store.mkdir()
    (store / "file").write_bytes(b"x" * 8192)
    with running(python(_MAPPED, store)) as child:
        assert [each.pid for each in users(root(store))] == [child.pid]


def named(folder: Path, name: str) -> Path:
    """A Python by another name: what a process is called is what its file is called."""
    path = folder / name
    shutil.copy(os.path.realpath(sys.executable), path)
    return path


def daemon(folder, name, *flags):
    """A process called like an engine, with these flags, that has nothing open."""
    script = folder / "script.py"
    script.write_text("import sys\nprint('ready', flush=True)\nsys.stdin.read()")
    return [named(folder, name), script, *flags]


def test_a_dockerd_by_its_environment(store, tmp_path):
    """Dockerd uses the root that DOCKER_CONTAINERD_ROOT names, embedded or by the containerd that it starts."""
    other = tmp_path / "other"
    other.mkdir()
    flags = (f"--data-root={other}", "--containerd=/run/other/containerd.sock")
    moved = ["env", f"DOCKER_CONTAINERD_ROOT={store}", *daemon(tmp_path, "dockerd", *flags)]
    here = root(store, Engine.DOCKER, states=(RawPath(b"/run/docker/containerd/daemon"),))
    with running(moved) as child:
        (found,) = users(here)
        assert (found.pid, found.name) == (child.pid, b"dockerd")
        assert found.why == f"has its containerd work in {store}"
        assert os.fsencode(store) in containerd_roots()
        assert users(root(other / "store", Engine.DOCKER)) == []
    with running(moved[2:]):
        assert users(here) == []
        assert os.fsencode(store) not in containerd_roots()


@pytest.mark.root
@needs_root
def test_a_dockerd_in_another_mount_namespace_names_no_root_here(store, tmp_path):
    """A path there is not one of this host."""
    moved = ["env", f"DOCKER_CONTAINERD_ROOT={store}", *daemon(tmp_path, "dockerd")]
    with running(["unshare", "-m", *moved]):
        assert os.fsencode(store) not in containerd_roots()


@pytest.mark.root
@needs_root
def test_another_users_dockerd_names_no_root(store):
    """Any user can call a process dockerd, and would choose what a run of root removes from."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        sleep = shutil.copy("/bin/sleep", f"{folder}/dockerd")
        os.chmod(sleep, 0o755)
        variable = {"DOCKER_CONTAINERD_ROOT": str(store)}
        for options, counts in (({"user": 65534}, False), ({}, True)):
            with subprocess.Popen([sleep, "60"], env=variable, **options) as child:
                try:
                    # Popen comes back when exec closes its pipe; only then the kernel says where the environment lies
                    # (fs/binfmt_elf.c create_elf_tables, Linux 6.1).
                    while not Path(f"/proc/{child.pid}/environ").read_bytes():
                        time.sleep(0.001)
                    assert (os.fsencode(store) in containerd_roots()) is counts
                finally:
                    child.kill()


@pytest.mark.parametrize(
    ("name", "flags", "engine", "counts"),
    [
        ("containerd", ["--root", "{store}"], Engine.CONTAINERD, True),
        ("containerd", ["--root={other}"], Engine.CONTAINERD, False),
        ("containerd", ["--root={other}", "--root", "{store}"], Engine.CONTAINERD, True),
        ("containerd", ["--root={store}", "--root={other}"], Engine.CONTAINERD, False),
        ("containerd", ["-c", "{other}/config.toml"], Engine.CONTAINERD, True),
        ("dockerd", ["--data-root", "{data}"], Engine.DOCKER, True),
        ("dockerd", ["-g", "{other}"], Engine.DOCKER, False),
        ("dockerd", ["-g", "{other}"], Engine.CONTAINERD, True),
        ("dockerd", ["-g", "{other}", "--containerd=/run/other/containerd.sock"], Engine.CONTAINERD, False),
        ("k3s", ["server"], Engine.K3S, True),
        ("k3s", ["server"], Engine.CONTAINERD, False),
        ("kubelet", [], Engine.K3S, True),
        ("kubelet", [], Engine.CONTAINERD, True),
        ("kubelet", ["--container-runtime-endpoint=unix:///run/crio/crio.sock"], Engine.CONTAINERD, False),
        ("kubelet", [], Engine.DOCKER, False),
        ("buildkitd", [], Engine.CONTAINERD, True),
        ("buildkitd", ["--containerd-worker=false"], Engine.CONTAINERD, False),
        ("kubelite", [], Engine.MICROK8S, True),
    ],
)
def test_daemons_by_flags(store, tmp_path, *, name, flags, engine, counts):
    """Daemons that have nothing open are judged by flags, settings and kind."""
    data, other = tmp_path / "data", tmp_path / "other"
    data.mkdir()
    other.mkdir()
    (other / "config.toml").write_text(f'root = "{store}"\n')
    flags = [flag.format(store=store, other=other, data=data) for flag in flags]
    here = root(store, engine, states=(RawPath(b"/run/containerd"),), docker=(RawPath(os.fsencode(data)),))
    with running(daemon(tmp_path, name, *flags)) as child:
        found = users(here)
    assert [each.pid for each in found] == ([child.pid] if counts else [])
    if counts:
        assert "end process" not in found[0].stop


@pytest.mark.parametrize(
    ("flags", "counts"),
    [
        (["--root", "{top}"], True),
        (["--root={other}"], False),
        (["--config", "{top}/own.toml"], True),
        (["--config", "{top}/other.toml"], False),
    ],
)
def test_a_buildkitd_by_its_root(tmp_path, flags, counts):
    """It counts for the workers of the root that its flags or its settings name."""
    top, other = tmp_path / "top", tmp_path / "other"
    worker = top / "runc-overlayfs"
    worker.mkdir(parents=True)
    other.mkdir()
    for name, where in (("own", top), ("other", other)):
        (top / f"{name}.toml").write_text(f'root = "{where}"\n')
    flags = [flag.format(top=top, other=other) for flag in flags]
    layout = worker_layout(b"overlayfs")
    mine = Root(RawPath(os.fsencode(worker)), Engine.BUILDKIT, layout=layout, buildkit=(RawPath(os.fsencode(top)),))
    with running(daemon(tmp_path, "buildkitd", *flags)) as child:
        found = users(mine)
    assert [each.pid for each in found] == ([child.pid] if counts else [])


def test_another_run_of_drydock(store, tmp_path):
    """It is named, and the advice is to let it end."""
    script = tmp_path / "script.py"
    script.write_text("import sys\nfile = open(sys.argv[1] + '/file')\nprint('ready', flush=True)\nsys.stdin.read()")
    with running([named(tmp_path, "drydock"), script, store]):
        (user,) = users(root(store))
    assert user.name == b"drydock"
    assert user.stop.startswith("let it end")
    # Started as a module, the kernel knows it as python.
    assert program([b"/usr/bin/python3", b"-m", b"drydock", b"clean"], b"python3") == b"drydock"


def test_daemons_of_this_host_leave_copies_alone(store, tmp_path):
    """A kubelet of this host says nothing about a root that this host's settings do not know."""
    with running(daemon(tmp_path, "kubelet")):
        assert users(root(store)) == []


@pytest.mark.parametrize("how", ["link", "work", "state", "address", "other"])
def test_shims(store, tmp_path, how):
    """A shim counts for the root that its container's work folder is in; for others it does not."""
    bundle = tmp_path / "run/io.containerd.runtime.v2.task/moby/abc"
    work = store / "io.containerd.runtime.v2.task/moby/abc"
    bundle.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    states = ()
    if how == "link":
        (bundle / "work").symlink_to(work)
    elif how == "work":
        work.mkdir(parents=True)
    elif how in ("state", "address"):
        states = (RawPath(os.fsencode(tmp_path / "run")),)
    else:
        work.mkdir(parents=True)
        (bundle / "work").symlink_to(tmp_path / "elsewhere")
    arguments = daemon(tmp_path, "containerd-shim-runc-v2", "-namespace", "moby", "-id", "abc")
    if how == "address":
        arguments += ["-address", str(tmp_path / "run/containerd.sock")]
    with running(arguments, cwd=tmp_path if how == "address" else bundle) as child:
        found = users(root(store, states=states))
    assert [(each.pid, each.container) for each in found] == (
        [] if how == "other" else [(child.pid, (b"moby", b"abc"))]
    )


ID = b"3f" * 32


@pytest.mark.parametrize(
    ("groups", "container"),
    [
        (b"0::/system.slice/docker-%s.scope\n" % ID, ID),
        (b"12:memory:/docker/%s\n1:name=systemd:/docker/%s\n" % (ID, ID), ID),
        (b"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-%s.scope\n" % ID, ID),
        (b"0::/lxc.payload.web/system.slice/nginx.service\n", b"web"),
        (b"0::/lxc.payload.web/system.slice/docker-%s.scope\n" % ID, ID),
        (b"7:cpu:/lxc/old/x\n", b"old"),
        (b"0::/user.slice/user-0.slice/session-1.scope\n", b""),
        (b"", b""),
    ],
)
def test_the_innermost_container_of_control_groups(groups, container):
    """As engines of today and of before name their groups, with either driver."""
    assert container_in(groups) == container


def test_a_process_has_a_name():
    """This one's, as the kernel has it; of one that is not there nothing is known."""
    assert name_and_container(os.getpid())[0]
    assert name_and_container(1 << 30) == (b"", b"")

"""Nothing of drydock's own lies in a folder that an engine owns, by whatever path it is named."""

from __future__ import annotations

import os
import subprocess

import pytest
from tests.engines.containerd import Containerd
from tests.engines.images import Image, busybox_layer, write_archive
from tests.engines.sandbox import Sandbox
from tests.engines.unavailable import EngineUnavailable
from tests.support.privilege import needs_root

from drydock.model.errors import Refused
from drydock.model.names import RawPath
from drydock.model.roots import Engine, Root, worker_layout
from drydock.reclaim.engine_folders import find_owner, refuse_engine_folders

SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"
OWNED = [
    "containerd", "buildkit", "overlay2", "image", "containers", "volumes", "network", "plugins", "swarm", "tmp",
    "rootfs", "runtimes", "trust", "100000.100000", "lost+found", "tmp-old", "policy", "vfs", "fuse-overlayfs",
]  # fmt: skip


@pytest.fixture
def data(tmp_path):
    """A Docker data root with a containerd root in it, as dockerd makes both."""
    path = tmp_path / "docker"
    for name in ("containers", "image", "volumes", "network", "plugins", f"containerd/daemon/{SNAPSHOTS}"):
        (path / name).mkdir(parents=True)
    (path / "containerd/daemon/io.containerd.metadata.v1.bolt").mkdir()
    return path


@pytest.fixture
def root(data):
    """The root, as it is found."""
    return Root(raw(data / "containerd/daemon"), Engine.DOCKER, docker=(raw(data),))


def raw(path):
    """A path as it is kept."""
    return RawPath(os.fsencode(path))


@pytest.mark.parametrize("what", ["state", "quarantine"])
@pytest.mark.parametrize("tail", ["", "/new", "/a/b/c"])
@pytest.mark.parametrize("name", OWNED)
def test_a_folder_that_dockerd_owns_is_refused(data, root, name, tail, what):
    """Each of them, itself and what is or will be in it, whether it is there already or not."""
    with pytest.raises(Refused, match="which an engine owns"):
        refuse_engine_folders(root, **{what: raw(f"{data}/{name}{tail}")})


@pytest.mark.parametrize("what", ["state", "quarantine"])
@pytest.mark.parametrize("tail", ["", "/new", f"/{SNAPSHOTS}/new", "/io.containerd.content.v1.content/ingest/x"])
def test_a_containerd_root_is_refused(data, root, tail, what):
    """All of it, also of another containerd than the one that is worked on."""
    with pytest.raises(Refused, match="which an engine owns"):
        refuse_engine_folders(root, **{what: raw(f"{root.path.decode()}{tail}")})
    other = data.parent / "containerd"
    (other / "io.containerd.content.v1.content").mkdir(parents=True)
    with pytest.raises(Refused, match="which an engine owns"):
        refuse_engine_folders(root, **{what: raw(f"{other}{tail}")})


def test_a_data_root_that_no_setting_names_is_known_by_what_is_in_it(data, tmp_path):
    """The root that is worked on is another's; the data root still keeps drydock's files out of its folders."""
    root = Root(raw(tmp_path / "elsewhere"), Engine.CONTAINERD)
    assert "an engine owns" in find_owner(raw(data / "containers/new"), root)
    assert find_owner(raw(data / "aside"), root) is None


def test_a_data_root_without_a_containerd_root_is_like_any_other(data):
    """Its folders are dockerd's, and a new one in it is not."""
    root = Root(raw(data), Engine.DOCKER, docker=(raw(data),))
    assert "choose a new folder in it" in find_owner(raw(data), root)
    assert "an engine owns" in find_owner(raw(data / "containers/new"), root)
    assert find_owner(raw(data / "drydock-aside"), root) is None


def test_a_data_root_itself_is_refused_and_a_new_folder_in_it_is_not(data, root):
    """The runs' folders would stand among Docker's; one folder for them may, as it must be on that file system."""
    assert "choose a new folder in it" in find_owner(raw(data), root)
    assert find_owner(raw(data / "drydock-aside"), root) is None
    (data / "drydock-aside").mkdir()
    assert find_owner(raw(data / "drydock-aside"), root) is None
    assert find_owner(raw(data / "drydock-aside/deeper"), root) is None
    assert find_owner(raw(data.parent), root) is None


@pytest.mark.parametrize("part", ["", "new", "runc-overlayfs", "runc-overlayfs/snapshots/new"])
def test_the_folders_of_a_buildkitd(tmp_path, root, part):
    """Nothing lies in the root of a buildkitd whose worker is cleaned, nor in a worker of another one."""
    worker = tmp_path / "buildkit/runc-overlayfs"
    (worker / "content").mkdir(parents=True)
    own = Root(raw(worker), Engine.BUILDKIT, layout=worker_layout(b"overlayfs"), buildkit=(raw(worker.parent),))
    assert "an engine owns" in find_owner(raw(worker.parent / part), own)
    assert find_owner(raw(tmp_path / "apart"), own) is None
    assert (find_owner(raw(worker.parent / part), root) is None) is ("runc" not in part)


def test_folders_named_as_dockers_are_the_users_elsewhere(data, root):
    """``tmp`` or ``image`` beside a data root, or in a folder of its own in one, is nobody's but the user's."""
    for name in ("tmp", "image", "containers"):
        assert find_owner(raw(data.parent / name / "new"), root) is None
        assert find_owner(raw(data / "drydock-aside" / name), root) is None


@pytest.mark.parametrize("link", ["state", "above", "engine"])
def test_a_symbolic_link_leads_to_the_folder(data, root, tmp_path, link):
    """A link at the end, a link on the way, and an engine's folder that is a link itself."""
    if link == "state":
        (tmp_path / "state").symlink_to(data / "containers")
        chosen = tmp_path / "state"
    elif link == "above":
        (tmp_path / "state").symlink_to(data)
        chosen = tmp_path / "state/containers/new"
    else:
        (data / "overlay2").symlink_to(tmp_path / "disk")
        (tmp_path / "disk").mkdir()
        chosen = tmp_path / "disk/new"
    assert "an engine owns" in find_owner(raw(chosen), root)


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("part", ["containers", "containers/deep", f"containerd/daemon/{SNAPSHOTS}", "."])
@pytest.mark.parametrize("tail", ["", "/new"])
def test_a_bind_mount_leads_to_the_folder(data, root, tmp_path, part, tail):
    """A mount elsewhere of the folder, of a part of it, and of what holds it."""
    (data / "containers/deep").mkdir()
    (tmp_path / "state").mkdir()
    chosen = f"{tmp_path}/state{'/volumes' if part == '.' else ''}{tail}"
    subprocess.run(["mount", "--bind", data / part, tmp_path / "state"], check=True)
    try:
        assert "an engine owns" in find_owner(raw(chosen), root)
        if part == ".":
            assert find_owner(raw(tmp_path / "state/drydock-aside"), root) is None
    finally:
        subprocess.run(["umount", tmp_path / "state"], check=True)


@pytest.mark.root
@pytest.mark.engine
@needs_root
@pytest.mark.slow
def test_why_a_containerd_root_is_refused(tmp_path):
    """One collection of a real containerd removes a folder in ``snapshots`` with all that is in it."""
    store, archive = tmp_path / "store", tmp_path / "image.tar"
    store.mkdir()
    write_archive(archive, {"docker.io/library/x:1": Image((busybox_layer(),))})
    try:
        with Sandbox(tmp_path) as sandbox, Containerd(sandbox, store, collect=False) as engine:
            engine.ctr("images", "import", archive, namespace="ns")
            run = store / SNAPSHOTS / "20260101T000000Z-1"
            run.mkdir(parents=True, mode=0o700)
            (run / "journal.jsonl").write_text("{}\n")
            engine.ctr("images", "rm", "docker.io/library/x:1", namespace="ns")
            engine.collect()
            assert not run.exists()
    except EngineUnavailable as error:
        pytest.skip(str(error))

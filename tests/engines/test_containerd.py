"""The harness itself: real engines start on captures, and say of them what was written down."""

import pytest
from tests.engines.containerd import Containerd
from tests.engines.docker import Docker
from tests.engines.listing import dropped, listed, on_disk
from tests.engines.sandbox import Sandbox
from tests.engines.suite import Suite, rootfs
from tests.engines.unavailable import EngineUnavailable
from tests.support.captures import CaptureUnavailable, capture, unpack

pytestmark = [pytest.mark.root, pytest.mark.engine]


@pytest.fixture
def sandbox(tmp_path):
    """A sandbox on this machine's own file system."""
    try:
        with Sandbox(tmp_path) as made:
            yield made
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def namespaces(tmp_path):
    """The capture of containerd 1.6 with three namespaces, and its root unpacked."""
    taken = capture("containerd-1.6-namespaces")
    tree = tmp_path / "host"
    tree.mkdir()
    try:
        return taken, unpack(taken, tree) / taken.root
    except CaptureUnavailable as reason:
        pytest.skip(str(reason))


def start(sandbox, root, *, collect):
    """This machine's containerd, if it is of the version that the capture was made by."""
    engine = Containerd(sandbox, root, collect=collect)
    try:
        engine.__enter__()
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    if not engine.version().startswith("1.6."):
        pytest.skip(f"this machine's containerd is {engine.version()}, the capture's 1.6")
    return engine


def test_lists_exactly_what_was_written_down(sandbox, namespaces):
    """Containerd without collections lists the capture as its JSON says, and keeps every blob and folder."""
    taken, root = namespaces
    engine = start(sandbox, root, collect=False)
    try:
        assert listed(engine) == taken.namespaces
    finally:
        engine.stop()
    assert on_disk(root) == taken.facts["disk_before"]


def test_collects_when_it_is_let(sandbox, namespaces):
    """With collections on, at least what was unreachable when the capture was taken goes, and the sandbox ends."""
    taken, root = namespaces
    engine = start(sandbox, root, collect=True)
    try:
        engine.collect()
        gone = dropped(taken.namespaces, listed(engine))
    finally:
        engine.stop()
    # Leases that were alive then may have expired since, so more may go than was written down.
    for namespace, kinds in taken.facts["dropped_by_gc"].items():
        for kind, names in kinds.items():
            assert set(names) <= set(gone[namespace][kind])
    assert not engine.daemon.running


@pytest.mark.slow
def test_docker_starts_on_its_capture(tmp_path):
    """Docker 28.5 starts on the interrupted pull, and has its image, its container and the partial layer."""
    taken = capture("docker-28.5-interrupted-pull")
    tree = tmp_path / "host"
    tree.mkdir()
    try:
        data = unpack(taken, tree) / (taken.docker or "")
        with Sandbox(tmp_path, rootfs(Suite.FORKY), data) as inside, Docker(inside) as docker:
            assert docker.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split() == ["127.0.0.1:5000/shop:1"]
            assert docker.docker("ps", "-a", "--format", "{{.Names}}").split() == ["web"]
            init = inside.init
    except (EngineUnavailable, CaptureUnavailable) as reason:
        pytest.skip(str(reason))
    assert not init.is_running()

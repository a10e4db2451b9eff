"""``clean --drop container=SANDBOX`` of a pod whose network CNI made, as ``crictl stopp`` and ``crictl rmp`` do it."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from tests.engines.cri import Cri
from tests.engines.hosts import newest, newest_on
from tests.engines.modules import BINARIES, Module, built
from tests.engines.sandbox import Sandbox
from tests.support import gobbolt
from tests.support.newest import ROOT, Newest
from tests.support.records import METADATA

pytestmark = [
    pytest.mark.root,
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif("DRYDOCK_TEST_LONG" not in os.environ, reason="long: ./run prove runs it"),
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]
STATE = "/run/drydock-containerd"
"""Of the containerd in a sandbox."""
BRIDGE = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24"}]]},
        }
    ],
}


def engine_on(sandbox, host):
    """The newest containerd with CNI's plugins, to be started; what CNI keeps lies on the host, too."""
    engine = newest_on(sandbox, host, "overlayfs", collect=True)
    (host / "var/lib/cni").mkdir(exist_ok=True)
    sandbox.run("mount", "--rbind", "/run/host/var/lib", "/var/lib")
    sandbox.show(built(Module.CNI) / BINARIES, f"{STATE}/cni/bin")
    sandbox.run("sh", "-c", f"cat >{STATE}/cni/pods.conflist", stdin=json.dumps(BRIDGE).encode())
    return engine


def crash(sandbox, engine):
    """End all that runs, without a word to containerd; a shim's mounts are taken away, as a restart would do it."""
    engine.kill()
    for process in sandbox.init.children(recursive=True):
        if "shim" in process.name() or "busybox" in process.name():
            process.kill()
    mounts = sandbox.run("cat", "/proc/self/mountinfo").stdout.decode()
    for point in re.findall(rf" ({STATE}/io\S+) ", mounts):
        sandbox.run("umount", point)


def records(host):
    """The path of each record in meta.db, as Go reads it."""
    lines = (line.split(" ") for line in gobbolt.dump(host / ROOT / METADATA).splitlines())
    return {path for kind, path, *_ in lines if kind == "bucket"}


def kept_by_cni(host):
    """What CNI and its plugins keep, without their locks and the last address."""
    files = (path for path in (host / "var/lib/cni").rglob("*") if path.is_file())
    return {path.name for path in files if path.name not in ("lock", "last_reserved_ip.0")}


def test_a_pod_with_a_network_of_its_own(tmp_path):
    """The same records stay; the network stays until the printed commands free it: then CNI has the same, too.

    Afterwards the other pod goes as usual, and a new one gets a network.
    """
    made, theirs, work = tmp_path / "made", tmp_path / "theirs", tmp_path / "work"
    (tmp_path / "theirs-work").mkdir()
    work.mkdir()
    with Newest("overlayfs", tmp_path).copy(made), Sandbox(work, programs=newest()) as sandbox:
        with engine_on(sandbox, made) as engine:
            first, second = (Cri(engine).pod(name, network=True) for name in ("first", "second"))
            crash(sandbox, engine)
        subprocess.run(["cp", "-a", made, theirs], check=True)
        with Sandbox(tmp_path / "theirs-work", programs=newest()) as apart, engine_on(apart, theirs) as other:
            Cri(other)("stopp", first)
            Cri(other)("rmp", first)
            other.collect("default")
        before = kept_by_cni(made)
        words = ("clean", "--drop", f"container={first}", "--accept-loss", "all", "--apply", "--yes")
        said = sandbox.run(sys.executable, "-m", "drydock", *words, "--state", "/run/state", "/").stdout.decode()
        assert records(made) == records(theirs)
        assert kept_by_cni(made) == before
        frees = said.partition("its network stays reserved, freed by: ")[2].partition("\n")[0].split("; ")
        assert [shlex.split(each)[0] for each in frees] == ["rm", "rm", "rm", "ip"]
        for each in frees:
            sandbox.run("sh", "-c", each)
        assert kept_by_cni(made) == kept_by_cni(theirs) < before
        assert len(sandbox.run("ip", "netns").stdout.splitlines()) == 1
        with engine:
            cri = Cri(engine)
            listed = cri("pods", "--quiet", "--no-trunc").splitlines()
            assert second in listed
            assert first not in listed
            cri("stopp", second)
            cri("rmp", second)
            assert kept_by_cni(made) == set()
            third = cri.pod("third", network=True)
            assert any(third in name for name in kept_by_cni(made))

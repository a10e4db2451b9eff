"""containerd 2.4 on cleaned roots, as nerdctl and as Kubernetes use it, with each of its snapshotters."""

import hashlib
import json
from pathlib import Path

import pytest
from fixtures.recipes.containerd_newest import served
from fixtures.recipes.docker_interrupted_pull import PORT
from tests.engines.buildkit import Buildkitd
from tests.engines.cri import Cri
from tests.engines.images import base_of, noise
from tests.engines.listing import dropped, listed, names, on_disk
from tests.engines.nerdctl import Nerdctl
from tests.engines.registry import Registry
from tests.engines.sandbox import wait_for
from tests.support.documents import recorded, run
from tests.support.newest import NOT_READ, ROOT, told
from tests.support.records import CONTENT

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

NOT_BUILT = ("erofs", "btrfs")
"""Snapshotters that buildkitd 0.34 does not build with here."""
_BUILD = """\
FROM {registry}/shop:1
RUN --network=none ["/bin/busybox", "sh", "-c", "echo built >/srv/built"]
"""
KINDS = ("content", "ingests", "snapshots")
_LARGE = hashlib.sha256(noise(4, 64) * 40).hexdigest()


def _scan(newest, host):
    (root,) = json.loads(run("scan", "--now", newest.clock, "--format", "json", host))["roots"]
    return root


def _clean(newest, host, tmp_path):
    options = ("--end-leases", "temporary", "--apply", "--yes", "--state", tmp_path / "state")
    run("clean", "--now", newest.clock, *options, host, status=0)


def _only(listing):
    """What drydock and ctr both list, without empty lists."""
    kinds = {each: {kind: lists[kind] for kind in KINDS if lists.get(kind)} for each, lists in listing.items()}
    return {namespace: lists for namespace, lists in kinds.items() if lists}


def test_states_are_what_the_engine_lists_and_drops(newest, tmp_path):
    """Item by item: what is recorded, what a collection drops, and what it drops once the leases are over."""
    with newest.copy(tmp_path / "host") as host:
        root = _scan(newest, host)
        with newest.engine(host, tmp_path / "before", collect=False) as engine:
            before = listed(engine)
        with newest.engine(host, tmp_path / "first", collect=True) as engine:
            engine.collect("default")
            first = dropped(before, listed(engine))
            for namespace, lists in before.items():
                for lease in lists["leases"]:
                    if "containerd.io/gc.expire" in lease["labels"]:
                        engine.ctr("leases", "rm", "--sync", lease["id"], namespace=namespace)
            second = dropped(before, listed(engine))
    assert _only(recorded(root)) == _only(names(before))
    assert _only(recorded(root, "unreachable")) == _only(first) != {}
    assert _only(recorded(root, "unreachable", "leased")) == _only(second)


def test_the_engine_goes_on(newest, tmp_path):
    """On the cleaned root nerdctl and crictl list the same, every blob is whole, and everything runs.

    The interrupted pulls end well; then a collection drops only what drydock says it left for one.
    """
    with newest.copy(tmp_path / "untouched") as host, newest.engine(host, tmp_path / "there", collect=False) as engine:
        as_it_was = told(engine)
    with newest.copy(tmp_path / "cleaned") as host:
        _clean(newest, host, tmp_path)
        left = _only(recorded(_scan(newest, host), "unreachable"))
        assert left == {} or newest.snapshotter in NOT_READ
        with newest.engine(host, tmp_path / "listed", collect=False) as engine:
            assert told(engine) == as_it_was
            before = listed(engine)
            assert all(blob["intact"] for lists in before.values() for blob in lists["content"])
        disk = set(on_disk(host / ROOT))
        (tmp_path / "build").mkdir()
        with newest.engine(host, tmp_path / "collected", collect=True) as engine:
            engine.collect("default")
            assert dropped(before, listed(engine)) == left
            assert told(engine) == as_it_was
            if not left:
                assert set(on_disk(host / ROOT)) == disk
            _use(engine, host, tmp_path / "build")


def _use(engine, host, context):
    (shop,) = {row["digest"] for row in listed(engine)["default"]["images"] if row["name"].endswith("/shop:1")}
    with Registry(engine.sandbox.listen(PORT), served(base_of(host / ROOT / CONTENT, shop))) as registry:
        _use_nerdctl(Nerdctl(engine), registry)
        if engine.snapshotter not in NOT_BUILT:
            _build(engine, registry, context)
        _use_kubernetes(Cri(engine), registry)


def _use_nerdctl(nerdctl, registry):
    """Start what was there, run its image, and pull the other to its end."""
    for name in ("web", "made"):
        nerdctl("start", name)
        nerdctl("wait", name)
    assert nerdctl("inspect", "--format", "{{.State.ExitCode}}", "web", "made").split() == ["0", "0"]
    nerdctl.pull(f"{registry.address}/tools:2")
    expected = {"shop:1": {"/srv/shop": _sum(1, 60)}}
    expected["tools:2"] = {f"/opt/{name}": _sum(*made) for name, *made in
                           (("one", 2, 120), ("two", 3, 150), ("three", 5, 100))} | {"/var/large4": _LARGE}  # fmt: skip
    for image, files in expected.items():
        said = nerdctl(
            "run", "--rm", *nerdctl.apart, f"{registry.address}/{image}", "/bin/busybox", "sha256sum", *files
        )
        assert dict(reversed(line.split()) for line in said.splitlines()) == files


def _build(engine, registry, context):
    """Build on an image that was there, by a buildkitd that works in this containerd, and run the result."""
    (context / "Dockerfile").write_text(_BUILD.format(registry=registry.address))
    at = engine.sandbox.show(context, "/run/build")
    nerdctl = Nerdctl(engine)
    with Buildkitd(engine.sandbox, Path("/run/buildkit-root"), containerd=engine, namespace="default") as buildkit:
        nerdctl("build", "--buildkit-host", buildkit.address, "--quiet", "--tag", "built:1", at)
    assert nerdctl("run", "--rm", *nerdctl.apart, "built:1", "/bin/busybox", "cat", "/srv/built") == "built"


def _use_kubernetes(cri, registry):
    """Take the dead pod away, and run another with both images, as a kubelet would."""
    late = f"{registry.address}/late:1"
    cri("pull", late)
    (dead,) = cri("pods", "--quiet", "--no-trunc").split()
    cri("rmp", "--force", dead)
    pod = cri.pod("again")
    checks = {
        "job:1": ("/srv/job", _sum(30, 40)),
        "late:1": ("/opt/large", _large(32)),
    }
    for image, (path, expected) in checks.items():
        check = f'test "$(/bin/busybox sha256sum <{path} | /bin/busybox cut -c1-64)" = {expected}'
        made = cri.container(pod, image.partition(":")[0], f"{registry.address}/{image}", "sh", "-c", check)
        cri.start(made)
        wait_for(lambda made=made: cri.state(made)["state"] == "CONTAINER_EXITED", 30, f"the end of {image}'s")
        assert cri.state(made)["exitCode"] == 0


def _sum(seed, kib):
    return hashlib.sha256(noise(seed, kib)).hexdigest()


def _large(seed):
    return hashlib.sha256(noise(seed, 64) * 40).hexdigest()

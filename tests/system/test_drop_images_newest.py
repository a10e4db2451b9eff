"""``clean --drop`` of images in containerd's own namespaces: as ``nerdctl image prune`` and ``crictl rmi --prune``."""

import subprocess
from pathlib import Path

import pytest
from fixtures.recipes.containerd_newest import served
from fixtures.recipes.docker_interrupted_pull import PORT
from tests.engines.cri import Cri
from tests.engines.images import base_of
from tests.engines.listing import listed, names, on_disk
from tests.engines.nerdctl import Nerdctl
from tests.engines.registry import Registry
from tests.engines.sandbox import wait_for
from tests.support.documents import run
from tests.support.newest import ROOT, Newest, told
from tests.support.records import CONTENT

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
def host(tmp_path):
    """A host whose committed image, and whose image of a dead pod, no container uses any more."""
    newest = Newest("overlayfs", tmp_path)
    with newest.copy(tmp_path / "host") as made:
        with newest.engine(made, tmp_path / "first", collect=True) as engine:
            Nerdctl(engine)("rm", "web")
            cri = Cri(engine)
            cri("rmp", "--force", *cri("pods", "--quiet", "--no-trunc").split())
            engine.collect("default")
        yield newest, made


def test_it_takes_what_nerdctl_and_crictl_prune(host, tmp_path):
    """The same records and data stay; then crictl pulls a dropped image again, and its container runs."""
    newest, pruned = host
    dropped = tmp_path / "dropped"
    subprocess.run(["cp", "-a", pruned, dropped], check=True)
    with newest.engine(pruned, tmp_path / "prunes", collect=True) as engine:
        before = names(listed(engine))
        Nerdctl(engine)("image", "prune", "--all", "--force")
        Cri(engine)("rmi", "--prune")
        engine.collect("default")
        as_pruned = told(engine), names(listed(engine))
    run("clean", "--now", newest.clock, "--drop", "unused-images", "--accept-loss", "all", "--apply", "--yes",
        "--state", tmp_path, dropped, status=0)  # fmt: skip
    with newest.engine(dropped, tmp_path / "goes-on", collect=True) as engine:
        engine.collect("default")
        assert (told(engine), names(listed(engine))) == as_pruned
        gone = {each: set(before[each]["images"]) - set(as_pruned[1][each]["images"]) for each in before}
        assert {each.rpartition("/")[2] for each in gone["default"]} == {"orders:1"}
        assert any(each.endswith("/job:1") for each in gone["k8s.io"])
        assert set(on_disk(dropped / ROOT)) <= set(on_disk(pruned / ROOT))
        _pull_again(engine, dropped)


def test_it_takes_what_only_an_id_names(host, tmp_path):
    """Of an image that only the id of the CRI plugin names, the same goes as with ``crictl rmi`` of the id."""
    newest, removed = host
    with newest.engine(removed, tmp_path / "removes", collect=False) as engine:
        rows = listed(engine)["k8s.io"]["images"]
        (target,) = {row["digest"] for row in rows if row["name"].endswith("/job:1")}
        (only,) = (row["name"] for row in rows if row["digest"] == target and row["name"].startswith("sha256:"))
        for row in rows:
            if row["digest"] == target and row["name"] != only:
                engine.ctr("images", "rm", row["name"], namespace="k8s.io")
    dropped = tmp_path / "dropped"
    subprocess.run(["cp", "-a", removed, dropped], check=True)
    with newest.engine(removed, tmp_path / "by-id", collect=True) as engine:
        assert only in names(listed(engine))["k8s.io"]["images"]
        Cri(engine)("rmi", only)
        engine.collect("default")
        as_removed = told(engine), names(listed(engine))
    run("clean", "--now", newest.clock, "--drop", "image-id-only", "--accept-loss", "all", "--apply", "--yes",
        "--state", tmp_path, dropped, status=0)  # fmt: skip
    with newest.engine(dropped, tmp_path / "goes-on", collect=True) as engine:
        engine.collect("default")
        assert (told(engine), names(listed(engine))) == as_removed
        assert only not in as_removed[1]["k8s.io"]["images"]


def _pull_again(engine, host: Path):
    """As a kubelet does for a pod whose image is not there."""
    (shop,) = {row["digest"] for row in listed(engine)["default"]["images"] if row["name"].endswith("/shop:1")}
    cri = Cri(engine)
    with Registry(engine.sandbox.listen(PORT), served(base_of(host / ROOT / CONTENT, shop))) as registry:
        job = f"{registry.address}/job:1"
        cri("pull", job)
        made = cri.container(cri.pod("again"), "job", job, "sh", "-c", "test -s /srv/job")
        cri.start(made)
        wait_for(lambda: cri.state(made)["state"] == "CONTAINER_EXITED", 30, "its end")
        assert cri.state(made)["exitCode"] == 0

"""``docker image prune`` on real engines: which leases it ends, and what it leaves, as README and hints have it."""

import json

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images, large, start_pull
from tests.engines.hosts import docker_on
from tests.engines.images import Image, busybox_layer, layer, noise
from tests.engines.registry import Registry
from tests.support.captures import capture
from tests.support.documents import run

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

ENDS = {"docker-26.1-interrupted-pull": False, "docker-28.5-interrupted-pull": True, "docker-29-interrupted": True}
"""Whether the engine of a capture ends the lease of an interrupted pull; where it does, drydock's hint says so."""
PULLED = "127.0.0.1/tools"
"""The repository that a test pulls from: containerd's labels have no port."""


@pytest.mark.parametrize("name", ENDS)
def test_prune_ends_the_leases_of_pulls_where_the_hint_says_so(name, unpacked_anew, tmp_path):
    """An interrupted pull is freed since Docker 27.4, and not before.

    On each version leases of others stay, and so do a download without a record and what another snapshotter left.
    """
    of = capture(name)
    host = unpacked_anew(of)
    served = images(busybox_layer())
    served["tools:3"] = Image((busybox_layer(), large(6), layer({"opt/": b"", "opt/six": noise(6, 90)})))
    orphans = [
        host / of.root / "io.containerd.content.v1.content/ingest" / ("7" * 64),
        host / of.root / "io.containerd.snapshotter.v1.native/snapshots/777777",
    ]
    for orphan in orphans:
        orphan.mkdir(parents=True)
    with docker_on(of, host, tmp_path / "engine") as docker:
        with Registry(docker.sandbox.listen(PORT), served) as registry:
            reports = [scan_beside(host, tmp_path / "before.json")]
            start_pull(docker, registry, "tools:2", served["tools:2"], held=3).interrupt()
            stopped = pulling(docker)
            reports.append(scan_beside(host, tmp_path / "after.json"))
            assert [(pull["name"], pull["change"]) for pull in changed_pulls(reports)] == [(PULLED, "came")]
            assert [(pull["name"], pull["change"]) for pull in changed_pulls(reports[::-1])] == [(PULLED, "went")]
            for namespace in ("moby", "elsewhere"):
                docker.ctr("leases", "create", "--id", "of-ctr", namespace=namespace)
            hint = "docker image prune -f" in run("pulls", "--live", host)
            assert hint is ENDS[name]
            running = start_pull(docker, registry, "tools:3", served["tools:3"], held=1)
            both = pulling(docker)
            assert stopped
            assert len(both - stopped) == 1
            # Beside the engine, pulls under way are listed like those that were interrupted.
            document = json.loads(run("pulls", "--live", "--format", "json", host))
            listed = [pull for root in document["roots"] for pull in root["pulls"]]
            assert both <= {lease["id"] for pull in listed for lease in pull["leases"]}
            docker.docker("image", "prune", "-f")
            # The one that is under way loses its lease too.
            assert pulling(docker) == (set() if ENDS[name] else both)
            if not ENDS[name]:
                docker.docker("system", "prune", "-a", "-f")
                assert pulling(docker) == both
            running.interrupt()
            assert all(orphan.exists() for orphan in orphans)
        assert "of-ctr" in docker.ctr("leases", "ls", "-q").split()
        assert "of-ctr" in docker.ctr("leases", "ls", "-q", namespace="elsewhere").split()


def scan_beside(host, file):
    """A scan beside the engine, as a file."""
    run("scan", "--live", "--holders", "--format", "json", "-o", file, host)
    return file


def changed_pulls(reports):
    """The pulls that came or went between two scans."""
    document = json.loads(run("compare", "--format", "json", *reports, status=0))
    return [each for each in document["differences"] if each["kind"] == "pull"]


def pulling(docker):
    """The leases that end by themselves, but for the one that this test made, as the engine lists them."""
    lines = docker.ctr("leases", "ls").splitlines()[1:]
    return {line.split()[0] for line in lines if "gc.expire" in line} - {"of-ctr"}

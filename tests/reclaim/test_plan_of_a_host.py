"""A plan made of a whole host is carried out on its root as that host knows it, with the owners that it gives."""

import copy
import json

import pytest
from fuzz.stores import METADATA, digest, put
from tests.support.documents import run
from tests.support.gowriting import go_time

OWNER = b"cd" * 32
pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path):
    """A mounted host with a lease of a container that dockerd has not."""
    host = tmp_path / "host"
    (host / "var/lib/docker/containers").mkdir(parents=True)
    root = host / "var/lib/containerd"
    metadata = copy.deepcopy(METADATA)
    metadata[b"v1"][b"moby"][b"leases"][OWNER] = {b"createdat": go_time(1500), b"content": {digest(7): b""}}
    put(root, metadata)
    return host


def planned(place, file):
    """Plan to end what has no owner; the leases that end, and the host that the plan is of."""
    run("plan", "--end-leases", "ownerless", "-o", file, place, status=1)
    (plan,) = json.loads(file.read_text())["plans"]
    return {lease["id"] for lease in plan["leases"]}, plan["host"]


@pytest.mark.parametrize("settings", [True, False])
def test_a_host_with_and_without_settings(host, tmp_path, settings):
    """Nothing changed in between, so it is not stale: also where there is no /etc that tells a host by its root."""
    if settings:
        (host / "etc").mkdir()
    file = tmp_path / "plan.json"
    assert planned(host, file) == ({OWNER.decode(), "pull"}, str(host))
    run("apply", "--state", tmp_path / "state", file, status=0)
    run("plan", "--end-leases", "ownerless", "-o", file, host, status=0)


def test_a_root_below_a_folder_that_only_looks_like_a_host(host, tmp_path):
    """Given by itself, a root is no part of what has no settings: it has no owner, and apply sees the same."""
    file = tmp_path / "plan.json"
    leases, of = planned(host / "var/lib/containerd", file)
    assert OWNER.decode() not in leases
    assert of == "/"
    run("apply", "--state", tmp_path / "state", file, status=0)


def test_a_host_that_went_away(host, tmp_path):
    """The root is not there any more."""
    file = tmp_path / "plan.json"
    planned(host, file)
    host.rename(tmp_path / "elsewhere")
    run("apply", "--state", tmp_path / "state", file, status=8)

"""``--end-lease`` where a name fits several leases: how each can be named is said, and that works."""

import copy

import pytest
from click.testing import CliRunner
from fuzz.stores import METADATA, put

from drydock.cli import main

ROOTS = ("var/lib/containerd", "var/lib/docker/containerd/daemon")
LEASE = "pull"


@pytest.fixture
def host(tmp_path):
    """A mounted host with Docker; nothing in it yet."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "var/lib/docker/containers").mkdir(parents=True)
    return tmp_path


def ending(name, where):
    """Exit status and what is said of a plan that ends a lease of this name."""
    said = CliRunner().invoke(main, ["plan", "--end-lease", name, str(where)])
    return said.exit_code, said.stderr


def elsewhere():
    """The same records, with the namespace called otherwise."""
    metadata = copy.deepcopy(METADATA)
    metadata[b"v1"][b"other"] = metadata[b"v1"].pop(b"moby")
    return metadata


@pytest.mark.parametrize("name", [LEASE, f"moby/{LEASE}"])
def test_one_id_in_two_roots_is_told_apart_by_the_root(host, name):
    """Both roots are named, and either one as WHERE will do."""
    for root in ROOTS:
        put(host / root, METADATA)
    status, errors = ending(name, host)
    assert status == 16
    assert "name one of them as WHERE" in errors
    assert "namespace" not in errors
    for root in ROOTS:
        assert str(host / root) in errors
        assert ending(name, host / root)[0] == 1


def test_one_id_in_two_namespaces_is_told_apart_by_the_namespace(host):
    """Also where they are of two roots."""
    put(host / ROOTS[0], METADATA)
    put(host / ROOTS[1], elsewhere())
    status, errors = ending(LEASE, host)
    assert status == 16
    assert errors.endswith("; name one with its namespace\n")
    for namespace in ("moby", "other"):
        assert f"{namespace}/{LEASE}" in errors
        assert ending(f"{namespace}/{LEASE}", host)[0] == 1

"""What is read of pods: only what the CRI plugin wrote so; nothing else is guessed."""

import os

import pytest
from tests.support import boltwriter

from bbolt_reader import Database
from drydock.evidence.containerd.encoding import encode_uvarint
from drydock.evidence.containerd.pods import read_pods
from drydock.model.container_drops import Pod
from drydock.model.names import RawPath
from drydock.model.roots import Engine, Root

SANDBOX, CONTAINER = b"io.cri-containerd.sandbox.metadata", b"io.cri-containerd.container.metadata"
HOST = b'{"linux":{"security_context":{"namespace_options":{"network":2}}}}'


def wrapped(document):
    """An extension, as containerd writes it."""
    parts = ((b"\x0a", b"github.com/containerd/cri/pkg/store/sandbox/Metadata"), (b"\x12", document))
    return b"".join(tag + encode_uvarint(len(value)) + value for tag, value in parts)


def sandbox(config, path=b""):
    """The metadata of a sandbox."""
    return wrapped(b'{"Version":"v1","Metadata":{"Config":%s,"NetNSPath":"%s"}}' % (config, path))


@pytest.fixture
def read(tmp_path):
    """Reads the pods of a host with these extensions of its containers."""

    def read_extensions(**extensions):
        tree = {name.encode(): {b"extensions": each} for name, each in extensions.items()}
        boltwriter.write(tmp_path / "meta.db", {b"v1": {b"k8s.io": {b"containers": tree}}})
        root = Root(RawPath(b"/none"), Engine.CONTAINERD, RawPath(os.fsencode(tmp_path)))
        with Database.open(tmp_path / "meta.db") as database:
            return read_pods(root, database)

    return read_extensions


def test_networks_and_owners(read, tmp_path):
    """Of the host; of its own, with two addresses, answers and a namespace; of its own, its namespace is gone."""
    own = tmp_path / "run/netns"
    own.mkdir(parents=True)
    (own / "cni-1").touch()
    for network, address, name in (("a", "10.0.0.1", "s2"), ("b", "10.0.0.2", "s2"), ("b", "10.0.0.3", "s3")):
        folder = tmp_path / "var/lib/cni/networks" / network
        folder.mkdir(parents=True, exist_ok=True)
        (folder / address).write_text(f"{name}\r\neth0")
    results = tmp_path / "var/lib/cni/results"
    results.mkdir()
    for name in ("a-s2-eth0", "cni-loopback-s2-lo", "a-s22-eth0", "s2"):
        (results / name).touch()
    pods, owners = read(
        s1={SANDBOX: sandbox(HOST)},
        s2={SANDBOX: sandbox(b"{}", b"/var/run/netns/cni-1")},
        s4={SANDBOX: sandbox(b"{}", b"/var/run/netns/cni-4")},
        c1={CONTAINER: wrapped(b'{"Version":"v1","Metadata":{"SandboxID":"s1"}}')},
    )
    networks = os.fsencode(tmp_path / "var/lib/cni/networks")
    assert pods == {
        b"s1": Pod(),
        b"s2": Pod(
            True,
            (networks + b"/a/10.0.0.1", networks + b"/b/10.0.0.2"),
            b"cni-1",
            tuple(os.fsencode(results / each) for each in ("a-s2-eth0", "cni-loopback-s2-lo")),
        ),
        b"s4": Pod(has_network=True),
    }
    assert owners == {b"c1": b"s1"}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x12",
        b"\x12\xff\xff\xff\xff\x0f{}",
        wrapped(b""),
        wrapped(b"[" * 100_000),
        wrapped(b'{"Version":"v2","Metadata":{"Config":{}}}'),
        wrapped(b'{"Version":"v1","Metadata":null}'),
        wrapped(b'{"Version":"v1","Metadata":{"Config":[]}}'),
        wrapped(b'{"Version":"v1","Metadata":{"Config":{"linux":7}}}'),
        b"\x10\x01" + wrapped(b'{"Version":"v1","Metadata":{"Config":{}}}'),
    ],
)
def test_another_form_is_not_read(value, read):
    """The sandbox is then in doubt, and stays."""
    assert read(s1={SANDBOX: value}, c1={CONTAINER: value}) == ({}, {})

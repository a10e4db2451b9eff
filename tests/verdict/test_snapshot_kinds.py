"""What holds each kind of snapshot that engines make: the table of docs/leases.md, row by row."""

from pathlib import Path

import pytest
from tests.support.values import NOW, blob, digest, image, lease, snapshot, store

from drydock.model.objects import State
from drydock.model.records import Container, Sandbox
from drydock.model.roots import DockerContainer, Owners
from drydock.verdict.judge import judge

CID, MOUNT, RECORD = b"c1" * 32, b"d2" * 32, b"0123456789abcdefghijklmno"
LAYER, POD = b"sha256:" + b"1" * 64, b"e3" * 32
PULL = {b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z", b"moby/prune.images": b"true"}
FLAT = {b"containerd.io/gc.flat": b"x"}
VIEW = {b"buildkit/lease.temporary": b"x", **FLAT}
VOLUME = b"/var/lib/containerd/io.containerd.grpc.v1.cri/image-volumes/" + POD + b"/" + b"4" * 64


def _held(key, by, labels=None, namespace=b"moby"):
    """A snapshot that a lease names."""
    return snapshot(key, namespace=namespace), lease(by, labels, namespace=namespace, snapshots=[key], created=NOW - 5)


KINDS = {
    "a layer of an image": (
        State.LIVE, image(digest(1)), snapshot(LAYER),
        blob(digest(1), {b"containerd.io/gc.ref.content.config": digest(2)}),
        blob(digest(2), {b"containerd.io/gc.ref.snapshot.overlayfs": LAYER}),
    ),
    "moby: a container, its init layer": (
        State.LIVE, snapshot(CID), snapshot(CID + b"-init-key"), snapshot(CID + b"-init"),
        lease(CID, snapshots=[CID, CID + b"-init", CID + b"-init-key"]),
    ),
    "moby: an image mount": (State.LIVE, *_held(MOUNT, MOUNT)),
    "moby: a diff, a commit": (State.UNREACHABLE, snapshot(CID + b"-parent-view-" + b"5" * 64)),
    "moby: the classic builder": (State.LEASED, *_held(b"6" * 64, b"1-AbC_", PULL)),
    "moby: a migration to the image store": (State.LEASED, *_held(b"migration-" + LAYER, b"2-AbC_", PULL)),
    "BuildKit: a cache record, a view of it": (
        State.LIVE, *_held(RECORD, RECORD, FLAT), snapshot(RECORD + b"-view"),
        lease(RECORD + b"-variants", snapshots=[RECORD + b"-view"]),
    ),
    "a layer that is being unpacked": (State.LEASED, *_held(b"extract-1-AbC_ " + LAYER, b"3-AbC_", PULL)),
    "CRI, nerdctl, ctr: a container": (
        State.LIVE, snapshot(b"web", namespace=b"default"),
        Container(b"default", b"web", b"", b"overlayfs", b"web", b"", b"", {}),
    ),
    "CRI: an image volume": (
        State.LIVE, *_held(VOLUME, POD, namespace=b"k8s.io"),
        Sandbox(b"k8s.io", POD, b"", b"", {}, outside_v1=False),
    ),
    "nerdctl: an image mount": (
        State.LIVE,
        snapshot(b"7" * 64 + b"-image-mount", labels={b"containerd.io/gc.root": b"2026"}, namespace=b"default"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("state", "records"), [(found[0], found[1:]) for found in KINDS.values()], ids=KINDS)
def test_every_kind_of_snapshot_that_engines_make(state, records):
    """Held for as long as what holds it is there, on a host where each owner that a row names is there."""
    container = DockerContainer(CID, b"web", mounts=frozenset((MOUNT,)))
    owners = Owners(
        {CID: container}, build_records=frozenset((RECORD,)), image_mounts={MOUNT: container},
        containers_changed=NOW, build_records_changed=NOW,
    )  # fmt: skip
    verdict, reached = judge(store(*records, owners=owners), NOW)
    states = {reached.holders(each.ref)[0] for each in verdict.store.metadata.snapshots}
    assert states == {state}


def test_the_documented_kinds_of_snapshots_are_those():
    """docs/leases.md has a row for each kind tried above, and no other."""
    table = (Path(__file__).parents[2] / "docs/leases.md").read_text().split("## Snapshots\n")[1]
    rows = {line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")}
    assert rows - {"made for", "---"} == set(KINDS)

"""Who holds what: every image, container and lease with all that it reaches, and a way to each record."""

import pytest
from tests.support.captures import captures
from tests.support.scans import ENDED, PULL
from tests.support.values import NOW, blob, digest, image, lease, snapshot, store

from drydock import scan
from drydock.model.leases import LeaseClass
from drydock.model.names import Kind, Ref
from drydock.model.records import Container
from drydock.model.roots import DockerContainer, Owners
from drydock.model.times import parse_time
from drydock.verdict import inventory as module
from drydock.verdict.inventory import take_inventory
from drydock.verdict.judge import judge


def taken(*records, **kwargs):
    """Inventory and verdict of a small store."""
    verdict, reached = judge(store(*records, **kwargs), NOW)
    return take_inventory(verdict, reached), verdict


def held(inventory, verdict):
    """Ids of what each holder reaches, by its first name."""
    return {holder.names[0]: {verdict.objects[place].id for place in holder.objects} for holder in inventory.holders}


def test_each_holder_has_what_it_reaches():
    """Through labels and parents; two images that share a layer have it both; an ended lease holds nothing."""
    inventory, verdict = taken(
        image(digest(1), name=b"a"),
        image(digest(2), name=b"b"),
        blob(digest(1), {b"containerd.io/gc.ref.content.l.0": digest(3)}),
        blob(
            digest(2),
            {b"containerd.io/gc.ref.content.l.0": digest(3), b"containerd.io/gc.ref.snapshot.overlayfs": b"top"},
        ),
        blob(digest(3)),
        blob(digest(4)),
        snapshot(b"base"),
        snapshot(b"top", b"base"),
        snapshot(b"own", b"top"),
        Container(b"moby", b"c", b"", b"overlayfs", b"own", b"", b"", {}),
        lease(b"pull", PULL, blobs=[digest(4)]),
        lease(b"over", ENDED, blobs=[digest(4)]),
    )
    assert held(inventory, verdict) == {
        b"a": {digest(1), digest(3)},
        b"b": {digest(2), digest(3), b"top", b"base"},
        b"c": {b"own", b"top", b"base"},
        b"pull": {digest(4)},
    }
    assert inventory.whole


def test_a_running_container_is_one_holder():
    """Its record and its lease have one id: what it holds is shared with nobody, and its name dockerd's."""
    cid = b"c1" * 32
    inventory, verdict = taken(
        snapshot(b"top"),
        snapshot(cid, b"top"),
        snapshot(cid + b"-init", b"top"),
        Container(b"moby", cid, b"", b"overlayfs", cid, b"", b"", {}),
        lease(cid, {}, snapshots=[cid, cid + b"-init"]),
        owners=Owners({cid: DockerContainer(cid, b"web")}),
    )
    assert held(inventory, verdict) == {cid: {cid, cid + b"-init", b"top"}}
    (holder,) = inventory.holders
    assert (holder.lease, holder.owner, holder.names) == (LeaseClass.CONTAINER, "container web", (cid,))


def test_a_container_has_its_image_mounts():
    """Their leases are no holders beside it, whichever is read first; another container's are its own."""
    cid, other, mount = b"c1" * 32, b"d1" * 32, b"00" * 32
    web = DockerContainer(cid, b"web", mounts=frozenset((mount,)))
    inventory, verdict = taken(
        snapshot(mount),
        snapshot(cid),
        snapshot(other),
        snapshot(other + b"-tools:2"),
        lease(mount, snapshots=[mount]),
        lease(cid, snapshots=[cid]),
        lease(other, snapshots=[other]),
        lease(other + b"-tools:2", snapshots=[other + b"-tools:2"]),
        owners=Owners({cid: web, other: DockerContainer(other, b"db")}, image_mounts={mount: web}),
    )
    assert held(inventory, verdict) == {cid: {cid, mount}, other: {other, other + b"-tools:2"}}
    assert {holder.owner: holder.names for holder in inventory.holders} == {
        "container web": (cid, mount),
        "container db": (other, other + b"-tools:2"),
    }


def test_an_image_has_all_its_names():
    """Names of one target in one namespace are one image, the one that repeats the digest last."""
    inventory, _ = taken(
        image(digest(1), name=b"sha256:abc"),
        image(digest(1), name=b"docker.io/x:1"),
        image(digest(1), name=b"docker.io/x:1", namespace=b"other"),
    )
    assert [holder.names for holder in inventory.holders] == [(b"docker.io/x:1", b"sha256:abc"), (b"docker.io/x:1",)]


def test_ways_end_at_what_holds_them():
    """Following links from any reached record ends, at a root or a lease; what nothing reaches has none."""
    inventory, _ = taken(
        image(digest(1)),
        blob(digest(1), {b"containerd.io/gc.ref.content.config": digest(2)}),
        blob(digest(2)),
        blob(digest(3)),
        blob(digest(5)),
        lease(b"flat", {b"containerd.io/gc.flat": b""}, blobs=[digest(1), digest(3)]),
    )
    steps = []
    ref = Ref(Kind.BLOB, b"moby", digest(2))
    while ref is not None:
        ref, how = inventory.links[ref]
        steps.append(how)
    assert steps == ["named in its label containerd.io/gc.ref.content.config", "its target", "an image"]
    assert inventory.links[Ref(Kind.BLOB, b"moby", digest(3))].before == Ref(Kind.LEASE, b"moby", b"flat")
    assert Ref(Kind.BLOB, b"moby", digest(5)) not in inventory.links


def test_too_much_is_said(monkeypatch):
    """Where following everything would take too long, it stops and says so."""
    monkeypatch.setattr(module, "_MOST_VISITS", 2)
    inventory, _ = taken(
        image(digest(1)), blob(digest(1), {b"containerd.io/gc.ref.content.config": digest(2)}), blob(digest(2))
    )
    assert not inventory.whole
    assert inventory.holders[0].objects == ()


@pytest.mark.root
@pytest.mark.parametrize("capture", captures(), ids=lambda each: each.name)
def test_captures(capture, unpacked):
    """What only a lease holds comes to what another walk said of it; every reached object has a holder and a way."""
    now = parse_time(capture.taken_at.encode())
    (found,) = scan(str(unpacked(capture)).encode(), now=now, inventory=True)
    verdict, inventory = found.verdict, found.inventory
    count = [0] * len(verdict.objects)
    for holder in inventory.holders:
        for place in holder.objects:
            count[place] += 1
    only = {
        holder.ref: sum(verdict.objects[place].allocated for place in holder.objects if count[place] == 1)
        for holder in inventory.holders
    }
    # With a record of its own, a container's lease is one holder with it, and alone holds less.
    recorded = {(ref.namespace, ref.key) for ref in inventory.links if ref.kind is Kind.CONTAINER}
    said = {(each.ref.namespace, each.ref.key): each.only for each in verdict.leases}
    for holder in inventory.holders:
        # A container's leases are one holder: its own, and those of its image mounts.
        keys = [(holder.ref.namespace, name) for name in holder.names] if holder.lease else []
        alone = sum(said.pop(key) for key in keys)
        if recorded.isdisjoint(keys):
            assert alone == (only[holder.ref] if keys else 0), holder
    assert set(said.values()) <= {0}
    for place, each in enumerate(verdict.objects):
        is_reached = each.reach is not None and each.reach.value in ("live", "leased")
        assert (count[place] > 0) is is_reached
        assert any(ref in inventory.links for ref in each.refs) is is_reached
    for start in inventory.links:
        seen = set()
        ref = start
        while ref is not None:
            assert ref not in seen
            seen.add(ref)
            ref = inventory.links[ref].before

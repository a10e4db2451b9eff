"""The tree of a store: every object once, under what holds it."""

import pytest
from tests.support.captures import captures
from tests.support.populations import population
from tests.support.scans import judged, scan_of_everything
from tests.support.values import blob, digest, image, lease, snapshot, store

from drydock import scan
from drydock.model.leases import LeaseClass
from drydock.model.records import Container
from drydock.model.times import parse_time
from drydock.report.holder_tree import holder_tree


def leaves(branch, path=()):
    """Every object's place with the names above it."""
    path = (*path, branch.name)
    for place in branch.objects:
        yield place, path
    for each in branch.children:
        yield from leaves(each, path)


def check(found):
    """Every object is in the tree exactly once, and sizes are the sums of what is below."""
    tree = holder_tree(found)
    places = sorted(place for place, _ in leaves(tree))
    assert places == list(range(len(found.verdict.objects)))
    assert tree.bytes == sum(each.allocated for each in found.verdict.objects) + found.verdict.store.database_bytes
    queue = [tree]
    while queue:
        branch = queue.pop()
        queue += branch.children
        if branch.children or branch.objects:
            own = sum(found.verdict.objects[place].allocated for place in branch.objects)
            below = sum(each.bytes for each in branch.children)
            assert branch.bytes == own + below
            assert branch.count == len(branch.objects) + sum(each.count for each in branch.children)
        assert branch.holder is None or branch.only <= branch.reached


@pytest.mark.root
@pytest.mark.parametrize("capture", captures(), ids=lambda each: each.name)
def test_captures_add_up(capture, unpacked):
    """Every byte of real stores is in the tree once."""
    (found,) = scan(str(unpacked(capture)).encode(), now=parse_time(capture.taken_at.encode()), inventory=True)
    check(found)


@pytest.mark.parametrize("complete", [True, False])
def test_made_ones_add_up(complete):
    """The same for a store of everything, and for a large one."""
    check(scan_of_everything(complete=complete, inventory=True))
    check(population(800))


def test_each_thing_is_where_people_look_for_it():
    """Images before containers before leases; what several hold is in a group of its own, marked as shared."""
    found = judged(
        store(
            image(digest(1), name=b"a"),
            image(digest(2), name=b"b"),
            blob(digest(1), {b"containerd.io/gc.ref.content.l.0": digest(3)}),
            blob(digest(2), {b"containerd.io/gc.ref.content.l.0": digest(3)}),
            blob(digest(3)),
            blob(digest(4)),
            blob(digest(5)),
            blob(digest(5), namespace=b"k8s.io"),
            snapshot(b"own"),
            Container(b"moby", b"c", b"", b"overlayfs", b"own", b"", b"", {}),
            lease(b"one", blobs=[digest(4), digest(1)]),
            files=[digest(9)],
        ),
        inventory=True,
    )
    tree = holder_tree(found)
    where = {found.verdict.objects[place].id: path[1:] for place, path in leaves(tree)}
    assert where == {
        digest(1): ("moby", "a"),
        digest(2): ("moby", "b"),
        digest(3): ("moby", "shared by several images"),
        digest(4): ("moby", "leases of unknown owner", "one"),
        digest(5): ("in several namespaces",),
        b"own": ("moby", "c"),
        digest(9): ("without a record",),
    }
    (moby,) = [each for each in tree.children if each.name == "moby"]
    assert [each.is_shared for each in moby.children if "shared" in each.name] == [True]
    assert found.inventory.holders[-1].lease is LeaseClass.UNKNOWN


def test_a_namespace_may_be_called_like_a_group():
    """Hostile names do not mix what is recorded with what is not."""
    found = judged(store(blob(digest(1), namespace=b"without a record"), files=[digest(1), digest(2)]), inventory=True)
    assert sorted((each.kind, each.name) for each in holder_tree(found).children) == [
        ("group", "without a record"),
        ("namespace", "without a record"),
    ]


def test_it_needs_the_inventory():
    """A scan made without one is refused, not shown as if nothing held anything."""
    with pytest.raises(ValueError, match="inventory"):
        holder_tree(judged(store()))

"""The tree of items, on a capture of a real engine."""

import pytest
from tests.support.captures import capture

from drydock.browse.facts import fact_lines
from drydock.browse.tree import Item, Order, Tree, sorted_by
from drydock.model.objects import State

pytestmark = pytest.mark.root


def every(tree, item, seen=None):
    """An item and all below it, each once."""
    seen = {} if seen is None else seen
    if item not in seen:
        seen[item] = None
        for each in tree.level(item):
            every(tree, each, seen)
    return seen


@pytest.fixture(scope="session")
def items(view):
    """All items."""
    return list(every(view.tree, view.tree.top))


def one(items, kind, name):
    """The first item of a kind whose name has a word."""
    return next(item for item in items if item.kind == kind and name in item.name)


def test_everything_that_the_engine_listed_is_there(items):
    """Each image, container and namespace of the capture's own list has an item, and so has each object."""
    of = capture("docker-29-interrupted")
    names = {(item.kind, name) for item in items for name in item.names}
    for namespace, listed in of.namespaces.items():
        assert any(item.kind == "namespace" and item.name == namespace for item in items)
        assert {("image", row["name"].encode()) for row in listed["images"]} <= names
    assert {"engine", "store", "namespace", "image", "container", "lease", "blob", "snapshot", "group"} <= {
        item.kind for item in items
    }


def test_every_object_has_one_item(view, items):
    """An object that several holders reach is one item, below each of them."""
    (looked,) = view.looked
    found = [item.found for item in items if item.found is not None]
    assert len(found) == len({id(each) for each in found}) == len(looked.scan.verdict.objects)


def test_unique_and_shared_add_up(items):
    """What a holder reaches is what it has alone and what others have too; a layer of two images is shared."""
    for item in items:
        if item.unique is not None:
            assert item.unique + item.shared == item.bytes
    layers = [item for item in items if item.kind == "snapshot" and item.shared]
    assert layers
    image = one(items, "image", "demo:v1")
    assert image.shared > image.unique


def test_a_store_has_each_byte_once(view, items):
    """The sizes below a store and its namespaces add up to that of the store, as do those of an engine."""
    for kind in ("engine", "store"):
        item = one(items, kind, "")
        assert sum(each.bytes for each in view.tree.level(item)) == item.bytes


def test_an_interrupted_pull_is_one_item_with_its_leases(unpacked, host):
    """The leases of a pull have no items of their own beside it."""
    del host
    from tests.browse.conftest import ignore, place_of

    of = capture("docker-28.5-interrupted-pull")
    view = place_of(of, unpacked(of)).read(ignore)
    items = list(every(view.tree, view.tree.top))
    pulls = [item for item in items if item.kind == "pull"]
    assert [item.unique for item in pulls] == [pull.bytes for pull in view.looked[0].scan.inventory.pulls]
    of_pulls = {lease for item in pulls for lease in item.leases}
    assert of_pulls
    assert not of_pulls & {lease for item in items if item.kind == "lease" for lease in item.leases}


def test_filter_finds_at_any_depth(view):
    """Each match once, whatever the case; a kind as a whole word matches as well."""
    found = view.tree.matching(view.tree.top, "DEMO:V1")
    assert {item.kind for item in found} == {"image"}
    assert len(found) == len(set(found)) == 3
    assert {item.kind for item in view.tree.matching(view.tree.top, "snapshot")} >= {"snapshot"}


def test_orders():
    """Each order, also of more items than are sorted at once."""
    items = [
        Item("blob", f"{number * 7919 % 50_021:06d}", bytes=number * 31 % 977, count=number) for number in range(50_021)
    ]
    by_size = sorted_by(items, Order.SIZE)
    assert [item.bytes for item in by_size] == sorted((item.bytes for item in items), reverse=True)
    by_name = sorted_by(items, Order.NAME)
    assert [item.name for item in by_name] == sorted(item.name for item in items)
    items[5].state, items[6].state = State.ORPHANED, State.LIVE
    assert [item.state for item in sorted_by(items, Order.STATE)[:2]] == [State.LIVE, State.ORPHANED]


def test_where_it_is_and_what_it_was_found_by(view, host, items):
    """Of each object with data the path is one that exists; of each record its database is named."""
    for item in items:
        lines = list(fact_lines(item, view.looked[item.root]))
        if item.found is not None and item.found.path is not None:
            (path,) = [line.removeprefix("on disk: ") for line in lines if line.startswith("on disk: ")]
            assert (host / path).exists()
        if item.found is not None and item.found.refs:
            assert any("meta.db" in line for line in lines)


def test_an_empty_place_has_a_tree():
    """A host without storage: nothing below the top."""
    tree = Tree([])
    assert tree.level(tree.top) == []

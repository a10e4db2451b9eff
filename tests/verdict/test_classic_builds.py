"""What is left of the builder of Docker's classic store, against a model that walks the databases as dockerd does."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.model.build_cache import BuildCache, CacheRecord
from drydock.model.layer_store import (
    Builds,
    BuildSnapshot,
    ClassicImage,
    LayerDirectory,
    LayerLink,
    LayerRecord,
    LayerStore,
    MountRecord,
    directory_kind,
)
from drydock.model.names import Digest, RawPath, UnixNano
from drydock.model.objects import ObjectKind, State
from drydock.model.records import Lease
from drydock.model.roots import DockerContainer
from drydock.verdict.classic_builds import find_gone, find_let_go, find_shared, without
from drydock.verdict.layer_store import judge_layer_store

LAYERS = 3
NAMES = [letter.encode() * 25 for letter in "abcdef"]
_PLAIN = MappingProxyType(
    {
        "deleted": False, "committed": True, "size": 1, "retain": True, "equal_mutable": b"", "parent": b"",
        "joined": (), "blob": b"", "blob_only": False,
    }
)  # fmt: skip


def chain(number):
    """The chain id of a layer."""
    return Digest(b"sha256:%064d" % number)


def record(name, snapshot=None, **fields):
    """A cache record."""
    return CacheRecord(id=name, snapshot=snapshot or name, **{**_PLAIN, **fields})


def bucket(key, **fields):
    """A bucket of snapshots.db."""
    return BuildSnapshot(key, **{"parent": b"", "committed": None, "is_committed": False, "chain_id": None,
                                 "size": None, **fields})  # fmt: skip


def lease(name, *keys):
    """A lease of the builder."""
    held = tuple((b"default", key) for key in keys)
    return Lease(b"buildkit", name, {b"containerd.io/gc.flat": b""}, (), (), (), held, UnixNano(1))


def layers(records, buckets, leases, directories=()):
    """A classic store with a builder."""
    cache = BuildCache(RawPath(b"/d/buildkit/metadata_v2.db"), b"default", False, {each.id: each for each in records})
    made = LayerStore(RawPath(b"/d"))
    made.directories = dict.fromkeys(directories)
    made.builds = Builds({each.key: each for each in buckets}, list(leases), frozenset(cache.records), cache=cache,
                         records_changed=UnixNano(1))  # fmt: skip
    return made


def left(store, gone, ended=None):
    """The keys of the buckets that are left if records and their leases go."""
    return without(store, gone, gone if ended is None else ended).snapshots.keys()


def test_a_record_takes_its_snapshot_and_the_directory_of_that():
    """Of a committed one both buckets; not the one that names its layer, which dockerd leaves too."""
    store = layers(
        [record(b"k" * 25), record(b"r" * 25, chain(1))],
        [bucket(b"k" * 25, committed=b"m" * 25, chain_id=chain(2)),
         bucket(b"m" * 25, is_committed=True, parent=chain(1)),
         bucket(chain(2)), bucket(chain(1)), bucket(b"r" * 25, chain_id=chain(1))],
        [lease(b"k" * 25, b"k" * 25), lease(b"r" * 25, chain(1))],
        [b"m" * 25],
    )  # fmt: skip
    assert left(store, {b"k" * 25}) == {b"r" * 25, chain(1), chain(2)}
    assert left(store, {b"k" * 25, b"r" * 25}) == {b"r" * 25, chain(2)}
    assert left(store, set()) == store.builds.snapshots.keys()


def test_what_another_lease_or_record_uses_stays():
    """Dockerd would take it; a record that stays would fail then."""
    store = layers(
        [record(b"a" * 25, chain(1)), record(b"b" * 25, chain(1)), record(b"c" * 25)],
        [bucket(chain(1)), bucket(b"a" * 25, chain_id=chain(1)), bucket(b"b" * 25, chain_id=chain(1)),
         bucket(b"c" * 25)],
        [lease(b"a" * 25, chain(1)), lease(b"b" * 25, chain(1)), lease(b"c" * 25, b"c" * 25), lease(b"x", b"c" * 25)],
        [b"c" * 25],
    )  # fmt: skip
    assert left(store, {b"a" * 25, b"c" * 25}) == store.builds.snapshots.keys()


def test_what_a_killed_run_left_goes():
    """A snapshot with a directory and without a lease and a record; and that of a record that is marked already."""
    store = layers(
        [record(b"d" * 25, deleted=True)],
        [bucket(b"d" * 25), bucket(b"o" * 25, committed=b"p" * 25), bucket(b"p" * 25, is_committed=True)],
        [],
        [b"p" * 25],
    )
    cache = store.builds.cache
    assert find_gone(cache, (), ()) == {b"d" * 25}
    assert left(store, find_gone(cache, (), ())) == set()


def test_the_twin_of_a_record_goes_with_it():
    """Only the mutable one is marked."""
    cache = layers(
        [record(b"m" * 25, committed=False), record(b"i" * 25, equal_mutable=b"m" * 25)], [], []
    ).builds.cache
    assert find_gone(cache, [b"m" * 25], ()) == {b"m" * 25, b"i" * 25}


LONE = {"retain": False, "committed": False, "size": None}
"""The fields of what an interrupted step left."""
MISSING = chain(8)
LET_GO = {
    "a killed step": ([record(b"m" * 25, **LONE)], "m"),
    "5: deleted, and what was built on it": (
        [record(b"m" * 25, deleted=True), record(b"a" * 25, parent=b"m" * 25), record(b"b" * 25)], "ma",
    ),
    "1: no parent": ([record(b"m" * 25, parent=b"x" * 25), record(b"b" * 25)], "m"),
    "6: a mutable without a snapshot": ([record(b"x" * 25, committed=False), record(b"b" * 25)], "x"),
    "6: its bucket names a layer that is gone": ([record(b"l" * 25, committed=False)], "l"),
    "6: its bucket names a directory without a bucket": ([record(b"h" * 25, committed=False)], "h"),
    "3: neither mutable nor snapshot": ([record(b"x" * 25, equal_mutable=b"y" * 25)], "x"),
    "4: its own snapshot is there": ([record(b"m" * 25, equal_mutable=b"y" * 25)], ""),
    "7: no blob": ([record(b"m" * 25, blob=MISSING, blob_only=True)], "m"),
    "7: a layer of the store has no blob": ([record(b"r" * 25, chain(1), blob_only=True)], ""),
    "what is whole": ([record(b"m" * 25), record(b"a" * 25, committed=False), record(b"b" * 25, parent=b"a" * 25)], ""),
}  # fmt: skip


def with_snapshots(records):
    """A builder whose records ``a``, ``b`` and ``m`` have snapshots of their own; each record has a lease."""
    store = layers(
        records,
        [*(bucket(each * 25) for each in (b"a", b"b", b"m")), bucket(chain(1)), bucket(b"r" * 25, chain_id=chain(1)),
         bucket(b"l" * 25, chain_id=MISSING), bucket(b"h" * 25, committed=b"k" * 25)],
        [lease(each.id, each.snapshot) for each in records],
        [b"a" * 25, b"b" * 25, b"m" * 25],
    )  # fmt: skip
    store.layers[chain(1)] = None
    return store


@pytest.mark.parametrize("case", LET_GO)
def test_what_buildkit_drops_goes_with_its_lease_and_snapshot(case):
    """Of the records that it drops by the rules of buildkit cache/manager.go; the snapshots of no record go, too."""
    records, names = LET_GO[case]
    store = with_snapshots(records)
    found = find_let_go(store)
    gone = {letter.encode() * 25 for letter in names}
    assert found.leases.keys() == gone
    stays = {each.id for each in records} - gone
    assert found.snapshots.keys() == {key for key in store.builds.snapshots if key in gone} | (
        store.directories.keys() - stays
    )
    assert {each.id for each in found.left.leases} == stays
    assert found.left.snapshots.keys() == store.builds.snapshots.keys() - found.snapshots.keys()


def test_a_lease_that_is_kept_keeps_its_snapshot():
    """As --keep asks; without what BuildKit makes of the records for certain, nothing goes."""
    records = [record(b"m" * 25, **LONE), record(b"a" * 25, deleted=True)]
    store = with_snapshots(records)
    found = find_let_go(store, [b"m" * 25])
    assert (found.leases.keys(), b"m" * 25 in found.snapshots) == ({b"a" * 25}, False)
    for spoil in (
        lambda store: setattr(store, "live", True),
        lambda store: store.unlisted.append("a folder"),
        lambda store: setattr(store.builds, "snapshots_known", False),
        lambda store: setattr(store.builds, "leases_known", False),
        lambda store: setattr(store.builds.cache, "is_clear", False),
        lambda store: setattr(store.builds, "cache", None),
        # A wrong byte in the name of a parent.
        lambda store: store.builds.cache.records.update({b"b" * 25: record(b"b" * 25, parent=b"m" * 24 + b"n")}),
    ):
        store = with_snapshots(records)
        spoil(store)
        assert find_let_go(store) == (store.builds, {}, {})


def test_what_an_image_begins_with_is_shared():
    """By the layer that the bucket of the record names; one without a layer, or of no image, is not."""
    store = layers(
        [record(name) for name in NAMES[:4]],
        [bucket(NAMES[0], chain_id=chain(1)), bucket(NAMES[1], chain_id=chain(3)), bucket(NAMES[2])],
        [],
    )
    image = ClassicImage(chain(9), RawPath(b""), 0, (), (), (chain(1), chain(2)), None, b"")
    store.images = {image.id: image}
    assert find_shared(store, store.builds.cache) == {NAMES[0]}


@st.composite
def builders(draw):
    """A builder with records of each form, buckets that are left over, and a choice of records that go."""
    records, buckets, leases, directories = [], {}, [], []
    for number, name in enumerate(NAMES[: draw(st.integers(2, len(NAMES)))]):
        above = draw(st.sampled_from([each.snapshot for each in records] or [b""]))
        how = draw(
            st.sampled_from(["layer", "layer", "active", "active", "committed", "exported", "leftover", "forgotten"])
        )
        active = b"%d" % number * 25
        if how == "layer":
            layer = chain(draw(st.integers(0, 1)))
            records.append(record(name, layer))
            buckets[layer], buckets[name] = bucket(layer), bucket(name, chain_id=layer)
            leases.append(lease(name, layer))
        elif how == "forgotten":
            buckets[name] = bucket(name, chain_id=chain(number))
        else:
            directory = name if how == "active" else active
            buckets[directory] = bucket(directory, parent=above, is_committed=how != "active")
            if how != "active":
                buckets[name] = bucket(name, committed=active, chain_id=chain(number) if how == "exported" else None)
            directories.append(directory)
            if how != "leftover":
                records.append(record(name))
                leases.append(lease(name, name))
    going = draw(st.sets(st.sampled_from([each.id for each in records] or [b""])))
    return layers(records, buckets.values(), leases, directories), going


@given(builders())
def test_no_snapshot_goes_that_a_record_which_stays_stands_on(made):
    """By a model: what stays may be reached from a record by its snapshot, its directory and its parents.

    And all that stands for a directory goes if it is not reached; never more goes than dockerd's removal takes.
    """
    store, going = made
    buckets = store.builds.snapshots
    kept = left(store, going)
    reached, waiting = set(), []
    for each in store.builds.cache.records.values():
        if each.id not in going:
            waiting += [each.id, each.snapshot]
    while waiting:
        key = waiting.pop()
        if key in buckets and key not in reached:
            reached.add(key)
            waiting += [buckets[key].parent, buckets[key].committed or b"", buckets[key].chain_id or b""]
    assert reached <= kept
    taken = {each.snapshot for each in store.builds.cache.records.values() if each.id in going}
    taken |= {buckets[key].committed for key in taken & buckets.keys()}
    unnamed = {key for key in buckets.keys() - reached if {key, buckets[key].committed} & store.directories.keys()}
    assert buckets.keys() - kept <= (taken | unnamed) - reached
    assert (taken | unnamed) & buckets.keys() - reached == buckets.keys() - kept


def on_disk(store, image_tops, mounted):
    """Give a store layers, one on the other, with directories for them and for snapshots, images and a container."""
    lowers = {}

    def put(name, below):
        lowers[name] = [] if below is None else [below, *lowers[below]]
        links = tuple(b"L" + each for each in lowers[name])
        path = RawPath(b"overlay2/" + name)
        store.directories[name] = LayerDirectory(
            name, path, directory_kind(name), None, True, b"L" + name, links, True, True
        )
        store.links[b"L" + name] = LayerLink(b"L" + name, RawPath(b"overlay2/l/" + b"L" + name), None, name)

    for number in range(LAYERS):
        parent = chain(number - 1) if number else None
        cache_id = b"%064d" % number
        path = RawPath(b"layerdb/" + chain(number))
        store.layers[chain(number)] = LayerRecord(chain(number), path, None, 0, cache_id, None, parent, 0, True)
        put(cache_id, b"%064d" % (number - 1) if number else None)
    for key, each in store.builds.snapshots.items():
        if key in store.directories:
            above = store.builds.snapshots.get(each.parent)
            below = each.parent if above is None or above.committed is None else above.committed
            layer = store.layers.get(each.parent)
            put(key, layer.cache_id if layer is not None else below or None)
    for number in image_tops:
        chains = tuple(chain(each) for each in range(number + 1))
        image = ClassicImage(chain(100 + number), RawPath(b""), 0, (), (), chains, None, b"")
        store.images[image.id] = image
    if mounted is not None:
        put(b"f" * 64, b"%064d" % mounted)
        container = b"c" * 64
        store.containers[container] = DockerContainer(container)
        store.mounts[container] = MountRecord(container, RawPath(b"mounts/c"), None, 0, b"f" * 64, None, chain(mounted))
    return lowers


@given(builders(), st.sets(st.integers(0, LAYERS - 1)), st.none() | st.integers(0, LAYERS - 1))
def test_no_layer_goes_that_anything_which_stays_uses(made, image_tops, mounted):
    """By a model: what images, the container and the records that stay reach is live afterwards, and nothing else."""
    store, going = made
    lowers = on_disk(store, image_tops, mounted)
    records = [each for each in store.builds.cache.records.values() if each.id not in going]
    wanted = {chain(each) for top in image_tops for each in range(top + 1)}
    wanted |= set() if mounted is None else {b"f" * 64, chain(mounted)}
    waiting = [key for each in records for key in (each.id, each.snapshot)]
    while waiting:
        key = waiting.pop()
        if key not in wanted:
            wanted.add(key)
            named = store.builds.snapshots.get(key, bucket(key))
            waiting += filter(None, (named.parent, named.committed, named.chain_id))
    for number in reversed(range(LAYERS)):
        if chain(number) in wanted:
            wanted |= {b"%064d" % number, *({chain(number - 1)} if number else ())}
    wanted |= {below for each in wanted & lowers.keys() for below in lowers[each]}
    store.builds = without(store, going, going)
    found = judge_layer_store(store, UnixNano(2))
    live = {each.id for each in found.objects if each.reach is State.LIVE and each.kind is not ObjectKind.LAYER_LINK}
    there = store.layers.keys() | store.directories.keys()
    assert live & there == wanted & there
    assert not [each for each in found.objects if each.state is State.MISSING and each.id in store.layers]


@given(builders())
def test_what_goes_by_itself_is_nothing_that_a_record_which_stays_stands_on(made):
    """By the model of what BuildKit drops in test_build_cache, and by the model above of what then stays."""
    store, going = made
    # Layers that are missing would have similar names here, and nothing would go for that.
    store.layers = {chain(number): None for number in range(len(NAMES))}
    records = {each.id: each._replace(deleted=each.id in going) for each in store.builds.cache.records.values()}
    store.builds.cache.records = records
    found = find_let_go(store)
    assert found.leases.keys() == going & {each.id for each in store.builds.leases}
    assert found.left.snapshots.keys() == without(store, going, going).snapshots.keys()

"""The states of a classic layer store."""

import os
import shutil

import pytest
from tests.support.classic_root import ClassicRoot, hexed

from drydock.evidence.docker.containers import read_containers
from drydock.evidence.docker.layer_store import read_layer_store
from drydock.model.build_cache import BuildCache, CacheRecord
from drydock.model.layer_store import BuildSnapshot
from drydock.model.names import Digest, Kind, UnixNano
from drydock.model.objects import ObjectKind, State
from drydock.model.records import Lease
from drydock.verdict.layer_store import judge_layer_store


@pytest.fixture
def root(tmp_path):
    """Two layers, an image of both, and a container."""
    made = ClassicRoot(tmp_path / "docker")
    made.layer("base")
    made.layer("top", "base")
    made.an_image("shop:1", "base", "top")
    made.container("web", "top")
    return made


def _read(root):
    data = os.fsencode(root.data)
    return read_layer_store(data, read_containers(data, [])[0])


def _judge(root):
    return judge_layer_store(_read(root), 0)


def _states(found, kind):
    return {each.id.decode(): each.state for each in found.objects if each.kind is kind}


def _path(name):
    return b"overlay2/" + name.encode()


def test_what_an_image_and_a_container_use_is_live(root):
    """Every layer, directory, link and mount; a container holds its own directories."""
    found = _judge(root)
    assert {each.state for each in found.objects} == {State.LIVE}
    written = next(each for each in found.objects if each.id.decode() == hexed("written web"))
    assert [(ref.kind, ref.key.decode()) for ref in written.held_by] == [(Kind.CONTAINER, hexed("container web"))]
    assert (found.leases, found.kept) == ([], {})


def test_what_nothing_names_is_orphaned(root):
    """A directory of a killed pull with its link, a write-set, a link into nothing, a probe of the file system."""
    root.directory(hexed("killed"), root.below("base"))
    (root.layerdb / "tmp/write-set-1").mkdir()
    os.symlink("../gone/diff", root.overlay / "l" / ("G" * 26))
    (root.overlay / "metacopy-check1").mkdir()
    found = _judge(root)
    orphaned = {(each.kind, each.id.decode()) for each in found.objects if each.state is State.ORPHANED}
    assert orphaned == {
        (ObjectKind.LAYER_DIRECTORY, hexed("killed")),
        (ObjectKind.LAYER_LINK, hexed(hexed("killed"))[:26].upper()),
        (ObjectKind.LAYER_LINK, "G" * 26),
        (ObjectKind.LAYER_REST, "write-set-1"),
        (ObjectKind.LAYER_DIRECTORY, "metacopy-check1"),
    }
    assert found.kept == {}


def test_a_layer_without_an_image_is_unreachable(root):
    """With its directory and link; what is below it stays live."""
    root.layer("other", "base")
    found = _judge(root)
    unreachable = {(each.kind, each.id.decode()) for each in found.objects if each.state is State.UNREACHABLE}
    directory = hexed("directory other")
    assert unreachable == {
        (ObjectKind.LAYER, root.chains["other"]),
        (ObjectKind.LAYER_DIRECTORY, directory),
        (ObjectKind.LAYER_LINK, hexed(directory)[:26].upper()),
    }
    assert found.kept == {}


def test_a_written_layer_without_its_container_is_ownerless(root):
    """It is leased, with what it is mounted on; its bytes are told."""
    root.layer("old", "base")
    shutil.rmtree(root.data / "containers" / root.container("lost", "old"))
    found = _judge(root)
    (lease,) = found.leases
    assert (lease.kind.value, lease.ref.key.decode()) == ("ownerless", hexed("container lost"))
    leased = {each.id.decode() for each in found.objects if each.state is State.LEASED}
    assert {
        hexed("written lost"),
        hexed("written lost") + "-init",
        root.chains["old"],
        hexed("container lost"),
    } < leased
    assert root.chains["base"] not in leased
    assert lease.only == sum(each.allocated for each in found.objects if each.state is State.LEASED)


def test_without_any_container_nobody_is_provably_gone(root):
    """An emptied folder of containers makes no written layer ownerless."""
    shutil.rmtree(root.data / "containers" / hexed("container web"))
    (lease,) = _judge(root).leases
    assert lease.kind.value == "unknown"


def test_a_removal_that_began_is_unreachable(root):
    """With its directory, unless a live layer has that directory."""
    root.layer("going", "base")
    record = root.layerdb / "sha256" / root.chains["going"].removeprefix("sha256:")
    record.rename(record.with_name(f"{record.name}-{'0' * 64}-removing"))
    found = _judge(root)
    assert _states(found, ObjectKind.LAYER_REST) == {f"{record.name}-{'0' * 64}-removing": State.UNREACHABLE}
    assert _states(found, ObjectKind.LAYER_DIRECTORY)[hexed("directory going")] is State.UNREACHABLE
    assert found.kept == {}


@pytest.mark.parametrize("damage", ["config", "reference", "record", "mount", "parent"])
def test_a_contradiction_keeps_unreachable_layers(root, damage):
    """Whatever may have meant them: an image, a reference, a layer or a mount that names something absent."""
    root.layer("other", "base")
    (config,) = (root.image / "imagedb/content/sha256").iterdir()
    record = root.layerdb / "sha256" / root.chains["top"].removeprefix("sha256:")
    mount = root.layerdb / "mounts" / hexed("container web")
    if damage == "config":
        config.write_text(config.read_text().replace("a", "b", 1))
    elif damage == "reference":
        config.unlink()
    elif damage == "record":
        (record / "diff").write_text("sha256:" + hexed("other"))
    elif damage == "mount":
        (mount / "parent").write_text("sha256:" + hexed("absent"))
    else:
        (record / "parent").unlink()
    found = _judge(root)
    assert found.kept[_path(hexed("directory other"))]
    assert found.kept[b"image/overlay2/layerdb/sha256/" + root.chains["other"].removeprefix("sha256:").encode()]


@pytest.mark.parametrize("damage", ["cache-id", "mount-id", "mount", "lower", "near"])
def test_a_contradiction_keeps_unnamed_directories(root, damage):
    """A record that lost the name of its directory, or has one byte of it wrong, may mean any that nothing names."""
    record = root.layerdb / "sha256" / root.chains["top"].removeprefix("sha256:")
    mount = root.layerdb / "mounts" / hexed("container web")
    unnamed = hexed("killed")
    root.directory(unnamed)
    if damage == "cache-id":
        (record / "cache-id").write_text("")
    elif damage == "mount-id":
        (mount / "mount-id").unlink()
    elif damage == "mount":
        shutil.rmtree(mount)
    elif damage == "lower":
        lower = root.overlay / hexed("directory top") / "lower"
        lower.write_text("l/" + "X" * 26)
    else:
        name = (record / "cache-id").read_text()
        (record / "cache-id").write_text(("0" if name[0] != "0" else "1") + name[1:])
        (mount.parent / hexed("container web") / "parent").write_text(root.chains["base"])
        unnamed = name
    found = _judge(root)
    directory = next(each for each in found.objects if each.id.decode() == unnamed)
    assert directory.state is State.LIVE or found.kept[_path(unnamed)]


def test_builds_hold_what_they_name(root):
    """A snapshot, a directory that it stands for, and the layer that another bucket uses."""
    for name in ("a" * 25, "b" * 25, "c" * 25):
        root.directory(name)
    root.layer("built", "base")
    store = _read(root)
    chain = Digest(root.chains["built"].encode())
    store.builds.snapshots = {
        each.key: each
        for each in (
            BuildSnapshot(b"a" * 25, b"", None, False, None, None),
            BuildSnapshot(b"d" * 25, b"", b"b" * 25, False, None, 7),
            BuildSnapshot(b"e" * 25, b"", None, False, chain, None),
        )
    }
    found = judge_layer_store(store, 0)
    states = _states(found, ObjectKind.LAYER_DIRECTORY)
    assert [states[name * 25] for name in "abc"] == [State.LIVE, State.LIVE, State.ORPHANED]
    assert "d" * 25 not in states
    assert _states(found, ObjectKind.LAYER)[root.chains["built"]] is State.LIVE
    store.builds.snapshots_known = False
    assert _path("c" * 25) in judge_layer_store(store, 0).kept


def test_a_name_of_a_layer_that_dockerd_forgot_holds_nothing(root):
    """After a prune the buckets of the lease and of the layer stay: the layer may be gone, and one that is there goes.

    While a lease or a cache record is called so, or it is not known, they hold it.
    """
    root.layer("built", "base")
    root.directory("a" * 25)
    store = _read(root)
    chain, gone = Digest(root.chains["built"].encode()), Digest(b"sha256:" + b"9" * 64)
    for key, named in ((b"r" * 25, chain), (chain, None), (gone, None)):
        store.builds.snapshots[key] = BuildSnapshot(key, b"", None, False, named, None)
    found = judge_layer_store(store, 0)
    assert _states(found, ObjectKind.LAYER)[gone.decode()] is State.MISSING
    store.builds.cache, store.builds.records_changed = BuildCache(b"", b"default", False), UnixNano(9)
    found = judge_layer_store(store, 0)
    assert _states(found, ObjectKind.LAYER).get(gone.decode()) is None
    assert _states(found, ObjectKind.LAYER)[root.chains["built"]] is State.UNREACHABLE
    assert found.findings == []
    store.builds.snapshots[b"a" * 25] = BuildSnapshot(b"a" * 25, chain, None, False, None, None)
    name = b"a" * 25
    store.builds.cache.records[name] = CacheRecord(name, False, True, 1, name, True, b"", b"", (), b"", False)
    found = judge_layer_store(store, 0)
    assert _states(found, ObjectKind.LAYER)[root.chains["built"]] is State.LIVE
    assert found.let_go == {}


def test_the_lease_of_a_killed_build_is_ownerless(root):
    """What only it names is leased; a lease whose cache record exists holds a layer live."""
    for name in ("a" * 25, "b" * 25):
        root.directory(name)
    root.layer("built", "base")
    store = _read(root)

    def lease(identity, key):
        labels = {b"containerd.io/gc.flat": b""}
        return Lease(b"buildkit", identity, labels, (), (), (), ((b"default", key),), UnixNano(5))

    store.builds.leases = [lease(b"k" * 25, b"a" * 25), lease(b"r" * 25, root.chains["built"].encode())]
    store.builds.records, store.builds.records_changed = frozenset((b"r" * 25,)), UnixNano(9)
    found = judge_layer_store(store, UnixNano(10))
    assert {each.ref.key[:1]: each.kind.value for each in found.leases} == {b"k": "ownerless", b"r": "build-cache"}
    states = _states(found, ObjectKind.LAYER_DIRECTORY)
    assert [states[name * 25] for name in "ab"] == [State.LEASED, State.ORPHANED]
    assert _states(found, ObjectKind.LAYER)[root.chains["built"]] is State.LIVE
    shutil.rmtree(root.overlay / ("a" * 25))
    builds, store = store.builds, _read(root)
    store.builds = builds
    assert [each.kind.value for each in judge_layer_store(store, UnixNano(10)).leases] == ["build-cache"]


def _codes(root):
    return {(each.code.value, each.severity.name) for each in _judge(root).findings}


def test_nothing_is_damaged_where_nothing_is_wrong(root):
    """The findings of a whole store: none."""
    assert _codes(root) == set()


def _record(root, word):
    return root.layerdb / "sha256" / root.chains[word].removeprefix("sha256:")


def _mount_on_itself(root):
    lower = root.overlay / hexed("written web") / "lower"
    lower.write_text(lower.read_text().partition(":")[2])


@pytest.mark.parametrize(
    ("damage", "codes"),
    [
        (lambda root: (_record(root, "top") / "size").unlink(), {"corrupt-layer", "unlisted-image"}),
        (lambda root: shutil.rmtree(_record(root, "base")), {"corrupt-layer", "missing-layer", "unlisted-image"}),
        (lambda root: shutil.rmtree(root.overlay / hexed("directory base")), {"missing-layer", "corrupt-layer"}),
        (lambda root: shutil.rmtree(root.overlay / hexed("directory base") / "diff"), {"corrupt-layer"}),
        (lambda root: (root.overlay / hexed("directory base") / "link").unlink(), {"corrupt-layer"}),
        (lambda root: shutil.rmtree(root.overlay / "l"), {"corrupt-layer"}),
        (lambda root: (root.overlay / hexed("directory top") / "lower").unlink(), {"corrupt-layer"}),
        (_mount_on_itself, {"corrupt-layer"}),
        (lambda root: (root.layerdb / "mounts" / hexed("container web") / "mount-id").unlink(), {"unreadable-mount"}),
        (lambda root: shutil.rmtree(root.layerdb / "mounts" / hexed("container web")), {"lost-layer"}),
        (lambda root: next((root.image / "imagedb/content/sha256").iterdir()).unlink(), {"lost-image"}),
        (lambda root: next((root.image / "imagedb/content/sha256").iterdir()).write_text("{}"), {"unlisted-image"}),
    ],
    ids=[
        "a layer does not load",
        "no record of a parent",
        "no directory",
        "no diff",
        "no file link",
        "no links",
        "no lower",
        "another lower than its parent's",
        "half a record of a mount",
        "no record of a mount",
        "no config",
        "not its config",
    ],
)
def test_damage_that_dockerd_fails_on_is_a_finding(root, damage, codes):
    """Each is of severity damage, and the status of a scan is 2."""
    damage(root)
    assert {code for code, severity in _codes(root) if severity == "DAMAGE"} == codes


def test_an_emptied_layerdb_keeps_everything(root):
    """It may be lost, or another's: nothing that lies in overlay2 is called free."""
    shutil.rmtree(root.image)
    found = _judge(root)
    assert ("layers-without-records", "BLIND") in {(each.code.value, each.severity.name) for each in found.findings}
    assert {each.path for each in found.objects if each.state is not State.MISSING} == set(found.kept)

"""The classic layer store of a root with BuildKit's databases, which are written here."""

import os

import pytest
from tests.support.boltwriter import write
from tests.support.classic_root import ClassicRoot, hexed

from drydock.evidence.containerd.layer_stores import read_layer_stores
from drydock.evidence.files.sizes import Measure
from drydock.model.findings import Severity
from drydock.model.roots import Engine, Root


@pytest.fixture
def root(tmp_path):
    """A layer, a container, and what BuildKit made."""
    made = ClassicRoot(tmp_path / "docker")
    made.layer("base")
    made.an_image("shop:1", "base")
    made.container("web", "base")
    made.directory("a" * 25)
    made.builds(
        {b"a" * 25: {b"parent": b"", b"size": b"77"}, b"b" * 25: {b"committed": b"a" * 25}},
        {b"r" * 25: [b"a" * 25]},
        [b"r" * 25],
    )
    return made


def _read(root, *, recorded=True, live=False):
    data = os.fsencode(root.data)
    of = Root(data, Engine.DOCKER, docker=(data,), layer_stores=(data,))
    (store,) = read_layer_stores(of, {data: {}}, Measure(), recorded=recorded, live=live)
    return store


def test_buildkit_is_read(root):
    """Buckets, leases with what they name, and cache records."""
    builds = _read(root).builds
    assert (builds.snapshots[b"a" * 25].size, builds.snapshots[b"b" * 25].committed) == (77, b"a" * 25)
    (lease,) = builds.leases
    assert (lease.id, lease.snapshots) == (b"r" * 25, ((b"default", b"a" * 25),))
    assert builds.records == {b"r" * 25}
    assert builds.records_changed is not None
    assert (builds.snapshots_known, builds.leases_known) == (True, True)


@pytest.mark.parametrize(
    ("name", "known"),
    [("snapshots.db", (False, True)), ("containerdmeta.db", (True, False)), ("metadata_v2.db", (True, True))],
)
def test_a_database_that_cannot_be_read_is_a_blind_spot(root, name, known):
    """Cut short it is damage; missing beside the others it is not known what it names."""
    file = root.data / "buildkit" / name
    file.write_bytes(file.read_bytes()[:4096])
    store = _read(root)
    assert (store.builds.snapshots_known, store.builds.leases_known) == known
    assert store.findings
    assert store.builds.records_changed is None or name != "metadata_v2.db"
    file.unlink()
    store = _read(root)
    assert (store.builds.snapshots_known, store.builds.leases_known) == known
    said = [(each.code.value, each.severity) for each in store.findings]
    assert said == ([] if name == "metadata_v2.db" else [("no-build-database", Severity.BLIND)])


def test_databases_before_the_first_build(root):
    """Both are empty: BuildKit made nothing. An empty one beside snapshots has lost its leases."""
    for name in ("snapshots.db", "containerdmeta.db"):
        write(root.data / "buildkit" / name, {})
    store = _read(root)
    assert (store.builds.snapshots_known, store.builds.leases_known, store.findings) == (True, True, [])
    write(root.data / "buildkit/snapshots.db", {b"a" * 25: {b"parent": b""}})
    store = _read(root)
    assert (store.builds.leases_known, [each.code.value for each in store.findings]) == (False, ["empty-database"])


def test_sizes_are_recorded_or_measured(root):
    """A layer's and a build's are recorded; what a container wrote is measured; asked for, all are."""
    store = _read(root)
    measured = {name for name, each in store.directories.items() if each.allocated is not None}
    written = hexed("written web").encode()
    assert measured == {written, written + b"-init"}
    assert store.recorded_sizes() == {hexed("directory base").encode(): 100, b"a" * 25: 77}
    store = _read(root, recorded=False)
    for name, each in store.directories.items():
        paths = [root.overlay / name.decode(), *(root.overlay / name.decode()).rglob("*")]
        assert each.allocated == sum(os.lstat(path).st_blocks * 512 for path in paths)


def test_beside_an_engine_layers_of_a_pull_are_left_out(root):
    """Those that came before their image; what an image, a container or a build uses stays."""
    root.layer("pulled", "base")
    root.layer("built", "base")
    root.builds({b"s" * 25: {b"chainid": root.chains["built"].encode()}})
    whole, live = _read(root), _read(root, live=True)
    assert whole.layers.keys() - live.layers.keys() == {root.chains["pulled"].encode()}
    assert whole.directories.keys() - live.directories.keys() == {hexed("directory pulled").encode()}
    assert len(whole.links) - len(live.links) == 1
    assert live.complete


def test_beside_an_engine_a_store_that_changes_is_read_again(root, monkeypatch):
    """Until its records stay the same; if they never do, nothing of it counts as known."""
    made = []

    def pause(_):
        made.append(root.an_image(f"new{len(made)}:1", "base"))

    monkeypatch.setattr("time.sleep", pause)
    monkeypatch.setattr("drydock.evidence.containerd.layer_stores._names", lambda _: len(made))
    assert _read(root, live=True).complete
    monkeypatch.setattr("drydock.evidence.containerd.layer_stores._names", lambda _: object())
    store = _read(root, live=True)
    assert not store.complete
    assert "changed each time" in store.unlisted[0]

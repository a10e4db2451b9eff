"""Reading the classic layer store, from a root that is written here as dockerd writes it."""

import errno
import os
import time
from dataclasses import replace

import pytest
from tests.support.classic_root import ClassicRoot, hexed

from drydock.evidence.docker import layer_store
from drydock.evidence.docker.layer_store import has_layer_store, read_layer_store
from drydock.model.findings import Severity
from drydock.model.layer_store import DirectoryKind, directory_kind


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
    return read_layer_store(os.fsencode(root.data), {})


def test_everything_is_read(root):
    """Images with their chain, layers with their directory and parent, mounts, directories and links."""
    store = _read(root)
    (image,) = store.images.values()
    chain = tuple(root.chains[word].encode() for word in ("base", "top"))
    assert (image.names, image.chain, image.problem) == ((b"shop:1",), chain, "")
    assert list(store.layers) == sorted(chain)
    top = store.layers[chain[1]]
    assert (top.parent, top.size, top.problem) == (chain[0], 100, "")
    assert top.cache_id == hexed("directory top").encode()
    (mount,) = store.mounts.values()
    written = hexed("written web").encode()
    assert (mount.mount_id, mount.init_id, mount.parent) == (written, written + b"-init", chain[1])
    assert set(store.directories) == set(os.listdir(os.fsencode(root.overlay))) - {b"l"}
    assert {link.directory for link in store.links.values()} == set(store.directories)
    assert [store.links[each].directory for each in store.directories[written].lower] == [
        written + b"-init",
        hexed("directory top").encode(),
        hexed("directory base").encode(),
    ]
    assert store.directories[hexed("directory base").encode()].is_committed
    assert (store.findings, store.unlisted, store.foreign) == ([], [], [])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a" * 64, DirectoryKind.LAYER),
        ("a" * 64 + "-init", DirectoryKind.INIT),
        ("z" * 25, DirectoryKind.BUILD),
        ("metacopy-check123", DirectoryKind.PROBE),
        ("A" * 64, DirectoryKind.FOREIGN),
        ("a" * 64 + "\n", DirectoryKind.FOREIGN),
        ("my-data", DirectoryKind.FOREIGN),
    ],
)
def test_a_directory_is_known_by_its_name(name, kind):
    """Of layers, of containers' init, of BuildKit, of probes; anything else is foreign."""
    assert directory_kind(name.encode()) is kind


def test_a_record_in_nested_folders_is_one_mount(root):
    """As 28.0 to 29.1 write that of an image mount whose reference has a slash."""
    root.mount("a" * 64 + "-registry/shop:1", "top", hexed("mounted"), init=False)
    assert b"a" * 64 + b"-registry/shop:1" in _read(root).mounts
    assert len(_read(root).mounts) == 2


def test_a_link_in_place_of_a_folder_is_not_followed(root, tmp_path):
    """A directory, a record or the whole of layerdb that is a symbolic link leads nowhere."""
    record = root.layerdb / "sha256" / root.chains["top"].removeprefix("sha256:")
    record.rename(tmp_path / "away")
    record.symlink_to(tmp_path / "away")
    layer = _read(root).layers[root.chains["top"].encode()]
    assert layer.problem
    assert layer.cache_id is None
    root.layerdb.rename(tmp_path / "layerdb")
    root.layerdb.symlink_to(tmp_path / "layerdb")
    assert not _read(root).complete


def test_a_file_that_is_no_file_is_not_opened(root):
    """A FIFO in place of a record's file would stop the reading."""
    record = root.layerdb / "sha256" / root.chains["top"].removeprefix("sha256:")
    (record / "cache-id").unlink()
    os.mkfifo(record / "cache-id")
    assert "not a regular file" in _read(root).layers[root.chains["top"].encode()].problem


@pytest.mark.parametrize("name", ["..", "../../etc", "a/b", "."])
def test_a_path_is_no_name_of_a_directory(root, name):
    """A cache-id that would lead elsewhere is not taken for a name; the layer does not count as whole."""
    record = root.layerdb / "sha256" / root.chains["top"].removeprefix("sha256:")
    (record / "cache-id").write_text(name)
    layer = _read(root).layers[root.chains["top"].encode()]
    assert (layer.cache_id, layer.problem) == (None, "its cache-id is not what dockerd writes")


def test_damage_is_told(root):
    """A config that does not match its id, an empty cache-id, a size that is no number, references that are no JSON."""
    (config,) = (root.image / "imagedb/content/sha256").iterdir()
    config.write_text(config.read_text() + " ")
    record = root.layerdb / "sha256" / root.chains["base"].removeprefix("sha256:")
    (record / "cache-id").write_text("")
    other = root.layerdb / "sha256" / root.chains["top"].removeprefix("sha256:")
    (other / "size").write_text("many")
    (root.image / "repositories.json").write_text('{"Repositories": [')
    store = _read(root)
    (image,) = store.images.values()
    assert image.problem == "its config does not match its id"
    assert len(image.chain) == 2
    assert "cache-id" in store.layers[root.chains["base"].encode()].problem
    assert "size" in store.layers[root.chains["top"].encode()].problem
    assert [each.code.value for each in store.findings] == ["unreadable-references"]


def test_what_only_drydock_may_not_read_is_no_damage(root, monkeypatch):
    """References that another user than root cannot read: not known, but dockerd starts."""

    def refuse(name, *_):
        raise PermissionError(errno.EACCES, f"Permission denied: {name}")

    monkeypatch.setattr(layer_store, "read_regular", refuse)
    store = _read(root)
    (found,) = (each for each in store.findings if "repositories.json" in each.message)
    assert found.severity is Severity.BLIND
    assert "repositories.json cannot be read" in store.images_unknown


def test_an_empty_store_is_none(tmp_path):
    """A root whose overlay2 has only l has no layer store."""
    root = ClassicRoot(tmp_path / "docker")
    assert not has_layer_store(os.fsencode(root.data))
    root.directory("a" * 64)
    assert has_layer_store(os.fsencode(root.data))


def test_beside_an_engine_what_may_be_made_is_left_out(root, monkeypatch):
    """A young directory without a record, with its link, and a write-set; an hour later they count."""
    root.directory(hexed("unpacking"))
    (root.layerdb / "tmp/write-set-1").mkdir()
    live = read_layer_store(os.fsencode(root.data), {}, live=True)
    whole = _read(root)
    assert whole.directories.keys() - live.directories.keys() == {hexed("unpacking").encode()}
    assert len(whole.links) - len(live.links) == 1
    assert (len(whole.rests), live.rests) == (1, [])
    later = time.time_ns() + 3601 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert replace(read_layer_store(os.fsencode(root.data), {}, live=True), live=False) == whole

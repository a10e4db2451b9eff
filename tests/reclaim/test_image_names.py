"""Deleting names from a repositories.json, and putting them back."""

import json
import os
from contextlib import closing

import pytest
from tests.support.classic_root import ClassicRoot

from drydock.model.names import Digest, RawPath
from drydock.model.plans import NameDrop
from drydock.reclaim.image_names import change_names, find_left, prepare, put_back_names
from drydock.reclaim.root_dir import open_root_dir

FILE = "image/overlay2/repositories.json"


@pytest.fixture
def root(tmp_path):
    """A data root with three images, of which one has two names."""
    host = ClassicRoot(tmp_path / "data")
    first = host.an_image("a:1", "one")
    host.layer("one")
    host.layer("two")
    host.an_image("b.example/c:2", "two")
    host.names["a"]["a@" + first] = first
    host.references()
    return host


def text(root):
    """The file."""
    return (root.data / FILE).read_bytes()


def drops(root, *names):
    """The drops of names."""
    images = {name: image for each in root.names.values() for name, image in each.items()}
    return [NameDrop(RawPath(bytes(root.data)), each.encode(), Digest(images[each].encode()), "why") for each in names]


def test_names_go_and_the_rest_is_as_dockerd_writes_it(root):
    """A repository goes with its last name; owner and mode stay, and no other file is left."""
    os.chown(root.data / FILE, 5, 6)
    (root.data / FILE).chmod(0o640)
    with closing(open_root_dir(RawPath(bytes(root.data)))) as data_root:
        change_names(data_root, prepare(data_root, drops(root, "b.example/c:2", "a:1")))
    (repository,) = json.loads(text(root))["Repositories"].values()
    assert [name.partition("@")[0] for name in repository] == ["a"]
    assert b" " not in text(root)
    found = (root.data / FILE).stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (5, 6, 0o640)
    assert sorted(each.name for each in root.image.iterdir()) == [
        "distribution", "imagedb", "layerdb", "repositories.json",
    ]  # fmt: skip


def test_a_change_is_refused_once_the_file_is_another(root):
    """A name that is gone, one of another image, and a file that changed since it was read."""
    with closing(open_root_dir(RawPath(bytes(root.data)))) as data_root:
        prepared = prepare(data_root, drops(root, "a:1"))
        wrong = drops(root, "a:1")[0]._replace(image=Digest(b"sha256:" + b"0" * 64))
        with pytest.raises(OSError, match="not the name of"):
            prepare(data_root, [wrong])
        del root.names["b.example/c"]
        root.references()
        with pytest.raises(OSError, match="changed since"):
            change_names(data_root, prepared)
    assert b"a:1" in text(root)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"Repositories": []}', b'{"Repositories": {"a": 1}}', b"[" * 5000])
def test_another_file_is_not_touched(root, content):
    """What dockerd does not write is left."""
    wanted = drops(root, "a:1")
    (root.data / FILE).write_bytes(content)
    with (
        closing(open_root_dir(RawPath(bytes(root.data)))) as data_root,
        pytest.raises(OSError, match="not the JSON"),
    ):
        prepare(data_root, wanted)
    assert text(root) == content


def test_undo_gives_the_same_bytes_back_or_adds_to_what_came_since(root, tmp_path):
    """The copy if nothing else changed; else the names, unless another image took one."""
    before, copy = text(root), RawPath(bytes(tmp_path / "copy"))
    (tmp_path / "copy").write_bytes(before)
    with closing(open_root_dir(RawPath(bytes(root.data)))) as data_root:
        prepared = prepare(data_root, drops(root, "a:1", "b.example/c:2"))
        change_names(data_root, prepared)
        assert put_back_names(data_root, prepared.change, copy) is None
        assert text(root) == before
        change_names(data_root, prepared)
        document = json.loads(text(root))
        document["Repositories"]["new"] = {"new:1": "sha256:" + "1" * 64}
        document["Repositories"]["a"]["a:1"] = "sha256:" + "2" * 64
        (root.data / FILE).write_text(json.dumps(document))
        assert put_back_names(data_root, prepared.change, copy) == "a:1 names another image now"
    after = json.loads(text(root))["Repositories"]
    assert after["b.example/c"] == root.names["b.example/c"]
    assert after["new"] == {"new:1": "sha256:" + "1" * 64}


def test_a_killed_change_is_found(root):
    """The file that it wrote, and a name whose image is gone; nothing once the name is gone too."""
    with closing(open_root_dir(RawPath(bytes(root.data)))) as data_root:
        prepared = prepare(data_root, drops(root, "b.example/c:2"))
        assert find_left(data_root, prepared.change) is None
        (root.image / ".drydock-repositories.json").write_text("{")
        assert "a file that changing it left" in find_left(data_root, prepared.change)
        (root.image / ".drydock-repositories.json").unlink()
        image = root.names["b.example/c"]["b.example/c:2"].removeprefix("sha256:")
        (root.image / "imagedb/content/sha256" / image).unlink()
        assert "b.example/c:2, which the run was about" in find_left(data_root, prepared.change)
        change_names(data_root, prepared)
        assert find_left(data_root, prepared.change) is None

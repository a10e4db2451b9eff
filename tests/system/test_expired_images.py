"""Images that go with another one: containerd 2.4 imports them, and its collector says what goes with one removed."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.engines.containerd import Containerd
from tests.engines.hosts import newest
from tests.engines.images import Image, busybox_layer, layer, noise, write_archive
from tests.engines.listing import dropped, listed, names, on_disk
from tests.engines.sandbox import Sandbox
from tests.support.documents import recorded, run
from tests.support.roots import dumps

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]
SPACE = "default"
GONE, KEPT = "registry.test/gone:all", "registry.test/kept:all"
KINDS = ("content", "ingests", "snapshots")


@dataclass
class Stores:
    """A root after the name that was asked for was removed, and a copy of it that the engine collected."""

    root: Path
    collected: Path
    dropped: dict
    """What the collection took off the engine's lists in the namespace, by kind."""
    left: dict
    """What is on them after it."""


@contextmanager
def engine(root: Path, work: Path, *, collect: bool) -> Iterator[Containerd]:
    """The newest containerd on a root."""
    work.mkdir()
    with (
        Sandbox(work, programs=newest()) as sandbox,
        Containerd(sandbox, sandbox.show(root, "/run/root"), collect=collect) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Three imports: of two under a name of their own, with the names of the archive and of the digest beside it."""
    work = tmp_path_factory.mktemp("expired")
    root, archives = work / "root", work / "archives"
    root.mkdir()
    archives.mkdir()
    tags = {GONE: "registry.test/gone:1", KEPT: "registry.test/kept:1", None: "registry.test/alone:1"}
    with engine(root, work / "first", collect=False) as made:
        there = made.sandbox.show(archives, "/run/archives")
        for seed, (asked, tag) in enumerate(tags.items()):
            image = Image((busybox_layer(), layer({f"{seed}": noise(seed, 40)})))
            write_archive(archives / "image.tar", {tag: image})
            named = ("--index-name", asked) if asked else ()
            made.ctr("images", "import", "--digests", *named, there / "image.tar", namespace=SPACE)
        made.ctr("images", "rm", GONE, namespace=SPACE)
        before = listed(made)
    collected = work / "collected"
    shutil.copytree(root, collected, symlinks=True)
    with engine(collected, work / "second", collect=True) as collecting:
        collecting.collect(SPACE)
        after = listed(collecting)
    return Stores(root, collected, dropped(before, after)[SPACE], names(after)[SPACE])


def test_what_goes_with_a_removed_image_is_what_the_collector_drops(stores):
    """The plan deletes the very images, blobs and snapshots; what goes with an image that is there stays."""
    assert any("gone:1" in name for name in stores.dropped["images"])
    assert any("kept:1" in name for name in stores.left["images"])
    (found,) = json.loads(run("scan", "--format", "json", stores.root))["roots"]
    unreachable = recorded(found, "unreachable").get(SPACE, {})
    assert unreachable == {kind: stores.dropped[kind] for kind in KINDS if kind in stores.dropped}
    (plan,) = json.loads(run("plan", stores.root))["plans"]
    assert sorted(each["id"] for each in plan["records"] if each["kind"] == "image") == stores.dropped["images"]
    assert not plan["withheld"]


def test_what_is_left_is_what_the_engine_leaves_and_an_undo_gives_it_back(stores, tmp_path):
    """The same data is on disk, the engine gives the same lists and finds nothing more; undo brings images back."""
    root = tmp_path / "root"
    shutil.copytree(stores.root, root, symlinks=True)
    before = dumps(root)
    aside = tmp_path / "aside"
    aside.mkdir(mode=0o700)
    run("clean", "--apply", "--yes", "--state", tmp_path / "state", "--quarantine", aside, root, status=0)
    assert on_disk(root) == on_disk(stores.collected)
    cleaned = tmp_path / "cleaned"
    shutil.copytree(root, cleaned, symlinks=True)
    with engine(cleaned, tmp_path / "engine", collect=True) as collecting:
        collecting.collect(SPACE)
        assert names(listed(collecting))[SPACE] == stores.left
    (journal,) = (tmp_path / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert dumps(root) == before

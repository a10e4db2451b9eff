"""No damaged byte of a classic layer store makes a plan free more of it: what it may have meant is kept."""

import os
import shutil

import pytest
from tests.support.classic_root import ClassicRoot, hexed

from drydock.evidence.docker.containers import read_containers
from drydock.evidence.docker.layer_store import read_layer_store
from drydock.reclaim.layer_plan import plan_layers
from drydock.verdict.layer_store import judge_layer_store

LATER = 1_000_000_800_000_000_000
EVERY = bool(os.environ.get("DRYDOCK_TEST_EVERY_KILL"))
STEP = 1 if EVERY else 17
"""Which bytes are damaged: all, or one in so many of each file."""


@pytest.fixture
def root(tmp_path):
    """What is kept: an image of two layers, and a container. What is not: of each kind something."""
    made = ClassicRoot(tmp_path / "docker")
    made.layer("base")
    made.layer("top", "base")
    made.an_image("shop:1", "base", "top")
    made.container("web", "top")
    made.layer("loose", "base")
    made.layer("looser", "loose")
    made.layer("going", "base")
    record = _record(made, "going")
    record.rename(record.with_name(f"{record.name}-{'0' * 64}-removing"))
    made.directory(hexed("killed"), made.below("top"))
    (made.layerdb / "tmp/write-set-1").mkdir()
    made.mount("c" * 25, "top", hexed("step"), init=False)
    return made


def _record(root, word):
    return root.layerdb / "sha256" / root.chains[word].removeprefix("sha256:")


def _freed(root):
    data = os.fsencode(root.data)
    store = read_layer_store(data, read_containers(data, [])[0])
    found = judge_layer_store(store, LATER)
    return {each.path for each in plan_layers(store, found.objects, ended=(), kept=found.kept, records=True).removals}


def _names_of_live(root):
    """The files that say what is live: all but those of what is free anyway."""
    free = {hexed("killed"), hexed("step"), *(hexed(f"directory {each}") for each in ("loose", "looser", "going"))}
    for top in (root.image, root.overlay, root.data / "containers"):
        for folder, _, files in os.walk(top):
            for name in files:
                path = os.path.join(folder, name)
                if not free.intersection(path.split("/")) and "/diff/" not in path and not name.endswith(".gz"):
                    yield path


def test_no_changed_byte_frees_more(root):
    """Each byte of each record, of names and of lower: the plan has nothing that it had not before."""
    before = _freed(root)
    assert {b"overlay2/" + hexed(each).encode() for each in ("killed", "directory loose", "directory going")} <= before
    tried = 0
    for path in _names_of_live(root):
        with open(path, "rb") as file:
            whole = file.read()
        for at in range(0, len(whole), STEP):
            for wrong in (whole[at] ^ 1, 0):
                damaged = whole[:at] + bytes([wrong]) + whole[at + 1 :]
                with open(path, "wb") as file:
                    file.write(damaged)
                assert _freed(root) <= before, (path, at, wrong)
                tried += 1
        for short in (b"", whole[: len(whole) // 2]):
            with open(path, "wb") as file:
                file.write(short)
            assert _freed(root) <= before, (path, short)
        os.unlink(path)
        assert _freed(root) <= before, path
        with open(path, "wb") as file:
            file.write(whole)
    assert tried > 100
    assert _freed(root) == before


def test_no_lost_folder_frees_more(root):
    """Without any one folder of records, or any one record: nothing more goes."""
    before = _freed(root)
    lost = [
        root.image / "imagedb/content/sha256",
        root.image / "imagedb",
        root.layerdb / "sha256",
        root.layerdb / "mounts",
        root.layerdb,
        root.image,
        root.overlay / "l",
        root.data / "containers",
        _record(root, "base"),
        _record(root, "top"),
        root.layerdb / "mounts" / hexed("container web"),
        root.data / "containers" / hexed("container web"),
        root.overlay / hexed("directory base"),
        root.overlay / hexed("directory top"),
        root.overlay / hexed("written web"),
    ]
    for path in lost:
        aside = root.data / "aside"
        shutil.move(path, aside)
        assert _freed(root) <= before, path
        shutil.move(aside, path)
    assert _freed(root) == before


@pytest.mark.parametrize("names", ["unreadable", "lost", "without names"])
@pytest.mark.parametrize("configs", ["one", "all"])
def test_lost_configs_that_nothing_names_free_no_more(root, names, configs):
    """Configs of images are lost, and so is the file that would tell it: no layer goes that one of them may use."""
    before = _freed(root)
    folder = root.image / "imagedb/content/sha256"
    for each in folder.iterdir():
        each.unlink()
    if configs == "all":
        folder.rmdir()
    references = root.image / "repositories.json"
    if names == "lost":
        references.unlink()
    elif names == "unreadable":
        references.write_text("")
    elif configs == "all":
        references.write_text('{"Repositories":{}}')
    assert _freed(root) <= before


def test_a_lost_init_id_makes_no_written_layer_free(root):
    """A container's folder is gone, and the file init-id of its mount too: its ``-init`` directory tells enough."""
    made = root.container("old", "top")
    shutil.rmtree(root.data / "containers" / made)
    before = _freed(root)
    (root.layerdb / "mounts" / made / "init-id").unlink()
    assert _freed(root) <= before

"""What stands in containerd's way with its erofs snapshotter, with a real one: it goes on after drydock."""

import json
import subprocess

import pytest
from tests.engines.containerd import Containerd
from tests.engines.hosts import newest
from tests.engines.images import Image, busybox_layer, layer, write_archive
from tests.engines.sandbox import Sandbox
from tests.support.documents import run
from tests.support.erofs_root import EROFS

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

NAME = "registry.test/shop:1"
SNAPSHOTS = ("snapshots", "--snapshotter", "erofs")


@pytest.fixture
def root(tmp_path):
    """The root of a containerd 2.4 with an image, unpacked into erofs."""
    made = tmp_path / "root"
    made.mkdir()
    write_archive(tmp_path / "image.tar", {NAME: Image((busybox_layer(), layer({"one": b"1" * 9000})))})
    with _engine(made, tmp_path / "import") as engine:
        engine.ctr("images", "import", "--snapshotter", "erofs", tmp_path / "image.tar")
        assert len(engine.ctr_text(*SNAPSHOTS, "ls").splitlines()) == 3
    return made


class _engine:  # noqa: N801 - a context manager of two
    def __init__(self, root, work, *, collect=False):
        work.mkdir()
        self._sandbox = Sandbox(work, programs=newest())
        self._made = root, collect

    def __enter__(self):
        root, collect = self._made
        self._engine = Containerd(self._sandbox.__enter__(), root, collect=collect, snapshotter="erofs")
        return self._engine.__enter__()

    def __exit__(self, *error):
        self._engine.__exit__(*error)
        self._sandbox.__exit__(*error)


def _scan(root):
    (found,) = json.loads(run("scan", "--format", "json", root))["roots"]
    return found


def _run(engine, name):
    return engine.ctr("run", "--snapshotter", "erofs", "--rm", NAME, name, "/bin/busybox", "true", check=False)


def test_an_orphan_ends_every_run(root, tmp_path):
    """A folder of the number that comes next, with a layer that set_immutable flagged: no run works until it is gone.

    Without the flag only the first one fails: then containerd removes the folder.
    """
    last = max(int(each.name) for each in (root / EROFS / "snapshots").iterdir())
    # Some numbers were given out in between.
    orphans = [root / EROFS / f"snapshots/{number}" for number in range(last + 1, last + 5)]
    layers = [orphan / "layer.erofs" for orphan in orphans]
    for layer_ in layers:
        layer_.parent.mkdir()
        layer_.write_bytes(b"in the way")
    try:
        subprocess.run(["chattr", "+i", *layers], check=True)
        with _engine(root, tmp_path / "before") as engine:
            for attempt in ("one", "two"):
                done = _run(engine, attempt)
                assert done.returncode != 0
                assert b"file exists" in done.stderr
        run("clean", "--apply", "--yes", "--state", tmp_path / "state", root, status=0)
        assert not any(orphan.exists() for orphan in orphans)
    finally:
        subprocess.run(["chattr", "-i", *(each for each in layers if each.exists())], check=False)
    with _engine(root, tmp_path / "after") as engine:
        assert _run(engine, "three").returncode == 0


def test_a_layer_that_is_lost(root, tmp_path):
    """Of what nothing refers to: it is said, and what is left is what a collection of containerd 2.4.2 leaves."""
    with _engine(root, tmp_path / "prepare") as engine:
        for key in ("first", "second"):
            engine.ctr(*SNAPSHOTS, "prepare", f"{key}-active")
            engine.ctr(*SNAPSHOTS, "commit", key, f"{key}-active")
            engine.ctr(*SNAPSHOTS, "label", key, "containerd.io/gc.root=")
    paths = {each["id"]: each["path"] for each in _scan(root)["objects"] if each["kind"] == "snapshot"}
    (root / paths["first"] / "layer.erofs").unlink()
    theirs = tmp_path / "theirs"
    subprocess.run(["cp", "-a", root, theirs], check=True)
    (finding,) = [each for each in _scan(root)["findings"] if each["code"] == "no-erofs-layer"]
    assert finding["subject"].endswith("/first")
    run("clean", "--apply", "--yes", "--state", tmp_path / "state", root, status=0)
    with _engine(theirs, tmp_path / "collect", collect=True) as engine:
        engine.collect()
    left = sorted(each.name for each in (root / EROFS / "snapshots").iterdir())
    assert left == sorted(each.name for each in (theirs / EROFS / "snapshots").iterdir()) == ["1", "2"]
    with _engine(root, tmp_path / "again", collect=True) as engine:
        engine.collect()
        assert _run(engine, "one").returncode == 0

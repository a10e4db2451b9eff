"""A disk filled to the last byte: clean frees it without needing any of it, and the engine works again."""

import contextlib
import io
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from tests.engines.containerd import Containerd
from tests.engines.listing import listed as list_engine
from tests.engines.listing import names, on_disk
from tests.engines.sandbox import Sandbox
from tests.engines.unavailable import EngineUnavailable
from tests.support.captures import CaptureUnavailable, capture, unpack
from tests.support.documents import run
from tests.support.full_disk import disk as small_disk
from tests.support.full_disk import fill
from tests.support.records import METADATA
from tests.support.roots import databases, dumps

from drydock.reclaim import state_dir

pytestmark = pytest.mark.root

SIZE = 96 << 20


@pytest.fixture
def disk(tmp_path):
    """A disk of its own."""
    (tmp_path / "mnt").mkdir()
    with small_disk(tmp_path / "disk", tmp_path / "mnt", SIZE) as point:
        yield point


@pytest.fixture
def memory():
    """A tmpfs to put state in."""
    point = Path(tempfile.mkdtemp(prefix="drydock-test-", dir="/dev/shm"))
    yield point
    shutil.rmtree(point)


def put(name, disk):
    """A capture on the disk."""
    try:
        return unpack(capture(name), disk)
    except CaptureUnavailable as error:
        pytest.skip(str(error))


def writes(engine):
    """Whether a containerd can take in a blob."""
    done = engine.ctr("content", "ingest", "--expected-size", "5", "drydock-test", namespace="default", check=False,
                      stdin=b"hello")  # fmt: skip
    return done.returncode == 0, done.stderr.decode(errors="replace")


def works(root, work):
    """Whether containerd starts on a root and takes in a blob; what it says, and what it lists."""
    work.mkdir()
    try:
        with Sandbox(work) as sandbox, Containerd(sandbox, root, collect=False) as engine:
            return *writes(engine), names(list_engine(engine))
    except EngineUnavailable as error:
        pytest.skip(str(error))
    except TimeoutError as error:
        return False, str(error), {}


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("name", ["docker-28.5-interrupted-pull", "containerd-1.6-planted-orphans"])
def test_a_full_disk_is_freed_and_the_engine_works_again(name, disk, memory, tmp_path, monkeypatch):
    """State goes to the tmpfs and that is said; the databases do not grow; before containerd fails, after it works."""
    of = capture(name)
    host = put(name, disk)
    root = host / of.root
    defaults = (os.fsencode(disk / "var/lib/drydock"), os.fsencode(memory / "drydock"))
    monkeypatch.setattr(state_dir, "PLACES", defaults)
    fill(disk)
    could, said, _ = works(root, tmp_path / "before")
    assert not could
    assert re.search("no space left|ended before it was there", said), said
    # What containerd made while it failed may have moved a block.
    fill(disk)
    sizes = {path: path.stat().st_size for path in databases(root)}
    text = run("clean", "--end-leases", "temporary", "--apply", "--yes", "--now", of.taken_at, host, status=0)
    room = os.statvfs(disk)
    assert room.f_bfree * room.f_frsize > 1 << 20
    assert f"journal: {memory}" in text
    assert "bytes free" in text
    assert "lost with a reboot" in text
    assert not (disk / "var/lib/drydock").exists()
    assert {path: path.stat().st_size for path in databases(root)} == sizes
    could, said, lists = works(root, tmp_path / "after")
    assert could, said
    for namespace, lists_before in of.namespaces.items():
        assert lists[namespace]["images"] == sorted(row["name"] for row in lists_before["images"])
        assert lists[namespace]["containers"] == sorted(row["id"] for row in lists_before["containers"])


def test_an_edit_needs_no_free_block(disk, memory, monkeypatch):
    """With leased data only, nothing can be freed before the edit: it finds its room in the database itself."""
    of = capture("docker-28.5-interrupted-pull")
    host = put(of.name, disk)
    root = host / of.root
    monkeypatch.setattr(state_dir, "PLACES", (os.fsencode(disk / "var/lib/drydock"), os.fsencode(memory / "drydock")))
    run("clean", "--no-edit", "--apply", "--yes", "--now", of.taken_at, host, status=0)
    fill(disk)
    before = set(on_disk(root))
    size = (root / METADATA).stat().st_size
    text = run("clean", "--end-leases", "temporary", "--apply", "--yes", "--now", of.taken_at, host, status=0)
    assert "ends lease" in text
    assert (root / METADATA).stat().st_size == size
    assert set(on_disk(root)) < before
    assert os.statvfs(disk).f_bfree * 4096 > 1 << 20


def test_what_a_container_wrote_makes_room_for_its_end(disk, memory, monkeypatch):
    """No page of meta.db is free, and nothing is orphaned: its files go before its records, which then go too."""
    of = capture("docker-28.5-interrupted-pull")
    host = put(of.name, disk)
    root = host / of.root
    monkeypatch.setattr(state_dir, "PLACES", (os.fsencode(disk / "var/lib/drydock"), os.fsencode(memory / "drydock")))
    run("clean", "--end-leases", "temporary", "--apply", "--yes", "--now", of.taken_at, host, status=0)
    run("bolt", "compact", "--apply", "--yes", root / METADATA)
    (root / "io.containerd.snapshotter.v1.overlayfs/snapshots/4/fs/more").write_bytes(bytes(1 << 18))
    fill(disk)
    drop = ("clean", "--now", of.taken_at, "--drop", "container=web", "--accept-loss", "web", "--apply", "--yes")
    lists = dumps(root)
    text = run(*drop, host, status=0)
    assert "ends lease" in text
    assert dumps(root) != lists
    assert not list((host / of.docker / "containers").iterdir())


def test_without_any_room_for_the_journal_nothing_is_touched(disk, monkeypatch):
    """Every default place on the full disk: refused, with the way out named, and the databases as they were."""
    of = capture("docker-28.5-interrupted-pull")
    host = put(of.name, disk)
    monkeypatch.setattr(state_dir, "PLACES", (os.fsencode(disk / "var/lib/drydock"), os.fsencode(disk / "run-drydock")))
    fill(disk)
    before = {path: path.read_bytes() for path in databases(host / of.root)}
    paths = set(on_disk(host / of.root))
    with contextlib.redirect_stderr(io.StringIO()):
        run("clean", "--end-leases", "temporary", "--apply", "--yes", "--now", of.taken_at, host, status=32)
    assert {path: path.read_bytes() for path in databases(host / of.root)} == before
    assert set(on_disk(host / of.root)) == paths
    assert not (disk / "run-drydock").exists()

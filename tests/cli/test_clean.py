"""``drydock clean --apply`` where not everything can be read: what it removes, and the status that says so."""

import shutil

import pytest
from fuzz.stores import META_DB, METADATA, METADATA_DB, ROWS, SEQUENCES, lay_out
from tests.support import boltwriter
from tests.support.documents import run

BLOBS = "io.containerd.content.v1.content/blobs"
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"


@pytest.fixture
def store(tmp_path):
    """A store with things that go."""
    root = tmp_path / "store"
    root.mkdir()
    lay_out(root)
    boltwriter.write(root / META_DB, METADATA)
    boltwriter.write(root / METADATA_DB, ROWS, sequences=SEQUENCES)
    return root


def spoil(path):
    """A database whose pages are noise."""
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 8192)


def replace(path, link):
    """A file, or a link to a folder, in the place of a folder."""
    shutil.rmtree(path)
    if link:
        path.symlink_to("/var")
    else:
        path.write_text("x")


UNREAD = {
    "meta.db": lambda root: spoil(root / META_DB),
    "metadata.db": lambda root: spoil(root / METADATA_DB),
    "blobs is a file": lambda root: replace(root / BLOBS, link=False),
    "blobs is a link": lambda root: replace(root / BLOBS, link=True),
    "snapshots is a file": lambda root: replace(root / SNAPSHOTS, link=False),
    "snapshots is a link": lambda root: replace(root / SNAPSHOTS, link=True),
}


def test_all_of_it_done_is_0(store, tmp_path):
    """Where everything could be read, nothing is added to the status."""
    run("clean", store, "--apply", "--yes", "--state", tmp_path / "state", status=0)
    run("clean", store, "--apply", "--yes", "--state", tmp_path / "state", status=0)


@pytest.mark.parametrize("what", UNREAD)
def test_what_could_not_be_read_is_in_the_status(store, tmp_path, what):
    """8 as scan's, with something removed and, in the next run, with nothing left to remove."""
    UNREAD[what](store)
    apply = ("clean", store, "--apply", "--yes", "--state", tmp_path / "state")
    run(*apply, status=8)
    run(*apply, status=8)

"""The lists and repair where something but meta.db could not be read: a line says why, and the status has 8."""

import shutil

import pytest
from click.testing import CliRunner
from fuzz.stores import METADATA_DB

from drydock.cli import main

BLOBS = "io.containerd.content.v1.content/blobs"
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"


def spoil_rows(root):
    """A metadata.db whose pages are noise."""
    with (root / METADATA_DB).open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 8192)


def replace(path):
    """A file in the place of a folder."""
    shutil.rmtree(path)
    path.write_text("x")


UNREAD = {
    "metadata.db": (spoil_rows, {"ls snapshots", "pulls", "repair"}),
    "snapshots": (lambda root: replace(root / SNAPSHOTS), {"ls snapshots", "pulls", "repair"}),
    "blobs": (lambda root: replace(root / BLOBS), {"ls images", "ls content", "pulls", "repair"}),
}


@pytest.mark.parametrize("command", ["export container c1 {} -o -", "diff container c1 {}"])
def test_a_container_whose_rows_are_lost_is_not_said_to_be_gone(store, command):
    """Its record and its files are there: the cause is named, and where to look."""
    spoil_rows(store)
    said = CliRunner().invoke(main, command.format(store).split())
    assert said.exit_code == 8
    assert f"its directory is not known: {store / METADATA_DB}" in said.stderr
    assert said.stderr.endswith(f"may be in one of the directories below {store / SNAPSHOTS}\n")


def test_what_is_not_found_has_the_cause_beside_it(store):
    """Whatever could not be read: the container may be among it."""
    spoil_rows(store)
    said = CliRunner().invoke(main, ["export", "container", "nobody", str(store), "-o", "-"])
    assert said.exit_code == 8
    assert said.stderr.startswith("drydock: nothing here is called nobody")
    assert str(store / METADATA_DB) in said.stderr


@pytest.mark.parametrize("command", ["ls images", "ls snapshots", "ls content", "ls leases", "pulls", "repair"])
@pytest.mark.parametrize("what", UNREAD)
def test_what_could_not_be_read_is_said(store, what, command):
    """By the commands whose answer it touches, with nothing of it said before, and by no other."""
    before = CliRunner().invoke(main, [*command.split(), str(store)])
    assert before.exit_code & 8 == 0, before.output
    spoil, touched = UNREAD[what]
    spoil(store)
    after = CliRunner().invoke(main, [*command.split(), str(store)])
    assert (bool(after.exit_code & 8), after.stderr.startswith("drydock: ")) == (command in touched,) * 2, after.output


@pytest.mark.parametrize("command", ["scan", "ls images", "ls leases", "ls containers", "pulls"])
def test_a_config_of_snapshotters_that_is_not_known(store, tmp_path, command):
    """It is said by a scan; lists of what meta.db records are whole without it."""
    host = tmp_path / "host"
    (host / "etc/systemd/system").mkdir(parents=True)
    (host / "var/lib").mkdir(parents=True)
    store.rename(host / "var/lib/containerd")
    (host / "etc/systemd/system/containerd.service").write_text("ExecStart=/usr/bin/containerd --config ${CONF}\n")
    result = CliRunner().invoke(main, [*command.split(), str(host)])
    assert bool(result.exit_code & 8) is (command == "scan"), result.output

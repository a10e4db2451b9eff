"""Each script in examples/ does what it promises on a capture, and imports nothing but drydock's face."""

import ast
import csv
import fcntl
import hashlib
import io
import runpy
import sys
import tarfile

import pytest
from tests.support.captures import capture
from tests.support.newcomer import TOP, Newcomer
from tests.support.roots import data

import drydock

HOST = "docker-28.5-interrupted-pull"
SCRIPTS = sorted((TOP / "examples").glob("*.py"))
BLOBS = "io.containerd.content.v1.content/blobs/sha256"


def run(monkeypatch, capsys, name, *words):
    """Run a script in this process; its exit status, and what it printed."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOP / "examples" / name), run_name="__main__")
    return ended.value.code, capsys.readouterr()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_the_face_alone(script):
    """Besides the standard library only ``import drydock``, and no name that it does not list."""
    tree = ast.parse(script.read_text())
    modules = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = {name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names}
    assert ours == {"drydock"}
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "drydock"
    }
    assert used
    assert used <= set(drydock.__all__)


@pytest.mark.root
@pytest.mark.slow
def test_free_space_ends_what_the_engine_would_collect(unpacked_anew, tmp_path):
    """What a real containerd dropped once the leases had ended is gone; every other recorded blob is there."""
    of = capture(HOST)
    host = unpacked_anew(of)
    there = {path.name for path in (host / of.root / BLOBS).iterdir()}
    recorded = {row["digest"].partition(":")[2] for lists in of.namespaces.values() for row in lists["content"]}
    dropped = {
        digest.partition(":")[2]
        for lists in of.facts["dropped_after_leases_ended"].values()
        for digest in lists["content"]
    }
    work = tmp_path / "work"
    work.mkdir()
    with Newcomer(host / of.docker, work, {}) as newcomer:
        printed = newcomer.types(f"python {TOP}/examples/free_space.py")
        assert "/var/lib/docker/containerd/daemon: " in printed
        assert newcomer.words["JOURNAL"].startswith("/var/lib/drydock/")
    left = {path.name for path in (host / of.root / BLOBS).iterdir()}
    assert dropped & there
    assert not dropped & left
    assert (recorded & there) - dropped <= left


@pytest.mark.root
def test_free_space_does_nothing_while_an_engine_has_the_lock(unpacked, tmp_path, monkeypatch, capsys):
    """It ends with the status of the refusal, and one line."""
    of = capture(HOST)
    place = unpacked(of) / of.root
    with (place / "io.containerd.metadata.v1.bolt/meta.db").open("r+b") as database:
        fcntl.flock(database, fcntl.LOCK_EX)  # as containerd has it for as long as it runs
        status, printed = run(monkeypatch, capsys, "free_space.py", place)
    assert status == 32
    assert printed.err.startswith("not done: ")
    assert len(printed.err.splitlines()) == 1


@pytest.mark.root
def test_the_audit_has_every_blob_that_ctr_listed(unpacked, tmp_path, monkeypatch, capsys):
    """Each recorded blob with its size on disk, each state with its sum, and nothing is changed."""
    of = capture(HOST)
    host = unpacked(of)
    before = data(host / of.root)
    status, printed = run(monkeypatch, capsys, "audit.py", tmp_path / "audit.csv", host)
    assert data(host / of.root) == before
    assert status & ~3 == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "audit.csv").read_text())))
    blobs = {row["id"]: row for row in rows if row["kind"] == "blob"}
    listed = {row["digest"]: row for lists in of.namespaces.values() for row in lists["content"]}
    assert set(listed) <= set(blobs)
    for digest in listed:
        path = host / of.root / blobs[digest]["path"]
        assert int(blobs[digest]["bytes"]) == path.stat().st_blocks * 512
        assert path.name == digest.partition(":")[2]
    for state in {row["state"] for row in rows}:
        count = sum(row["state"] == state for row in rows)
        assert any(line.split()[1:3] == [state, str(count)] for line in printed.out.splitlines())


@pytest.mark.root
def test_the_rescue_has_the_bytes_of_the_containers_layers(unpacked, tmp_path, monkeypatch, capsys):
    """Each file of the archive lies with the same name and bytes in a snapshot's directory of the capture."""
    of = capture(HOST)
    host = unpacked(of)
    layers = list((host / of.root).glob("io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs"))
    assert layers
    status, printed = run(monkeypatch, capsys, "rescue.py", "web", tmp_path / "web.tar", host)
    assert status == 0
    with tarfile.open(tmp_path / "web.tar") as archive:
        files = [member for member in archive if member.isreg()]
        assert len(files) > 1
        for member in files:
            content = hashlib.sha256(archive.extractfile(member).read()).digest()
            there = [layer / member.name for layer in layers if (layer / member.name).is_file()]
            assert content in {hashlib.sha256(path.read_bytes()).digest() for path in there}, member.name
    assert f"web.tar, from {host / of.root}" in printed.out
    assert run(monkeypatch, capsys, "rescue.py", "web", tmp_path / "web.tar", host)[0] == 4  # the file is there
    assert run(monkeypatch, capsys, "rescue.py", "wep", tmp_path / "no.tar", host)[0] == 8
    assert not (tmp_path / "no.tar").exists()

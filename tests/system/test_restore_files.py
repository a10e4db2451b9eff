"""Layers that real engines unpacked, damaged as by a power cut, and unpacked again by ``repair --restore-files``."""

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile

import pytest
from fixtures.recipes.docker_interrupted_pull import PORT, images
from tests.engines.containerd import Containerd
from tests.engines.hosts import docker_on
from tests.engines.images import Blob, base_of, noise, write_archive
from tests.engines.modules import Module, built
from tests.engines.registry import Registry
from tests.engines.sandbox import Sandbox
from tests.support.captures import capture, clock, unpack
from tests.support.documents import listed_runs, run
from tests.support.faults import run_counted
from tests.support.layer_facts import layer_facts
from tests.support.records import CONTENT
from tests.support.rich import GZIP, Rich, compress, rich
from tests.support.spoiled import Spoiled
from tests.support.trees import tree

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
NAME = "docker.io/library/rich:1"
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"


def image():
    """The rich image, with a layer on it of old times, and of files in folders that only the layers below have."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, data, time in (
            ("times", tarfile.DIRTYPE, b"", "1500000000.123456789"),
            ("times/one", tarfile.REGTYPE, noise(3, 300), "1500000001.987654321"),
            ("times/two", tarfile.SYMTYPE, b"", "1500000002.5"),
            ("times/before", tarfile.REGTYPE, b"x", "-5.25"),
            ("times/never", tarfile.REGTYPE, b"x", "99999999999"),
            ("odd/folder/new", tarfile.REGTYPE, b"new", "1500000003"),
            ("lib/new", tarfile.REGTYPE, b"new", "1500000004"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.pax_headers = kind, len(data), {"mtime": time, "atime": "1400000000"}
            info.mode, info.linkname = 0o2755, "one" if kind == tarfile.SYMTYPE else ""
            tar.addfile(info, io.BytesIO(data))
    base, raw = rich(GZIP), buffer.getvalue()
    top = Blob(f"application/vnd.oci.image.layer.v1.tar+{GZIP}", compress(raw, GZIP))
    return Rich((*base.layers, top), diff_ids=(*base.diff_ids, Blob("", raw).digest))


SCRIPT = f"""set -e
if [ ! -e /times/three ]; then echo changed >/all/cap; echo new >/times/three; rm /all/empty; fi
[ "$(cat /all/cap)" = changed ]
[ "$(cat /times/three)" = new ]
[ ! -e /all/empty ]
[ "$(cat /twice)" = "second time" ]
[ ! -e /all/gone ]
[ ! -e /hidden/one ]
echo '{hashlib.sha256(noise(3, 300)).hexdigest()}  /times/one' | /bin/busybox sha256sum -c
"""
"""What the container writes when it starts first, and checks then and later."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Roots of this machine's containerd, 1.6."""
    return make(tmp_path_factory.mktemp("made"), [])


@pytest.fixture(scope="module")
def made_by_newest(tmp_path_factory):
    """Roots of containerd 2.4."""
    return make(tmp_path_factory.mktemp("newest"), [built(Module.CONTAINERD)])


def make(tmp_path, programs):
    """Make a root of containerd with the image and a container on it that wrote, and one with the image alone."""
    archive = tmp_path / "rich.tar"
    write_archive(archive, {NAME: image()})
    for name in ("used", "fresh"):
        (tmp_path / name).mkdir()
        with (
            Sandbox(tmp_path, programs=programs) as sandbox,
            Containerd(sandbox, tmp_path / name, collect=False) as engine,
        ):
            engine.ctr("images", "import", archive)
            if name == "used":
                engine.ctr("run", "--cgroup", "", NAME, "one", "/bin/busybox", "sh", "-c", SCRIPT)
    return tmp_path


@pytest.fixture
def root(made, tmp_path):
    """A copy of the first root, with all attributes."""
    return copy(made, tmp_path / "root")


def copy(made, to):
    """Copy the root with the container."""
    subprocess.run(["cp", "-a", made / "used", to], check=True)
    return to


def folder(root, path):
    """The files of the snapshot that has a path."""
    (found,) = [each for each in (root / SNAPSHOTS).glob("*/fs") if os.path.lexists(each / path)]
    return found


def damage(root):
    """What a power cut does to each layer: emptied, halved and zeroed files, lost ones, marks and links."""
    lower, upper, times = (folder(root, path) for path in ("all/dev", "hidden/three", "times/one"))
    (lower / "all/cap").write_bytes(b"")
    os.truncate(lower / "all/file", 1500)
    (lower / "twice").unlink()
    (lower / "all/dev").unlink()
    (lower / "odd/one too").unlink()
    (lower / "odd/one too").write_bytes(b"x")
    (lower / "lib").unlink()
    (lower / "usr/lib/behind").write_bytes(bytes(13))
    (upper / "all/gone").unlink()
    os.removexattr(upper / "hidden", "trusted.overlay.opaque")
    size = (times / "times/one").stat().st_size
    (times / "times/one").write_bytes(bytes(size))
    return lower, upper, times


def command(root, *options):
    """What repairs a root."""
    return (
        "repair", "--unpacked=content", "--restore-files", "--apply", "--yes", *options, "--state",
        root.parent / "state", root,
    )  # fmt: skip


def damage_of(root):
    """The codes of what verify calls damage."""
    said = run("verify", "--unpacked=content", "--format", "json", "--state", root.parent / "seen", root)
    (found,) = json.loads(said)["roots"]
    return [each["code"] for each in found["findings"] if each["severity"] == "damage"]


def fresh(made, files):
    """The same snapshot in the root that only the engine has touched."""
    return layer_facts(made / "fresh" / SNAPSHOTS / files.parent.name / "fs")


def others(root, chosen):
    """All other snapshots, to the last time."""
    ids = {each.parent.name for each in chosen}
    return {each.name: tree(each) for each in (root / SNAPSHOTS).iterdir() if each.name not in ids}


@pytest.mark.parametrize(("by", "programs"), [("made", []), ("made_by_newest", [Module.CONTAINERD])])
def test_restored_layers_are_as_the_engine_unpacks_them(by, programs, tmp_path, request):
    """File by file as in a root that only the engine has touched; the container starts and has what it wrote."""
    made = request.getfixturevalue(by)
    root = copy(made, tmp_path / "root")
    chosen = damage(root)
    kept = others(root, chosen)
    assert damage_of(root) == ["snapshot-differs"] * 3
    assert "layers unpacked again: 3 done" in run(*command(root), status=0)
    assert damage_of(root) == []
    for each in chosen:
        assert layer_facts(each) == fresh(made, each)
        assert (each.stat().st_mode, each.stat().st_uid) == (0o40755, 0)
    assert others(root, chosen) == kept
    with (
        Sandbox(tmp_path, programs=[*map(built, programs)]) as sandbox,
        Containerd(sandbox, root, collect=True) as engine,
    ):
        assert engine.version()[:4] == ("2.4." if programs else "1.6.")
        engine.ctr("tasks", "start", "one")
        engine.collect()
    assert damage_of(root) == []


def test_docker_runs_on_restored_layers(tmp_path):
    """Docker 28.5's own pull of the same image, on another copy, gives the same files.

    On the restored copy nothing is pulled; web starts, and has what it wrote.
    """
    taken = capture("docker-28.5-interrupted-pull")
    hosts = [tmp_path / name for name in ("mended", "pulled")]
    facts = []
    for host in hosts:
        host.mkdir()
        unpack(taken, host)
        served = images(base_of(host / taken.root / CONTENT, taken.facts["dockerd"]["images"][0]["id"]))
        shop = Spoiled(host / taken.root, served["shop:1"])
        name = f"127.0.0.1:{PORT}/shop:1"
        if host.name == "mended":
            base, top = shop.folder(1) / "fs", shop.folder(2) / "fs"
            os.truncate(base / "bin/busybox", 1000)
            (top / "srv/shop").write_bytes(b"")
            options = ("--unpacked", "--restore-files", "--now", clock(taken), "--state", tmp_path / "state")
            assert "unpacked again: 2 done" in run("repair", "--apply", "--yes", *options, host, status=0)
        with docker_on(taken, host, tmp_path / f"{host.name} work") as docker:
            if host.name == "mended":
                docker.docker("start", "web")
                assert "order\n" in docker.docker("cp", "web:/srv/orders", "-")
            else:
                docker.docker("rm", "web")
                docker.docker("rmi", name)
                with Registry(docker.sandbox.listen(PORT), served):
                    docker.docker("pull", "-q", name)
        facts.append([layer_facts(shop.folder(number) / "fs") for number in (1, 2)])
    assert facts[0] == facts[1]


def test_undo_brings_the_damaged_files_back(root, tmp_path):
    """With a quarantine, undo leaves each layer with the very files that it had, and what was restored is gone."""
    chosen = damage(root)
    before = [layer_facts(each) for each in chosen]
    inodes = [each.stat().st_ino for each in chosen]
    apart = tmp_path / "apart"
    apart.mkdir(mode=0o700)
    run(*command(root, "--quarantine", apart), status=0)
    assert damage_of(root) == []
    (journal,) = (tmp_path / "state").glob("*/journal.jsonl")
    (past,) = listed_runs(tmp_path / "state")
    assert (past["moved"], past["undo"]) == (3, "yes")
    run("undo", journal, status=0)
    assert [layer_facts(each) for each in chosen] == before
    assert [each.stat().st_ino for each in chosen] == inodes
    assert list(apart.iterdir()) == []
    assert damage_of(root) == ["snapshot-differs"] * 3
    run("undo", journal, status=0)
    assert [layer_facts(each) for each in chosen] == before


def test_a_damaged_blob_restores_nothing(root, tmp_path):
    """One byte of the blob is wrong: its snapshot stays as it is, and the other layers are restored."""
    lower, *_ = damage(root)
    blob = next(
        path for path in (root / CONTENT / "blobs/sha256").iterdir() if path.name == image().layers[1].digest[7:]
    )
    with blob.open("r+b") as file:
        file.seek(blob.stat().st_size // 2)
        file.write(b"\xff\x00")
    before = layer_facts(lower)
    said = run(*command(root))
    assert "unpacks again 2 layers" in said
    assert layer_facts(lower) == before


def test_a_plan_names_what_it_unpacks_again(root, tmp_path):
    """Without --apply nothing changes; the document has the layers, and native's are named as not restored."""
    damage(root)
    before = {each.name: tree(each) for each in (root / SNAPSHOTS).iterdir()}
    options = ("--unpacked=content", "--restore-files", "--format", "json", "--state", tmp_path / "state")
    said = run("repair", *options, root, status=2)
    (found,) = json.loads(said)["roots"]
    assert len(found["plan"]["restores"]) == 3
    assert found["left"] == found["losses"] == found["plan"]["records"] == []
    assert {each.name: tree(each) for each in (root / SNAPSHOTS).iterdir()} == before


@pytest.mark.parametrize("apart", [False, True], ids=["removed", "quarantined"])
def test_a_kill_leaves_former_or_restored_files_and_the_next_repair_ends_the_same(apart, made, tmp_path):
    """After each call that changes something: every layer has its former files or the engine's, the next run ends."""
    (tmp_path / "whole").mkdir()
    whole = copy(made, tmp_path / "whole/root")
    damage(whole)
    options = ()
    if apart:
        options = ("--quarantine", tmp_path / "apart")
        (tmp_path / "apart").mkdir(mode=0o700)
    calls = run_counted(*command(whole, *options)).calls
    exchanges = [number for number, name in enumerate(calls, 1) if name == "renameat2_exchange"]
    assert len(exchanges) == 3
    points = (
        range(1, len(calls) + 1)
        if ALL
        else sorted({5, len(calls) // 5, exchanges[1], exchanges[1] + 2, len(calls) - 1})
    )
    for number in points:
        (tmp_path / str(number)).mkdir()
        root = copy(made, tmp_path / str(number) / "root")
        chosen = damage(root)
        kept, damaged = others(root, chosen), [layer_facts(each) for each in chosen]
        assert run_counted(*command(root, *options), kill_after=number).signal == signal.SIGKILL
        for each, former in zip(chosen, damaged, strict=True):
            assert layer_facts(each) in (former, fresh(made, each))
        run(*command(root), status=0)
        for each in chosen:
            assert layer_facts(each) == fresh(made, each)
        assert others(root, chosen) == kept
        found = json.loads(run("scan", "--format", "json", "--state", root.parent / "state", root))["roots"][0]
        assert "unfinished-run" not in {each["code"] for each in found["findings"]}
        subprocess.run(["rm", "-r", root.parent], check=True)

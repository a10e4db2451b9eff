"""Taking out of captures of real hosts: containers, images, changes, lists, against what the engines said of them."""

import fcntl
import json
import re
import shutil
import subprocess
import tarfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.engines.containerd import Containerd
from tests.engines.docker import Docker
from tests.engines.hosts import docker_on
from tests.engines.sandbox import Sandbox
from tests.engines.suite import Suite, rootfs
from tests.support import gobbolt
from tests.support.captures import capture, captures
from tests.support.documents import run
from tests.support.erofs_images import image_mounted
from tests.support.layouts import read_layout
from tests.support.mounted import facts, mount, unpack_tar
from tests.support.newest import NOT_READ
from tests.support.program import DRYDOCK
from tests.support.records import METADATA, folders, values
from tests.support.trees import tree

from drydock.cli import main

pytestmark = pytest.mark.root

WHOLE = [each for each in captures() if each.facts.get("namespaces") and "damaged" not in each.name]
DAMAGED = "containerd-1.6-damaged"
NAMESPACES = "containerd-1.6-namespaces"
KILLED = "docker-28.5-killed"
SNAPSHOTTER = "io.containerd.snapshotter.v1."
_NO_GO = pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")


def _containers(of):
    """(namespace, name to type, snapshotter, snapshot key) of every container that the engine listed."""
    for namespace, lists in of.namespaces.items():
        for row in lists["containers"]:
            if row["snapshotter"]:  # else dockerd's, which lists it as well
                yield namespace, row["id"], row["snapshotter"], row["snapshot"]
    for row in (of.facts["dockerd"] or {}).get("containers", []):
        yield "moby", row["name"], "overlayfs", row["id"]


ALL = [
    pytest.param(of, container, id=f"{of.name}-{container[1]}")
    for of in WHOLE
    for container in _containers(of)
    # test_newest_commands.py has what is said of these.
    if container[2] not in NOT_READ
]


def _folders(root, namespace, snapshotter, key):
    """The folders of a snapshot, uppermost first, by Go's reading of both databases."""
    database = root / f"{SNAPSHOTTER}{snapshotter}" / "metadata.db"
    rows, places = values(database), folders(database)
    [name] = [row for row in places if re.fullmatch(rb"%s/\d+/%s" % (namespace.encode(), re.escape(key.encode())), row)]
    found = []
    while name:
        found.append(database.parent / places[name])
        name = rows.get((b"v1", b"snapshots", name, b"parent"), b"")
    return found


@_NO_GO
@pytest.mark.parametrize(("of", "container"), ALL)
def test_a_container_is_what_a_mount_of_its_layers_is(of, container, unpacked, tmp_path):
    """Every container of every capture: unpacked, its files are those of a real mount of the same folders."""
    namespace, name, snapshotter, key = container
    host = unpacked(of)
    archive = tmp_path / "out.tar"
    before = tree(host)
    run("export", "container", name, host, "-o", archive, "-n", namespace, status=0)
    assert tree(host) == before
    unpack_tar(archive, tmp_path / "out")
    layers = _folders(host / of.root, namespace, snapshotter, key)
    if snapshotter == "native":
        assert facts(tmp_path / "out") == facts(layers[0])
        return
    with ExitStack() as mounts:
        shown = [layer / "fs" for layer in layers]
        if snapshotter == "erofs":
            images = [layer / "layer.erofs" for layer in layers[1:]]
            shown[1:] = [mounts.enter_context(image_mounted(image, tmp_path / image.parent.name)) for image in images]
        lower = ":".join(map(str, shown))
        point = mounts.enter_context(mount(f"lowerdir={lower},index=off", tmp_path))
        assert facts(tmp_path / "out") == facts(point)


@pytest.mark.parametrize("of", [pytest.param(each, id=each.name) for each in WHOLE])
def test_every_image_is_exported_whole(of, unpacked, tmp_path):
    """Each image's archive has the digest that the engine listed, and exactly the blobs that it leads to."""
    host = unpacked(of)
    count = 0
    # A blob may be recorded in another namespace alone, as BuildKit's attestations are.
    content = {row["digest"]: row for lists in of.namespaces.values() for row in lists["content"]}
    for namespace, lists in of.namespaces.items():
        for row in lists["images"]:
            count += 1
            archive = tmp_path / f"{count}.tar"
            run("export", "image", row["name"], host, "-o", archive, "-n", namespace, status=0)
            layout = read_layout(archive)
            entries = layout.index["manifests"]
            for entry in entries:
                assert (entry["digest"], entry["mediaType"]) == (row["digest"], row["type"])
            # CRI has a record by the image's id as well: that gives all of its names.
            by_id = [each["name"] for each in lists["images"] if each["digest"] == row["digest"]]
            expected = (
                [name for name in by_id if name[:7] != "sha256:"] if row["name"][:7] == "sha256:" else [row["name"]]
            )
            assert sorted(entry["annotations"]["io.containerd.image.name"] for entry in entries) == sorted(expected)
            assert set(layout.blobs) == layout.reached(row["digest"])
            assert {digest: len(data) for digest, data in layout.blobs.items()} == {
                digest: content[digest]["size"] for digest in layout.blobs
            }
    assert count


def _words(of, host):
    """Ways to name the image and the container of Docker's capture."""
    image, container = of.facts["dockerd"]["images"][0], of.facts["dockerd"]["containers"][0]
    value = image["id"].partition(":")[2]
    yield from (
        ("image", word) for word in (image["name"], image["id"], value, value[:12], value[:1], "shop", "shop:1")
    )
    yield from (
        ("container", word) for word in (container["name"], container["id"], container["id"][:12], container["id"][:1])
    )


def test_names_ids_and_their_beginnings(unpacked, tmp_path):
    """Whatever names it, the same image and the same container come out."""
    of = capture(KILLED)
    host = unpacked(of)
    written = {"image": set(), "container": set()}
    for number, (kind, word) in enumerate(_words(of, host)):
        archive = tmp_path / f"{number}.tar"
        run("export", kind, word, host, "-o", archive, status=0)
        written[kind].add(archive.read_bytes())
    assert len(written["image"]) == len(written["container"]) == 1


def _fails(*arguments, status):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_names_that_say_too_little(unpacked, tmp_path):
    """Nothing of that name; several of it; another namespace; two roots. Each is said, and nothing is written."""
    host = unpacked(capture(NAMESPACES))
    archive = tmp_path / "out.tar"
    assert "is called nope" in _fails("export", "image", "nope", host, "-o", archive, status=8)
    assert "is called nope" in _fails("diff", "container", "nope", host, status=8)
    assert "may mean any of 2" in _fails("export", "container", "r", host, "-o", archive, status=16)
    assert "is called job" in _fails("export", "container", "job", host, "-n", "default", "-o", archive, status=8)
    assert "is not a platform" in _fails(
        "export", "image", "app:1", host, "--platform", "amd64", "-o", archive, status=16
    )
    twice = tmp_path / "twice"
    for place in ("var/lib/containerd", "var/lib/docker/containerd/daemon"):
        shutil.copytree(host / "var/lib/containerd", twice / place, symlinks=True, ignore=_no_nodes)
    (twice / "etc").mkdir()
    said = _fails("export", "image", "app:1", twice, "-o", archive, status=16)
    assert str(twice / "var/lib/containerd") in said
    assert str(twice / "var/lib/docker/containerd/daemon") in said
    assert not archive.exists()


def test_beside_a_running_engine(unpacked, tmp_path):
    """Somebody has the database open, as containerd has: every command is refused, and nothing is written."""
    host = unpacked(of := capture(NAMESPACES))
    archive = tmp_path / "out.tar"
    with (host / of.root / METADATA).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for words in (("export", "image", "app:1"), ("export", "container", "ran")):
            assert "stop it" in _fails(*words, host, "-o", archive, status=32)
        assert "stop it" in _fails("diff", "container", "ran", host, status=32)
        assert "stop it" in _fails("ls", "images", host, "--now", of.taken_at, status=32)
    assert not archive.exists()


def test_to_a_pipe(unpacked, tmp_path):
    """With - the same bytes come on stdout, and nothing else."""
    host = unpacked(capture(NAMESPACES))
    for words in (("image", "app:1"), ("container", "ran")):
        archive = tmp_path / f"{words[0]}.tar"
        run("export", *words, host, "-o", archive, status=0)
        said = subprocess.run([*DRYDOCK, "export", *words, str(host), "-o", "-"], capture_output=True, check=True)
        assert said.stdout == archive.read_bytes()


def test_without_records(unpacked_anew, tmp_path):
    """With half a meta.db, which names nothing, a container's files still come by the rows' own names."""
    of = capture("containerd-1.6-truncated-metadb")
    host = unpacked_anew(of)
    run("export", "container", "ran", host, "-o", tmp_path / "out.tar", status=0)
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert {"./was-here", "./bin/busybox"} <= set(archive.getnames())


def _no_nodes(folder, names):
    return [name for name in names if not (Path(folder, name).is_dir() or Path(folder, name).is_file())]


def test_damage_is_named_and_leaves_no_file(unpacked, tmp_path):
    """On the damaged capture: the blob that was planted as missing or corrupt, or the folder that is gone."""
    of = capture(DAMAGED)
    host = unpacked(of)
    planted = {Path(each["path"]).name for each in of.planted}
    for namespace in ("default", "k8s.io"):
        for row in of.namespaces[namespace]["images"]:
            archive = tmp_path / "image.tar"
            result = CliRunner().invoke(
                main, ["export", "image", row["name"], str(host), "-o", str(archive), "-n", namespace]
            )
            content = {each["digest"]: each["intact"] for each in of.namespaces[namespace]["content"]}
            whole = all(content.get(digest) for digest in _needed(of, row["digest"], host))
            assert result.exit_code == (0 if whole else 8), result.output
            assert whole or any(name in result.output for name in planted)
            assert archive.exists() == whole
            archive.unlink(missing_ok=True)


def _needed(of, digest, host):
    """What a manifest leads to, by the file in the store (the manifests of the captures are whole)."""
    blobs = host / of.root / "io.containerd.content.v1.content/blobs/sha256"
    document = json.loads((blobs / digest.partition(":")[2]).read_bytes())
    return [digest, document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]


@pytest.mark.engine
@pytest.mark.slow
def test_an_exported_image_in_a_fresh_containerd(unpacked, tmp_path):
    """Containerd 1.6.20 imports it under its name with the same digest, and it runs."""
    of = capture(KILLED)
    [image] = of.namespaces["moby"]["images"]
    archive = tmp_path / "image.tar"
    run("export", "image", "shop", unpacked(of), "-o", archive, status=0)
    root = tmp_path / "fresh"
    root.mkdir()
    with Sandbox(tmp_path) as sandbox, Containerd(sandbox, root, collect=False) as engine:
        engine.ctr("images", "import", archive, namespace="default")
        listed = engine.ctr_text("images", "ls", namespace="default")
        assert [line.split()[0] for line in listed.splitlines()[1:]] == [image["name"]]
        assert image["digest"] in listed
        engine.ctr("run", "--rm", image["name"], "once", "/bin/busybox", "true", namespace="default")


@pytest.mark.engine
@pytest.mark.slow
def test_an_exported_image_in_a_fresh_docker(unpacked, tmp_path):
    """Docker 28.5 loads it: the same name, the same digest; it runs and has the files."""
    of = capture(NAMESPACES)
    [_, image] = of.namespaces["default"]["images"]
    data = tmp_path / "data"
    data.mkdir()
    archive = tmp_path / "image.tar"
    run("export", "image", "base:1", unpacked(of), "-o", archive, "-n", "default", status=0)
    with Sandbox(tmp_path, rootfs(Suite.FORKY), data) as sandbox, Docker(sandbox) as docker:
        docker.docker("load", stdin=archive.read_bytes())
        [row] = [json.loads(line) for line in docker.docker("images", "--no-trunc", "--format", "json").splitlines()]
        assert (row["Repository"], row["Tag"], row["ID"]) == ("base", "1", image["digest"])
        assert docker.docker("run", "--rm", "--network", "none", "base:1", "/bin/busybox", "echo", "runs") == "runs\n"


@pytest.mark.engine
@pytest.mark.slow
def test_changes_are_dockers(unpacked_anew, tmp_path):
    """Docker 28.5 itself, on a container that did all sorts of things: drydock diff has the lines of docker diff.

    Its exported files, too, are what docker export gives.
    """
    of = capture(KILLED)
    host = unpacked_anew(of)
    script = (
        "set -e; cd /; rm -r tmp; mkdir tmp; echo x > tmp/x; rm srv/shop; mkdir srv/shop; echo y > srv/shop/y;"
        "mkdir -p new/deep; echo z > new/deep/z; chmod 700 bin; ln -s a new/link; mkfifo new/pipe;"
        "ln bin/busybox new/linked; touch -d 2001-01-01 new/deep/z; rm .dockerenv; rmdir srv/none || mkdir srv/none"
    )
    with docker_on(of, host, tmp_path / "docker") as docker:
        command = ["run", "--network", "none", "--name", "busy", "127.0.0.1:5000/shop:1", "/bin/busybox", "sh", "-c"]
        docker.docker(*command, f"/bin/busybox --install -s /bin; {script}")
        said = {name: docker.docker("diff", name).splitlines() for name in ("busy", "web")}
        docker.sandbox.run("sh", "-c", "docker export busy >/var/lib/docker/busy.tar")
    for name, lines in said.items():
        assert sorted(run("diff", "container", name, host, status=0).splitlines()) == sorted(lines)
    assert {"A /new/deep/z", "C /srv/shop", "C /bin", "C /tmp", "D /.dockerenv", "A /srv/none"} <= set(said["busy"])
    run("export", "container", "busy", host, "-o", tmp_path / "busy.tar", status=0)
    unpack_tar(tmp_path / "busy.tar", tmp_path / "ours")
    unpack_tar(host / of.docker / "busy.tar", tmp_path / "theirs")
    ours, theirs = facts(tmp_path / "ours"), facts(tmp_path / "theirs")
    assert _without_fractions(ours[0]) == _without_fractions(theirs[0])
    assert ours[1] == theirs[1]


def _without_fractions(found):
    """Docker's archives have whole seconds, and no times of the root folder, which they leave out."""
    return {path: (*each[:3], each[3] // 10**9, *each[4:]) for path, each in found.items() if path != b"."}

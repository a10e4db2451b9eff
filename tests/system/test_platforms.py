"""Images for several platforms: what real engines say of each, and what other engines and skopeo make of an export."""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from tests.engines.containerd import Containerd
from tests.engines.docker import Docker
from tests.engines.sandbox import Sandbox
from tests.engines.suite import Suite, rootfs
from tests.engines.unavailable import EngineUnavailable
from tests.support.documents import run
from tests.support.platforms import ATTESTATION, HERE, NAME, OTHER, index, write_multi

from drydock.cli import main

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

ALL = (HERE, OTHER, ATTESTATION)
_AMD, _ARM = "linux/amd64", "linux/arm64/v8"
_CHECK = re.compile(r"(\w+) \((\d+)/(\d+)\)\s.*\s(true|false)\s*$")


def _states(where, tmp_path, **options):
    """By platform what verify says: state, unpacked, how many blobs are absent."""
    said = run("verify", "--format", "json", "--state", tmp_path / "state", where, **options)
    [image] = json.loads(said)["roots"][0]["images"]
    assert image["target"] == index().digest
    return {each["platform"]: (each["state"], each["unpacked"], len(each["absent"])) for each in image["platforms"]}


def _digests(text):
    return set(re.findall(r"sha256:[0-9a-f]{64}", text))


def _own(archive):
    """The archive's own index.json: engines keep it as a blob until they collect."""
    with tarfile.open(archive) as tar:
        return {"sha256:" + hashlib.sha256(tar.extractfile("index.json").read()).hexdigest()}


@contextmanager
def _containerd(tmp_path, images, *options):
    """A containerd that imported the index with these images, and its root."""
    root = tmp_path / "var/lib/containerd"
    root.mkdir(parents=True)
    write_multi(tmp_path / "multi.tar", images)
    with Sandbox(tmp_path) as sandbox, Containerd(sandbox, root, collect=False) as engine:
        engine.ctr("images", "import", *options, tmp_path / "multi.tar")
        yield root, engine


@pytest.mark.parametrize("lost", ["nothing", "a layer", "the config", "the manifest"])
@pytest.mark.parametrize("platform", ["here", "other"])
def test_each_platform_is_as_ctr_checks_it(lost, platform, tmp_path):
    """One blob of one platform is removed with ctr: complete or not, how much of it, and unpacked, as ctr says.

    ctr checks the platform that it runs on only; the other one must not be touched by that.
    """
    of = HERE if platform == "here" else OTHER
    gone = {"a layer": of.layers[1], "the config": of.config, "the manifest": of.manifest}.get(lost)
    with _containerd(tmp_path, ALL, "--all-platforms") as (root, engine):
        if gone is not None:
            engine.ctr("content", "rm", gone.digest)
        # Where it cannot tell whether the image is unpacked, it prints what else it knows, and fails.
        checked = engine.ctr("images", "check", check=False).stdout.decode()
    found = _states(root, tmp_path)
    match = _CHECK.search(checked)
    ready = {"here": _AMD, "other": _ARM}
    if gone is None:
        assert found == {_AMD: ("complete", ["overlayfs"], 0), _ARM: ("complete", [], 0)}
    else:
        other = found[ready["other" if platform == "here" else "here"]]
        assert other == ("complete", ["overlayfs"] if platform == "other" else [], 0)
        assert found[ready[platform]][0] == ("absent" if lost == "the manifest" else "incomplete")
    if match is None:
        assert "unavailable" in checked or "incomplete" in checked
        assert found[_AMD][0] in ("absent", "incomplete")
        return
    state, unpacked, absent = found[_AMD]
    assert state == match[1]
    assert absent == int(match[3]) - int(match[2])
    assert bool(unpacked) is (match[4] == "true")


def test_a_platform_that_was_never_there(tmp_path):
    """Only this machine's platform was imported: ctr calls it complete, and so does verify; the other is absent."""
    with _containerd(tmp_path, (HERE,)) as (root, engine):
        assert "complete (3/3)" in engine.ctr_text("images", "check")
    assert _states(root, tmp_path, status=0) == {_AMD: ("complete", ["overlayfs"], 0), _ARM: ("absent", [], 1)}


def _docker_states(docker):
    """By platform what Docker's API says of the one image: available, unpacked."""
    [image] = docker.api("/images/json?manifests=1")
    assert image["Id"] == index().digest
    found = {}
    for each in image["Manifests"]:
        if each["Kind"] == "image":
            platform = each["ImageData"]["Platform"]
            name = "/".join(platform[key] for key in ("os", "architecture", "variant") if key in platform)
            found[name] = (each["Available"], each["ImageData"]["Size"]["Unpacked"] > 0)
    return found


@pytest.mark.parametrize("case", ["all", "local", "removed"])
def test_each_platform_is_as_docker_lists_it(case, tmp_path):
    """Docker 28.5: loaded whole, loaded in part, and one platform removed with docker image rm --platform."""
    data = tmp_path / "data"
    data.mkdir()
    write_multi(tmp_path / "multi.tar", (HERE,) if case == "local" else ALL)
    with Sandbox(tmp_path, rootfs(Suite.FORKY), data) as sandbox, Docker(sandbox) as docker:
        docker.docker("load", stdin=(tmp_path / "multi.tar").read_bytes())
        if case == "removed":
            docker.docker("image", "rm", "--force", "--platform", "linux/arm64", "multi:1")
        said = _docker_states(docker)
        tree = docker.docker("image", "ls", "--tree")
    assert said[_ARM][0] is (case == "all")
    found = _states(data, tmp_path, status=0)
    assert {name: (state == "complete", bool(unpacked)) for name, (state, unpacked, _) in found.items()} == said
    assert all(name in tree for name in found)
    rows = json.loads(run("ls", "images", data, "--format", "json"))["roots"][0]["images"]
    assert [(row["name"], row["digest"]) for row in rows] == [(NAME, index().digest)]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two roots: one with all platforms, one with this machine's alone."""
    made = {}
    for name, images, options in (("all", ALL, ["--all-platforms"]), ("local", (HERE,), [])):
        path = tmp_path_factory.mktemp(name)
        with _containerd(path, images, *options) as (root, _):
            made[name] = root
    return made


EXPORTS = [
    pytest.param(("all", None, index(), (index(), *(blob for each in ALL for blob in each.blobs))), id="all"),
    pytest.param(("all", _AMD, HERE.manifest, HERE.blobs), id="one"),
    pytest.param(("all", "linux/arm64", OTHER.manifest, OTHER.blobs), id="the other"),
    pytest.param(("local", None, index(), (index(), *HERE.blobs)), id="what is there"),
]


@pytest.fixture
def exported(stores, tmp_path, request):
    """An archive that drydock wrote, the blob its name points to, and the blobs it has to have."""
    store, platform, top, blobs = request.param
    archive = tmp_path / "out.tar"
    options = [] if platform is None else ["--platform", platform]
    run("export", "image", "multi", stores[store], "-o", archive, *options, status=0)
    return archive, top, {blob.digest for blob in blobs}


@pytest.mark.parametrize("exported", EXPORTS, indirect=True)
def test_in_a_fresh_containerd(exported, tmp_path):
    """The same digest and the same blobs, and what this machine can run runs."""
    archive, top, blobs = exported
    root = tmp_path / "fresh"
    root.mkdir()
    whole = blobs > {index().digest, *(blob.digest for blob in HERE.blobs)}
    with Sandbox(tmp_path) as sandbox, Containerd(sandbox, root, collect=False) as engine:
        options = ["--all-platforms"] if whole else []
        if top == OTHER.manifest:
            options = ["--no-unpack", "--platform", "linux/arm64"]
        engine.ctr("images", "import", *options, archive)
        [row] = engine.ctr_text("images", "ls").splitlines()[1:]
        assert (row.split()[0], row.split()[2]) == (NAME, top.digest)
        assert _digests(engine.ctr_text("content", "ls", "-q")) - _own(archive) == blobs
        if top != OTHER.manifest:
            said = engine.ctr_text("run", "--rm", NAME, "once", "/bin/busybox", "cat", "/srv/word")
            assert said == "here"


@pytest.mark.parametrize("exported", EXPORTS, indirect=True)
def test_in_a_fresh_docker(exported, tmp_path):
    """Docker 28.5: the same digest and blobs, and it runs."""
    archive, top, blobs = exported
    data = tmp_path / "data"
    data.mkdir()
    with Sandbox(tmp_path, rootfs(Suite.FORKY), data) as sandbox, Docker(sandbox) as docker:
        docker.docker("load", stdin=archive.read_bytes())
        [row] = [json.loads(line) for line in docker.docker("images", "--no-trunc", "--format", "json").splitlines()]
        assert (row["Repository"], row["Tag"], row["ID"]) == ("multi", "1", top.digest)
        assert _digests(docker.ctr("content", "ls", "-q")) - _own(archive) == blobs
        if top != OTHER.manifest:
            command = ["run", "--rm", "--network", "none", "multi:1", "/bin/busybox", "cat", "/srv/word"]
            assert docker.docker(*command) == "here"


def _skopeo(*arguments, **options):
    if shutil.which("skopeo") is None:
        raise EngineUnavailable("skopeo is not installed")
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *map(str, arguments)], capture_output=True, check=False, timeout=120
    )
    assert done.returncode == options.get("status", 0), done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("exported", EXPORTS, indirect=True)
@pytest.mark.parametrize("tag", ["", ":1"])
def test_skopeo_reads_it(exported, tag, tmp_path):
    """The document that the name points to byte for byte; and a copy of all has the same blobs under their digests."""
    archive, top, blobs = exported
    assert _skopeo("inspect", "--raw", f"oci-archive:{archive}{tag}") == top.data
    whole = index().digest not in blobs or OTHER.manifest.digest in blobs
    _skopeo("copy", *(["--all"] if whole else []), f"oci-archive:{archive}{tag}", f"dir:{tmp_path / 'copy'}")
    copied = [path for path in (tmp_path / "copy").iterdir() if path.name != "version"]
    summed = subprocess.run(["sha256sum", *copied], capture_output=True, check=True, text=True).stdout
    found = {f"sha256:{line.split()[0]}" for line in summed.splitlines()}
    # Of an index that lacks a platform it takes the one of this machine, and of that the index is no part.
    assert found == (blobs if whole else blobs - {index().digest})


@pytest.mark.parametrize("exported", EXPORTS, indirect=True)
def test_skopeo_reads_dockers_half_of_it(exported, tmp_path):
    """As docker-archive: what engines without the containerd image store read is an image of the same layers."""
    archive, top, _ = exported
    of = OTHER if top == OTHER.manifest else HERE
    config = json.loads(_skopeo("inspect", "--config", "--raw", f"docker-archive:{archive}:{NAME}"))
    assert config == json.loads(of.config.data)
    _skopeo("copy", f"docker-archive:{archive}:{NAME}", f"dir:{tmp_path / 'copy'}")
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert {layer.digest.partition(":")[2] for layer in of.layers} <= names


def test_a_platform_that_is_not_there(stores, tmp_path):
    """Asked for by itself, it is said which platform lacks which blob, and what is there; no file is left."""
    words = ["export", "image", "multi", str(stores["local"]), "-o", str(tmp_path / "x.tar"), "--platform"]
    result = CliRunner().invoke(main, [*words, "linux/arm64"])
    assert result.exit_code == 8
    assert f"linux/arm64/v8: {OTHER.manifest.digest}: is missing" in result.output
    result = CliRunner().invoke(main, [*words, "linux/s390x"])
    assert result.exit_code == 16
    assert "it is for linux/amd64, linux/arm64/v8" in result.output
    assert not (tmp_path / "x.tar").exists()

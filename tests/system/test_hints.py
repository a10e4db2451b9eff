"""What reports advise fits the host: commands that help here, figures that come true, and what is not told is named."""

import fcntl
import html
import json
import re
import tarfile

import pytest
from click.testing import CliRunner
from tests.support.captures import capture
from tests.support.documents import run

from drydock.cli import main

pytestmark = pytest.mark.root

DOCKERS = {
    "26.1": "docker-26.1-interrupted-pull",
    "28.5": "docker-28.5-interrupted-pull",
    "29": "docker-29-interrupted",
}
PRUNE = "docker image prune -f"
METADATA = "io.containerd.metadata.v1.bolt/meta.db"


def at(of, *words):
    """A command as at the time of a capture."""
    return (*words, "--now", of.taken_at)


@pytest.mark.parametrize("version", DOCKERS)
@pytest.mark.parametrize("command", ["scan", "pulls", "page"])
def test_dockers_own_command_is_named_where_it_helps(version, command, unpacked):
    """Docker 27.4 and later end the leases of pulls by ``docker image prune``; earlier ones do not (test_prune.py)."""
    of = capture(DOCKERS[version])
    words = ("scan", "--format", "html") if command == "page" else (command,)
    said = run(*at(of, *words), unpacked(of), status=0)
    assert (PRUNE in said) is (version != "26.1")


@pytest.mark.parametrize("name", [*DOCKERS.values(), "docker-28.5-killed"])
def test_what_ending_leases_frees_is_what_clean_frees(name, unpacked_anew, tmp_path):
    """Table, page, ticket, document and plan have one figure, and clean --end-leases temporary frees no less.

    A snapshot's own directory, which containerd does not record, is freed besides.
    """
    of = capture(name)
    host = unpacked_anew(of)
    # What only cache records hold that BuildKit drops needs no leases ended.
    run(*at(of, "clean"), "--apply", "--yes", "--state", tmp_path / "first", host)
    table = run(*at(of, "scan"), host, status=0)
    ticket = run(*at(of, "scan", "--format", "markdown"), host, status=0)
    document = json.loads(run(*at(of, "scan", "--format", "json"), host, status=0))
    page = run(*at(of, "scan", "--format", "html"), host, status=0)
    said = re.search(r"Held by temporary leases only: (.+?)\.\n", table)[1]
    assert f"- By ending leases: **{said}**" in ticket
    assert f"{said} by ending leases" in page
    ending = ("--end-leases", "temporary", "--apply", "--yes", "--state", tmp_path / "state")
    done = run(*at(of, "clean", *ending), host)
    assert f": about {said} in " in done
    (root,) = document["roots"]
    (journal,) = (tmp_path / "state").glob("**/journal*")
    freed = sum(json.loads(line).get("freed", 0) for line in journal.read_text().splitlines())
    planned = root["leased_by_class"]["temporary"]["bytes"]
    assert planned <= freed <= planned + 8192 * sum(each["kind"] == "snapshot" for each in root["objects"])


def test_pulls_are_named_only_where_there_are_any(unpacked, unpacked_anew, tmp_path):
    """With the pull ended, scan has no more to say of pulls."""
    of = capture(DOCKERS["28.5"])
    assert "drydock pulls" in run(*at(of, "scan"), unpacked(of), status=0)
    host = unpacked_anew(of)
    document = json.loads(run(*at(of, "pulls", "--format", "json"), host, status=0))
    (lease,) = document["roots"][0]["pulls"][0]["leases"]
    ending = ("--end-lease", lease["id"], "--apply", "--yes", "--state", tmp_path / "state")
    run(*at(of, "clean", *ending), host)
    said = run(*at(of, "scan"), host, status=0)
    assert "temporary:" in said
    assert "drydock pulls" not in said
    assert PRUNE not in said


@pytest.mark.parametrize(
    "words", [("scan",), ("pulls",), ("ls", "leases"), ("explain", "snapshots/5")], ids=lambda words: words[0]
)
def test_a_running_engine_is_looked_beside(words, unpacked):
    """Where a lock refuses, --live is named, and works."""
    of = capture(DOCKERS["28.5"])
    host = unpacked(of)
    with open(host / of.root / METADATA, "rb") as engine:
        fcntl.flock(engine, fcntl.LOCK_EX)
        refused = CliRunner().invoke(main, [*at(of, *words), str(host)])
        assert refused.exit_code == 32
        assert "--live to look beside it" in refused.stderr
        looked = CliRunner().invoke(main, [*at(of, *words), "--live", str(host)])
    assert looked.exit_code == 0
    whole = run(*at(of, *words), host, status=0)
    assert _without_free(looked.stdout.replace(LIVE, "")) == _without_free(whole)
    assert "live: read beside a running engine" in looked.output


def _without_free(text):
    """A text without the numbers of the file system, to which others write between two looks."""
    return re.sub(r"^.*inodes free.*$", "", text, flags=re.MULTILINE)


LIVE = "  live: read beside a running engine; what came or went during the scan is left out\n"


def test_the_end_of_a_path_is_explained(unpacked):
    """As it stands in messages of engines and of du."""
    of = capture(DOCKERS["28.5"])
    host = unpacked(of)
    path = next(
        each["path"]
        for each in json.loads(run(*at(of, "scan", "--format", "json"), host, status=0))["roots"][0]["objects"]
        if (each["path"] or "").endswith("/snapshots/5")
    )
    assert f"  path: {path}\n" in run(*at(of, "explain", "snapshots/5"), host, status=0)
    run(*at(of, "explain", "hots/5"), host, status=8)


def test_export_names_what_is_not_in_the_tar(unpacked, tmp_path):
    """An image that was mounted in the container of a real Docker 29: its files are not in the container's layers."""
    of = capture(DOCKERS["29"])
    host = unpacked(of)
    out = tmp_path / "tar"
    found = CliRunner().invoke(main, ["export", "container", "imgmount", str(host), "-o", str(out)])
    assert "not in the tar: image 127.0.0.1:5000/demo:v2, mounted at /m" in found.stderr
    with tarfile.open(out) as archive:
        assert not [each for each in archive.getnames() if each.startswith("./m/")]


def test_export_names_the_volumes_of_a_container(unpacked_anew, tmp_path):
    """By their names, and folders of the host by their paths."""
    of = capture(DOCKERS["28.5"])
    host = unpacked_anew(of)
    (config,) = (host / of.docker / "containers").glob("*/config.v2.json")
    container = json.loads(config.read_text())
    container["MountPoints"] = {
        "/data": {"Type": "volume", "Name": "orders", "Source": "/x/_data", "Destination": "/data"},
        "/srv": {"Type": "bind", "Name": "", "Source": "/home", "Destination": "/srv"},
    }
    config.write_text(json.dumps(container))
    found = CliRunner().invoke(main, ["export", "container", "web", str(host), "-o", str(tmp_path / "web")])
    assert "not in the tar: volume orders, mounted at /data\n" in found.stderr
    assert "not in the tar: bind /home, mounted at /srv\n" in found.stderr


@pytest.mark.parametrize("form", ["table", "html", "markdown", "json"])
def test_the_classic_store_is_named(form, unpacked_anew):
    """Of a driver that drydock does not judge: how much lies there; it is no damage, and no reason to keep anything."""
    of = capture(DOCKERS["28.5"])
    host = unpacked_anew(of)
    data = host / of.docker
    image, layers = data / "image/fuse-overlayfs", data / "fuse-overlayfs"
    for folder in (image / "imagedb/content/sha256/1", image / "layerdb/sha256/1", layers / "l"):
        folder.mkdir(parents=True)
    for number in range(3):
        (layers / f"{number}/diff").mkdir(parents=True)
    said = run(*at(of, "scan", "--format", form), host, status=0)
    assert "is Docker's classic image store, with images: 1, layers: 1, directories: 3;" in html.unescape(said)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("explain", "webb"), "web"),
        (("explain", "shpo:1"), "127.0.0.1:5000/shop:1"),
        (("clean", "--end-lease", "810528715-pg9g"), "810528715-pg9f"),
        (("clean", "--keep", "wbe"), "web"),
        (("plan", "--keep", "shop:11"), "127.0.0.1:5000/shop:1"),
    ],
    ids=lambda words: words if isinstance(words, str) else " ".join(words),
)
def test_what_a_mistyped_name_may_have_meant(words, meant, unpacked):
    """Names of images, long and short, of containers and of leases."""
    of = capture(DOCKERS["28.5"])
    said = CliRunner().invoke(main, [*at(of, *words), str(unpacked(of))])
    assert said.exit_code in (8, 16)
    assert f"did you mean {meant}?" in said.stderr


@pytest.mark.parametrize("form", ["table", "html", "markdown"])
def test_no_removal_is_advised_over_an_older_database(form, unpacked):
    """A newer copy may be put back: until then clean only shows; where no database is older, --apply is named."""
    for name, advised in (("docker-28.5-restored-backup", False), ("containerd-1.6-namespaces", True)):
        of = capture(name)
        said = run(*at(of, "scan", "--format", form), unpacked(of))
        assert "drydock clean /" in said
        assert ("drydock clean --apply" in said) is advised


def test_an_estimate_is_called_one(unpacked):
    """Sizes that containerd recorded are about what is freed; measured ones, and those of blobs alone, are that."""
    of = capture("containerd-1.6-namespaces")
    host = unpacked(of)
    assert re.search(r"Can be freed now: about [0-9.]+ KiB in ", run(*at(of, "scan"), host))
    assert re.search(r"Can be freed now: [0-9.]+ KiB in ", run(*at(of, "scan", "--measure", "disk"), host))
    assert "as containerd recorded them." in run(*at(of, "scan", "--format", "markdown"), host)
    assert re.search(r": about [0-9.]+ KiB in ", run(*at(of, "clean"), host))

"""Explanations of real captures: every chain begins at what the engine listed, and every step is one it stated."""

import json
import re

import pytest
from tests.support.captures import capture
from tests.support.documents import run, scan

pytestmark = pytest.mark.root

KILLED = "docker-28.5-killed"
DOCKER = ["docker-26.1-interrupted-pull", "docker-28.5-interrupted-pull", KILLED]
NAMESPACES = "containerd-1.6-namespaces"
PLANTED = "containerd-1.6-planted-orphans"
RECORD = re.compile(r"(image|container|lease|blob|ingest|snapshot|sandbox) (.+) \(namespace (\S+)\)")


def explain(of, host, word, *, status=0):
    """The explanations of one word, as a document."""
    said = run("explain", "--now", of.taken_at, "--format", "json", word, host, status=status)
    return json.loads(said)["explanations"] if said else said


def only(of, host, word, title):
    """The one explanation whose title begins so."""
    found = [each for each in explain(of, host, word) if each["title"].startswith(title)]
    assert len(found) == 1, found
    return found[0]


def listed(of, kind, key):
    """The rows of one kind that the engine listed, by namespace and name."""
    return {(name, row[key]): row for name, lists in of.namespaces.items() for row in lists[kind]}


def check_chain(of, chain, unlisted):
    """Hold a chain against the engine's lists: its root is listed, and each step is in ctr's labels and parents."""
    kind, name, namespace = RECORD.match(chain[0]).groups()
    roots = {"image": ("images", "name"), "lease": ("leases", "id"), "container": ("containers", "id")}
    lists = of.namespaces[namespace]
    snapshots = {row["key"]: row for rows in lists["snapshots"].values() for row in rows}
    if kind in roots:
        assert (namespace, name) in listed(of, *roots[kind])
    else:
        # ctr lists no labels of snapshots, no expiry of ingests, and no ingest that waits for a blob (fixtures/README).
        names = {"snapshot": set(snapshots), "blob": {row["digest"] for row in lists["content"]},
                 "ingest": {row["ref"] for row in lists["ingests"]}}  # fmt: skip
        assert name in names[kind] | unlisted
        labels = {row["digest"]: row["labels"] for row in lists["content"]}.get(name, {})
        if kind == "blob":
            assert any(label.startswith("containerd.io/gc.root") for label in labels)
        assert chain[0].endswith(("labelled containerd.io/gc.root", "a write that has no lease and has not expired"))
    for step in chain[1:]:
        below_kind, below, below_namespace = RECORD.search(step).groups()
        assert below_namespace == namespace
        if step.endswith("its target"):
            assert listed(of, "images", "name")[namespace, name]["digest"] == below
        elif step.endswith("its parent"):
            assert snapshots[name]["parent"] == below
        elif step.endswith("its root file system"):
            assert listed(of, "containers", "id")[namespace, name]["snapshot"] == below
        elif step.endswith("the blob it waits for"):
            assert name in unlisted
        elif step.endswith("listed in it"):
            assert kind == "lease"
        else:
            label = re.search(r"named in its label (\S+)$", step)[1]
            assert listed(of, "content", "digest")[namespace, name]["labels"][label] == below
        kind, name = below_kind, below
    return kind, name


@pytest.mark.parametrize("name", [*DOCKER, NAMESPACES, PLANTED])
def test_every_chain_is_one_the_engine_states(name, unpacked):
    """For every object that something holds: each step is in the engine's lists, and the last is the object."""
    of = capture(name)
    host = unpacked(of)
    root = scan(of, host)
    unlisted = {each["id"] for each in root["objects"] if each["kind"] == "ingest" and each["path"] is None}
    checked = 0
    for each in root["objects"]:
        if each["reach"] not in ("live", "leased"):
            continue
        said = only(of, host, each["path"] or each["id"], f"{each['kind']} {each['id']}")
        assert said["state"] == each["state"]
        assert said["bytes"] == each["bytes"]
        assert said["chains"], each
        for chain in said["chains"]:
            assert check_chain(of, chain, unlisted) == (each["kind"], each["id"])
        if each["state"] == "leased":
            assert all(chain[0].startswith("lease ") for chain in said["chains"])
        checked += 1
    assert checked > 10


@pytest.mark.parametrize("name", DOCKER)
def test_a_leased_layer(name, unpacked):
    """By its digest, by the beginning of its hash, and by a path below its snapshot: the pull's lease, and its end."""
    of = capture(name)
    host = unpacked(of)
    root = scan(of, host)
    blob = next(each for each in root["objects"] if (each["kind"], each["state"]) == ("blob", "leased"))
    for word in (blob["id"], blob["id"][:20], blob["id"].partition(":")[2][:12]):
        said = only(of, host, word, "blob ")
        assert said["title"] == f"blob {blob['id']}"
        assert {RECORD.match(chain[0])[2] for chain in said["chains"]} <= {
            row["id"] for row in of.namespaces["moby"]["leases"]
        }
    snapshot = next(each for each in root["objects"] if (each["kind"], each["state"]) == ("snapshot", "leased"))
    for path in (snapshot["path"] + "/fs/a/b", f"{host}/{of.root}/{snapshot['path']}", snapshot["path"] + "/"):
        assert [each["title"] for each in explain(of, host, path)] == [f"snapshot {snapshot['id']}"]


@pytest.mark.parametrize("name", DOCKER)
def test_an_image_by_the_names_people_use(name, unpacked):
    """The engine's own name, without the registry, and without the tag: its target is what ctr listed."""
    of = capture(name)
    host = unpacked(of)
    ((_, image),) = listed(of, "images", "name").items()
    for word in (image["name"], "shop:1", "shop", image["name"].rpartition(":")[0]):
        (said,) = explain(of, host, word)
        assert said["title"] == f"image {image['name']} (namespace moby)"
        assert said["state"] == "root"
        assert f"blob {image['digest']} (namespace moby), its target" in said["refers_to"]


def test_an_image_of_docker_hub_by_its_short_name(unpacked):
    """docker.io/library is left out, as Docker lets people; one explanation a namespace."""
    of = capture(NAMESPACES)
    host = unpacked(of)
    image = "docker.io/library/app:1"
    wanted = {f"image {image} (namespace {place})" for place, name in listed(of, "images", "name") if name == image}
    assert wanted
    for word in ("app:1", "docker.io/library/app:1", "library/app:1", "app"):
        assert {each["title"] for each in explain(of, host, word)} == wanted


@pytest.mark.parametrize("name", DOCKER)
def test_a_stopped_container(name, unpacked):
    """By its docker name, its id, and the 12 characters that docker ps shows: its snapshot, its lease and its log."""
    of = capture(name)
    host = unpacked(of)
    (container,) = of.facts["dockerd"]["containers"]
    for word in (container["name"], container["id"], container["id"][:12]):
        found = {each["title"]: each for each in explain(of, host, word)}
        held = {f"snapshot {container['id']}", f"lease {container['id']} (namespace moby)"}
        assert set(found) == {*held, f"log of container {container['name']}"}
        lease = found[f"lease {container['id']} (namespace moby)"]
        assert lease["state"] == "container lease"
        assert lease["facts"]["owner"] == f"container {container['name']}"


@pytest.mark.parametrize("name", DOCKER)
def test_a_lease(name, unpacked):
    """The pull's: when it was made and when it ends are ctr's, and what it lists is there."""
    of = capture(name)
    host = unpacked(of)
    row = next(row for row in of.namespaces["moby"]["leases"] if "containerd.io/gc.expire" in row["labels"])
    said = only(of, host, row["id"], "lease ")
    assert said["state"] == "temporary lease"
    assert said["facts"]["created"].startswith(row["created"].rstrip("Z"))
    ends = row["labels"]["containerd.io/gc.expire"]
    assert said["facts"]["ends"].startswith(ends[:10])
    assert said["refers_to"]


@pytest.mark.parametrize("name", [NAMESPACES, PLANTED])
def test_what_nothing_holds_says_why(name, unpacked):
    """What the engine's collection dropped: the lease that ended, by a name it listed, or the record that led there."""
    of = capture(name)
    host = unpacked(of)
    leases = listed(of, "leases", "id")
    ended = 0
    for namespace, kinds in of.facts["dropped_by_gc"].items():
        for ref in kinds.get("ingests", []) + kinds.get("content", []):
            for said in explain(of, host, ref):
                if said["chains"] or not said["title"].startswith(("blob", "ingest")):
                    continue
                assert said["nothing"]
                lease = re.match(r"lease (\S+) \(namespace (\S+)\) held it, and ended", said["nothing"])
                if lease:
                    assert (lease[2], lease[1]) in leases
                    assert lease[1] in of.facts["dropped_by_gc"][namespace]["leases"]
                    ended += 1
    assert ended


def test_orphans_say_so(unpacked):
    """A directory without a row, a blob without a record, and a name that is no digest."""
    of = capture(PLANTED)
    host = unpacked(of)
    snapshots = "io.containerd.snapshotter.v1.overlayfs/snapshots"
    for word in ("9999", f"{snapshots}/9999", f"{snapshots}/9999/fs/zero"):
        (said,) = [each for each in explain(of, host, word) if "overlayfs" in each["facts"]["path"]]
        assert (said["title"], said["state"], said["chains"]) == ("snapshot 9999", "orphaned", [])
        assert said["nothing"] == "no record names it; no row has its number"
    (said,) = explain(of, host, "sha256:" + "f" * 64)
    assert (said["state"], said["nothing"]) == ("orphaned", "no record names it")
    (said,) = explain(of, host, "zz-not-a-digest")
    assert said["state"] == "foreign"
    text = run("explain", "--now", of.taken_at, "\\x1b[31mred\\x0a\\xff", host)
    assert "\x1b" not in text
    assert "orphaned" in text


def test_words_that_do_not_fit(unpacked):
    """A beginning of several names: status 16, and some of them; a name of nothing: status 8."""
    of = capture(KILLED)
    host = unpacked(of)
    explain(of, host, "sha256:", status=16)
    explain(of, host, "no-such-thing", status=8)
    explain(of, host, "", status=8)
    explain(of, host, "sha", status=8)


def test_the_text_for_a_person(unpacked):
    """Bytes in units and in full, the chain from the root down, and one line each."""
    of = capture(NAMESPACES)
    host = unpacked(of)
    text = run("explain", "--now", of.taken_at, "job", host)
    assert re.search(r"^  size: \d+\.\d [KM]iB \(\d+ bytes\)$", text, re.MULTILINE)
    lines = text.splitlines()
    at = lines.index("  held by:")
    assert lines[at + 1].strip() == "container job (namespace ci): a container"
    assert lines[at + 2].strip() == "holds snapshot job (namespace ci), its root file system"
    assert all(line == line.rstrip() for line in lines)


def test_an_incomplete_reading_proves_nothing(unpacked):
    """With half a meta.db, a blob that no readable record names is not said to be named by none."""
    of = capture("containerd-1.6-truncated-metadb")
    host = unpacked(of)
    digest = next(path for path in (host / of.root).glob("io.containerd.content.v1.content/blobs/sha256/*")).name
    (said,) = explain(of, host, f"sha256:{digest}", status=8)
    assert said["chains"] or "not all could be read" in said["nothing"]

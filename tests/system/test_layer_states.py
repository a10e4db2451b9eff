"""The states of classic layer stores that real Dockers left, beside a reading of the same files that is written here.

BuildKit's databases are read by Go's bbolt.
"""

import hashlib
import json
import os
import re
import subprocess

import pytest
from tests.support.build_cache import left_by_steps
from tests.support.captures import CaptureUnavailable, every_capture
from tests.support.documents import run
from tests.support.gobbolt import dump, why_not

pytestmark = pytest.mark.root

_MADE = re.compile(r"[0-9a-f]{64}(-init)?|[0-9a-z]{25}|check-overlayfs-support[0-9]+|metacopy-check[0-9]+")
"""The names that dockerd gives in overlay2."""
CAPTURES = [each for each in every_capture() if each.classic or each.switched]


@pytest.fixture(params=CAPTURES, ids=lambda each: each.name)
def taken(request, unpacked):
    """A capture, and the data root in it."""
    if why_not():
        pytest.skip(why_not())
    try:
        return request.param, unpacked(request.param) / request.param.docker
    except CaptureUnavailable as reason:
        pytest.skip(str(reason))


class Reading:
    """What a data root's own files say, without drydock."""

    def __init__(self, data):
        self.layerdb = data / "image/overlay2/layerdb"
        self.overlay2 = data / "overlay2"
        self.on_disk = {each.name for each in self.overlay2.iterdir()} - {"l", "backingFsBlockDev"}
        self.records = {
            each.name: {file.name: file.read_text() for file in each.iterdir() if not file.name.endswith(".gz")}
            for each in (self.layerdb / "sha256").iterdir()
        }
        self.containers = set(os.listdir(data / "containers"))
        self.mounts = {
            str(each.parent.relative_to(self.layerdb / "mounts")): {
                file.name: file.read_text() for file in each.parent.iterdir()
            }
            for each in (self.layerdb / "mounts").rglob("mount-id")
        }
        database = data / "buildkit/metadata_v2.db"
        self.dropped = left_by_steps(database) if database.exists() else set()
        """The cache records that BuildKit drops by itself: in these stores what killed steps left."""
        self.snapshots = [each for each in _paths(data / "buildkit/snapshots.db") if each[0][0] not in self.dropped]
        self.leased = {
            (path[3], path[6])
            for path, _ in _paths(data / "buildkit/containerdmeta.db")
            if len(path) == 7
            and path[2] == "leases"
            and path[4:6] == ("snapshots", "default")
            and path[3] not in self.dropped
        }
        self.cached = {
            path[1] for path, _ in _paths(data / "buildkit/metadata_v2.db") if path[0] == "_main" and path[1:]
        }
        self.images = [
            json.loads(each.read_text()) for each in (data / "image/overlay2/imagedb/content/sha256").iterdir()
        ]

    def live(self):
        """The directories that images, containers and BuildKit use, with those below them."""
        chains, found = set(), set()
        for image in self.images:
            chain = None
            for diff in image["rootfs"].get("diff_ids") or ():
                chain = diff if chain is None else "sha256:" + hashlib.sha256(f"{chain} {diff}".encode()).hexdigest()
                chains.add(chain)
        for name, mount in self.mounts.items():
            if name[:64] in self.containers:
                chains.add(mount["parent"])
                found |= {mount["mount-id"], mount.get("init-id", mount["mount-id"])}
        for path, value in self.snapshots:
            found |= {path[0]} & self.on_disk
            chains |= {path[0]} if path[0].startswith("sha256:") else set()
            found |= {value} if path[1:] == ("committed",) else set()
            chains |= {value} if path[1:] == ("chainid",) else set()
        chains |= {key for lease, key in self.leased if key.startswith("sha256:") and lease in self.cached}
        return self._with_lower(found | self.of_chains(chains))

    def of_chains(self, chains):
        """The directories of layers and their parents."""
        found, pending = set(), [each.removeprefix("sha256:") for each in chains]
        while pending:
            record = self.records[pending.pop()]
            found.add(record["cache-id"])
            pending += [record["parent"].removeprefix("sha256:")] if "parent" in record else []
        return found

    def _with_lower(self, names):
        for name in list(names):
            lower = self.overlay2 / name / "lower"
            for link in lower.read_text().split(":") if lower.exists() else ():
                names.add(os.readlink(self.overlay2 / link).split("/")[1])
        return names

    def ownerless(self):
        """The directories that only a mount without its container names, or a lease without its cache record."""
        found = {key for lease, key in self.leased if lease not in self.cached} & self.on_disk
        for name, mount in self.mounts.items():
            if name[:64] not in self.containers and "init-id" in mount:
                found |= {mount["mount-id"], mount["init-id"], *self.of_chains({mount["parent"]})}
        return found - self.live()

    def recorded(self):
        """The directories that any record names."""
        found = {record["cache-id"] for record in self.records.values() if "cache-id" in record}
        found |= self.dropped & self.on_disk
        return found | {mount[key] for mount in self.mounts.values() for key in ("mount-id", "init-id") if key in mount}


def _paths(database):
    """The keys and buckets of a database with the values of keys, as text, by Go's bbolt."""
    found = []
    for line in dump(database).splitlines() if database.exists() else ():
        kind, path, value = line.split(" ")
        if path != "/":
            words = tuple(bytes.fromhex(part).decode("utf-8", "replace") for part in path.split("/"))
            found.append((words, bytes.fromhex(value).decode("utf-8", "replace") if kind == "key" else None))
    return found


def _objects(data, capture, *options):
    document = json.loads(run("scan", "--format", "json", "--now", capture.taken_at, *options, data))
    return [each for root in document["roots"] for each in root["objects"] if "data_root" in each], document


def test_directories_have_the_states_of_an_independent_reading(taken):
    """Live, leased, unreachable, orphaned: every directory is in the one that its records say."""
    capture, data = taken
    objects, _ = _objects(data, capture)
    states = {each["id"]: each["state"] for each in objects if each["kind"] == "layer-directory"}
    reading = Reading(data)
    live, ownerless = reading.live(), reading.ownerless()
    free = reading.on_disk - live - ownerless
    expected = {
        **dict.fromkeys(live, "live"),
        **dict.fromkeys(ownerless, "leased"),
        **dict.fromkeys(free & reading.recorded(), "unreachable"),
        **dict.fromkeys(free - reading.recorded(), "orphaned"),
        **dict.fromkeys((name for name in free if not _MADE.fullmatch(name)), "foreign"),
    }
    assert states == expected


def test_records_have_states(taken):
    """A record whose removal began, a write-set, a mount without a container, a layer that no image has."""
    capture, data = taken
    objects, document = _objects(data, capture)
    reading = Reading(data)
    by_kind = {}
    for each in objects:
        by_kind.setdefault(each["kind"], {})[each["id"]] = each["state"]
    live = reading.live() | reading.ownerless()
    layers = {f"sha256:{name}": record for name, record in reading.records.items() if len(name) == 64}
    assert {name for name, state in by_kind["layer"].items() if state == "unreachable"} == {
        name for name, record in layers.items() if record["cache-id"] not in live
    }
    rests = {name: "unreachable" for name in reading.records if name.endswith("-removing")}
    rests |= dict.fromkeys(os.listdir(reading.layerdb / "tmp"), "orphaned")
    assert by_kind.get("layer-rest", {}) == rests
    assert set(by_kind["layer-mount"]) == set(reading.mounts)
    links = {
        link: os.readlink(reading.overlay2 / "l" / link).split("/")[1] for link in os.listdir(reading.overlay2 / "l")
    }
    directories = by_kind["layer-directory"]
    assert by_kind["layer-link"] == {link: directories.get(name, "orphaned") for link, name in links.items()}
    lost = {name for name in reading.mounts if name not in reading.containers and "init-id" in reading.mounts[name]}
    ownerless = {each["id"] for root in document["roots"] for each in root["leases"] if "data_root" in each
                 and each["class"] == "ownerless"}  # fmt: skip
    assert lost <= ownerless
    assert ownerless - lost <= {lease for lease, _ in reading.leased if lease not in reading.cached}


def test_bytes_are_what_du_counts(taken):
    """Measured on disk: the directories with the folders of overlay2 are what du counts, each inode once."""
    capture, data = taken
    objects, document = _objects(data, capture, "--measure", "disk")
    mine = sum(each["bytes"] for each in objects if each["kind"] in ("layer-directory", "layer-link"))
    own = sum(os.lstat(each).st_blocks * 512 for each in (data / "overlay2", data / "overlay2/l"))
    du = subprocess.run(["du", "-x", "-s", "-B1", data / "overlay2"], capture_output=True, check=True, text=True)
    assert mine + own == int(du.stdout.split()[0])
    whole = subprocess.run(["du", "-x", "-s", "-B1", data], capture_output=True, check=True, text=True)
    entries = [each["bytes"] for each in document["usage"] if each["path"].startswith(str(data))]
    assert abs(sum(entries) - int(whole.stdout.split()[0])) <= int(whole.stdout.split()[0]) // 1000


def test_an_intact_capture_is_called_intact(taken, tmp_path):
    """Every layer that is whole gives its diff id; nothing that the engine left is called damage."""
    capture, data = taken
    options = ("--unpacked=content", "--no-second-reading", "--now", capture.taken_at, "--state", tmp_path / "state")
    said = run("verify", *options, data)
    assert not re.search(r"layer-differs|layer-not-compared|corrupt-layer|missing-layer|unlisted-image", said), said


def test_what_the_engine_names_is_live_and_held_by_it(taken):
    """The directories of docker inspect: each is live; no other has an image or a container as its holder."""
    capture, data = taken
    graph = capture.facts["dockerd"].get("graph")
    if not graph:
        return  # the engine was asked in another mode
    objects, _ = _objects(data, capture, "--holders")
    directories = {each["id"]: each for each in objects if each["kind"] == "layer-directory"}
    named = {name for names in graph.values() for name in names}
    assert {directories[name]["state"] for name in named} == {"live"}
    holders = {name: {ref["id"] for ref in each["held_by"] if ref["kind"] in ("image", "container")}
               for name, each in directories.items()}  # fmt: skip
    assert {name for name, ids in holders.items() if ids} == named
    for identity, names in graph.items():
        said = run("explain", identity, "--now", capture.taken_at, data)
        own = names if identity.startswith("sha256:") else [name for name in names if identity in holders[name]]
        assert own
        assert all(name in said for name in own)


def test_a_short_name_means_the_image_in_each_store(taken):
    """After a switch the same image may be in both: both are explained, by its whole name and by its short one."""
    capture, data = taken
    for word in ("127.0.0.1:5000/shop:1", "shop:1", "shop"):
        said = run("explain", word, "--now", capture.taken_at, data)
        titles = [line for line in said.splitlines() if line.startswith("image ")]
        assert len(titles) == (2 if capture.switched else 1)
        assert "(classic layer store)" in titles[0]

"""Each way to break a store on purpose is found, called by its name, and nothing else is said of it."""

import json
import os
import re
import shutil

import pytest
from fixtures.breakages import BREAKAGES, ROWS, Broken
from tests.support import gobbolt
from tests.support.captures import capture, unpack
from tests.support.documents import run
from tests.support.records import CONTENT, METADATA, folders, values

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]

LEFT_OUT = (b"containerd.io/distribution.source.", b"containerd.io/uncompressed")
"""Labels that nothing on disk proves."""
TAKEN = capture("docker-28.5-interrupted-pull")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The capture, unpacked once."""
    return unpack(TAKEN, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def orphans(whole):
    """What is orphaned in it before anything is broken."""
    return _orphaned(whole)


@pytest.fixture
def host(whole, tmp_path):
    """A copy to be broken."""
    made = tmp_path / "host"
    os.system(f"cp -a {whole} {made}")
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("name", BREAKAGES)
def test_is_found_and_named(name, host, tmp_path, orphans):
    """The findings are the breakage's, of damage and of what could not be read; hit is who needs what is broken."""
    broken = Broken(host / TAKEN.root)
    BREAKAGES[name](broken)
    found = _verify(host, tmp_path, "--data", "--unpacked=content")
    assert {(each["code"], each["subject"]) for each in found} == broken.said
    assert {image for each in found for image in each["images"]} == broken.images
    assert {container for each in found for container in each["containers"]} == broken.containers
    if not any(code.startswith(("unreadable", "shared", "newer")) for code, _ in broken.said):
        assert _orphaned(host) - orphans == broken.orphaned
    before = _state(host)
    run("repair", "--data", "--unpacked=content", "--now", TAKEN.taken_at, "--state", tmp_path / "state", host)
    assert _state(host) == before


MENDED = [
    *(name for name in BREAKAGES if name.startswith(("manifest_", "config_", "layer_", "file_"))),
    "record_without_row", "record_without_last_row", "parent_without_row", "row_with_other_parent",
    "folder_missing", "active_folder_missing", "folder_is_a_file",
    "junk_file", "field_image", "field_expiry", "row_created",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MENDED)
def test_repair_leaves_no_damage(name, host, tmp_path):
    """After repair nothing is found any more, but that an image's manifest has to be pulled; undo brings it back.

    What is lost is the container, where its files or what they stand on went; without --accept-loss that stays.
    """
    broken = Broken(host / TAKEN.root)
    BREAKAGES[name](broken)
    options = ("--data", "--unpacked=content", "--now", TAKEN.taken_at, "--state", tmp_path / "state")
    if broken.containers:
        ours = [path for path in _state(host) if path.endswith("/srv/orders")]
        run("repair", *options, "--apply", "--yes", host, status=2)
        assert all(os.path.exists(path) for path in ours)
        assert broken.said <= {(each["code"], each["subject"]) for each in _verify(host, tmp_path, *options[:2])}
        options += ("--accept-loss", "web", *(("--drop-unproved",) if name.startswith("layer_") else ()))
    (tmp_path / "apart").mkdir()
    said = run("repair", *options, "--apply", "--yes", "--quarantine", tmp_path / "apart", host, status=0)
    left = {(each["code"], each["subject"]) for each in _verify(host, tmp_path, *options[:2])}
    assert left == ({("missing-target", broken.image)} if name.startswith("manifest_") else set())
    for database in (METADATA, ROWS):
        assert gobbolt.check(host / TAKEN.root / database) == (0, "")
    (journal,) = re.findall(r"journal: (\S+\.jsonl)", said)
    run("undo", journal, status=0)
    assert {(each["code"], each["subject"]) for each in _verify(host, tmp_path, *options[:2])} == broken.said


@pytest.mark.parametrize("name", ["blob_without_record", "target_without_record"])
def test_adopt_mends_what_lost_its_record(name, host, tmp_path, orphans, whole):
    """Go reads the records that were there before, but for their times and two labels; undo takes it back.

    Nothing is found any more, and nothing more is orphaned than was before.
    """
    broken = Broken(host / TAKEN.root)
    BREAKAGES[name](broken)
    without = gobbolt.dump(host / TAKEN.root / METADATA)
    options = ("--adopt", "--now", TAKEN.taken_at, "--state", tmp_path / "state")
    assert broken.image in run("repair", *options, host, status=2).partition("complete again")[2]
    said = run("repair", *options, "--apply", "--yes", host, status=0)
    assert _verify(host, tmp_path, "--data") == []
    assert _orphaned(host) == orphans
    assert gobbolt.check(host / TAKEN.root / METADATA) == (0, "")
    (digest,) = broken.orphaned
    place = (b"v1", b"moby", b"content", b"blob", digest.encode())

    def told(root):
        known = {path[5:]: value for path, value in values(root / METADATA).items() if path[:5] == place}
        return {name: value for name, value in known.items()
                if not name[0].endswith(b"edat") and not name[-1].startswith(LEFT_OUT)}  # fmt: skip

    assert told(host / TAKEN.root) == told(whole / TAKEN.root)
    assert (b"size",) in told(host / TAKEN.root)
    (journal,) = re.findall(r"journal: (\S+\.jsonl)", said)
    run("undo", journal, status=0)
    assert gobbolt.dump(host / TAKEN.root / METADATA) == without


@pytest.mark.parametrize("name", ["blob_without_record", "target_without_record"])
def test_verify_names_repair_adopt_where_the_file_is_there(name, host, tmp_path):
    """At the blob, in the document and in the text, until its bytes are found wrong, or its file is gone."""
    broken = Broken(host / TAKEN.root)
    BREAKAGES[name](broken)
    (digest,) = broken.orphaned
    options = ("--data", "--now", TAKEN.taken_at, "--state", tmp_path / "state", host)
    for way, adoptable in (("whole", [digest]), ("wrong", []), ("gone", [])):
        if way == "wrong":
            data = bytearray(broken.path(digest).read_bytes())
            data[len(data) // 2] ^= 1
            broken.path(digest).write_bytes(data)
        elif way == "gone":
            broken.path(digest).unlink()
        (root,) = json.loads(run("verify", "--format", "json", *options))["roots"]
        (image,) = root["images"]
        assert image["adoptable"] == adoptable
        assert [digest] in [platform["absent"] for platform in image["platforms"]]
        text = run("verify", *options)
        assert (f"{digest}: without a record in this namespace; drydock repair --adopt" in text) is (way == "whole")
        assert (f"drydock repair --adopt {host}" in text) is (way == "whole")
        assert ("repair --adopt" in text) is (way == "whole")


def test_nothing_is_said_of_what_is_whole(whole, tmp_path):
    """Without a breakage nothing is found."""
    assert _verify(whole, tmp_path, "--data", "--unpacked=content") == []


@pytest.mark.parametrize("database", [METADATA, ROWS])
def test_every_damaged_page_in_use_is_found(database, host, tmp_path):
    """Any page whose header is destroyed is found, with its number, unless Go's bbolt finds nothing wrong either."""
    path = host / TAKEN.root / database
    good = path.read_bytes()
    pages = len(good) // 4096
    missed = []
    for page in range(pages):
        data = bytearray(good)
        data[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
        path.write_bytes(data)
        # What of the records is lost with a page is hit as well; the page itself has to be named.
        named = {each["page"] for each in _verify(host, tmp_path, all_of_them=True)}
        if page not in named and gobbolt.check(path)[0] != 0:
            missed.append(page)
    assert missed == []
    assert pages > 4


@pytest.mark.parametrize("database", [METADATA, ROWS])
def test_a_file_cut_at_any_page_is_found(database, host, tmp_path):
    """A database that ends anywhere before its high-water mark is damage of that file."""
    path = host / TAKEN.root / database
    good = path.read_bytes()
    used = max(int.from_bytes(good[at + 56 : at + 64], "little") for at in (0, 4096))
    for page in range(min(used, len(good) // 4096)):
        path.write_bytes(good[: page * 4096])
        found = _verify(host, tmp_path)
        assert any(
            each["file"].endswith(database) and each["code"].startswith(("bolt-", "unreadable")) for each in found
        )
    path.write_bytes(good)
    assert _verify(host, tmp_path) == []


def test_an_old_database_with_new_data(tmp_path):
    """Where old databases were restored, damage is what they name and the disk has not, by Go's reading of them."""
    taken = capture("docker-28.5-restored-backup")
    host = unpack(taken, tmp_path)
    root = host / taken.root
    expected = set()
    for path in values(root / METADATA):
        match path:
            case (b"v1", _, b"content", b"blob", digest, b"size"):
                if not (root / CONTENT / "blobs" / digest.decode().replace(":", "/")).exists():
                    expected.add(("missing-blob", digest.decode()))
    rows = folders(root / ROWS)
    for path, value in values(root / METADATA).items():
        match path:
            case (b"v1", _, b"snapshots", b"overlayfs", key, b"name"):
                if not (root / ROWS).parent.joinpath(rows[value]).exists():
                    expected.add(("missing-snapshot", key.decode()))
    found = {
        (each["code"], each["subject"])
        for each in _verify(host, tmp_path, "--data", "--unpacked", taken=taken, notes=True)
    }
    # BuildKit's own database is newer too: this record has a snapshot that the older meta.db never had.
    built = "xr8kplteqjp9t660y30luialw"
    assert not any(built.encode() in path for path in values(root / METADATA))
    expected |= {("older-database", "overlayfs"), ("lost-container", "newer"), ("record-without-snapshot", built)}
    assert found == expected
    assert len(expected) > 10


def _verify(host, tmp_path, *options, taken=TAKEN, all_of_them=False, notes=False):
    """The findings, without notes."""
    said = run(
        "verify", *options, "--format", "json", "--now", taken.taken_at, "--state", tmp_path / "state", host
    )  # fmt: skip
    (root,) = json.loads(said)["roots"]
    wanted = ("damage", "blind", "note") if all_of_them or notes else ("damage", "blind")
    return [each for each in root["findings"] if each["severity"] in wanted]


def _orphaned(host):
    (root,) = json.loads(run("scan", "--format", "json", "--now", TAKEN.taken_at, host))["roots"]
    return {each["id"] for each in root["objects"] if each["state"] == "orphaned"}


def _state(host):
    """Every path with its size and change time: nothing of a store may change."""
    found = {}
    for folder, folders_, files in os.walk(host):
        for name in folders_ + files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            found[path] = info.st_size, info.st_mtime_ns, info.st_ctime_ns
    return found

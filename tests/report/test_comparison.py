"""What changed between two scans: changes made by hand in known documents come out, and no others."""

import copy
import json

import pytest
from tests.support.browser import opened
from tests.support.documents import parsed, run
from tests.support.fleets import MIB, digest, host_document
from tests.support.scans import scan_of_everything
from tests.support.values import NOW

from drydock.report.document import scan_document, scan_lines

HOSTILE = b"</script><script>window.bad=1</script>\x1b[31m\xe2\x80\xae"


def write(folder, name, document):
    """A scan as a file."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return path


def compared(folder, old, new, *options):
    """What compare says of two documents."""
    paths = [write(folder, name, document) for name, document in (("old", old), ("new", new))]
    return json.loads(run("compare", "--format", "json", *options, *paths, status=0))


def told(document):
    """The differences, short."""
    return {
        (each["kind"], each["change"], each["name"], (each["new_bytes"] or 0) - (each["old_bytes"] or 0))
        for each in document["differences"]
    }


@pytest.fixture
def old():
    """One host, with what takes space beside its root."""
    document = host_document(1)
    document["usage"] = [
        {"category": "named-volumes", "name": "pg", "path": "/d/volumes/pg", "bytes": 5 * MIB},
        {"category": "container-logs", "name": "web", "path": "/d/containers/1", "bytes": MIB},
        {"category": "tmp", "name": "", "path": "/d/tmp", "bytes": None},
    ]
    document["file_systems"] = [{"path": "/d", "size": 100 * MIB, "used": 50 * MIB, "free": 50 * MIB}]
    return document


@pytest.fixture
def new(old):
    """The same host, later."""
    return copy.deepcopy(old)


def test_nothing_changed(old, new, tmp_path):
    """Two equal scans differ in nothing, and the text says so."""
    document = compared(tmp_path, old, new)
    assert document["differences"] == document["notes"] == []
    assert "Nothing changed." in run("compare", tmp_path / "old.json", tmp_path / "new.json", status=0)


def test_each_change_is_told(old, new, tmp_path):
    """What came, went, grew, shrank and changed its state, of every kind; nothing else."""
    root = new["roots"][0]
    gone, changed = root["objects"].pop(0), root["objects"][0]
    changed["state"] = "unreachable"
    root["objects"].append({**changed, "kind": "ingest", "id": "layer-x", "state": "leased", "bytes": 7})
    gone_image = root["holders"].pop(0)
    root["holders"][0]["bytes"] += MIB
    pull, ownerless = root["leases"]
    root["leases"] = [{**pull, "id": "second", "pull": "docker.io/library/big:1"}, pull]
    new["usage"][0]["bytes"] -= MIB
    new["usage"][1]["bytes"] += 9 * MIB
    new["file_systems"][0]["used"] += 8 * MIB
    document = compared(tmp_path, old, new)
    assert told(document) == {
        ("object", "went", f"blob {gone['id']}", -gone["bytes"]),
        ("object", "changed", f"blob {changed['id']}", 0),
        ("object", "came", "ingest layer-x", 7),
        *(("image", "went", name, -gone_image["bytes"]) for name in gone_image["names"]),
        *(("image", "grew", name, MIB) for name in root["holders"][0]["names"]),
        ("pull", "came", "docker.io/library/big:1", pull["only_bytes"]),
        ("lease", "went", ownerless["id"], -ownerless["only_bytes"]),
        ("usage", "shrank", "named-volumes pg", -MIB),
        ("usage", "grew", "container-logs web", 9 * MIB),
    }
    (note,) = [each["note"] for each in document["differences"] if each["change"] == "changed"]
    assert note == "live → unreachable"
    assert document["categories"][0] == {
        "name": "container-logs", "old_bytes": MIB, "new_bytes": 10 * MIB,
    }  # fmt: skip
    assert {"name": "tmp", "old_bytes": None, "new_bytes": None} in document["categories"]
    assert document["used"] == [{"name": "/d", "old_bytes": 50 * MIB, "new_bytes": 58 * MIB}]
    text = run("compare", tmp_path / "old.json", tmp_path / "new.json", status=0)
    assert "Interrupted pulls: 1 came" in text
    assert "docker.io/library/big:1" in text
    assert "in use below /d 50.0 MiB 58.0 MiB +8.0 MiB" in " ".join(text.split())


def test_a_host_that_is_mounted_elsewhere(old, new, tmp_path):
    """A root and its data root below another folder are the same ones."""
    new["roots"][0]["path"] = "/mnt" + new["roots"][0]["path"]
    for each in (*new["usage"], *new["file_systems"]):
        each["path"] = "/mnt" + each["path"]
    document = compared(tmp_path, old, new)
    assert document["differences"] == []
    assert document["used"] == [{"name": "/mnt/d", "old_bytes": 50 * MIB, "new_bytes": 50 * MIB}]


def test_without_holders(old, new, tmp_path):
    """Where one scan does not list images, none came or went, and a note says why."""
    del old["roots"][0]["holders"]
    document = compared(tmp_path, old, new)
    assert document["differences"] == []
    assert document["notes"] == ["the old scan lists no images and containers: scan with --holders to compare them"]


def test_what_misleads_is_noted(old, new, tmp_path):
    """Other hosts, the wrong order, and a scan that is not complete."""
    old["host"], old["now"], new["now"] = "other", "2026-02-02T00:00:00Z", "2026-02-01T00:00:00Z"
    new["roots"][0]["complete"] = False
    notes = compared(tmp_path, old, new)["notes"]
    assert any("of different hosts: other and host-0001" in note for note in notes)
    assert "the old scan was taken after the new one" in notes
    assert any("the new scan is not complete" in note for note in notes)


@pytest.mark.parametrize("inventory", [True, False])
def test_json_lines_say_the_same(inventory, tmp_path):
    """A scan as one document and the same as lines do not differ."""
    scans = [scan_of_everything(inventory=inventory)]
    one, lines = tmp_path / "one.json", tmp_path / "lines.jsonl"
    one.write_text(json.dumps(parsed(scan_document(scans, NOW, "host"))))
    lines.write_text("".join(line.text() for line in scan_lines(scans, NOW, "host")))
    document = json.loads(run("compare", "--format", "json", one, lines, status=0))
    assert document["differences"] == []
    assert document["categories"] != []
    empty = tmp_path / "empty.json"
    empty.write_text('{"schema": "drydock.scan/1", "host": "host"}')
    assert len(json.loads(run("compare", "--format", "json", empty, lines, status=0))["differences"]) > 10


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "drydock.plan/1"}', '{"type":"scan"}\n{"type":"object"}\n']
)
def test_a_file_that_is_no_scan(old, text, tmp_path):
    """It is named, and the status is 8."""
    (tmp_path / "bad.json").write_text(text)
    run("compare", tmp_path / "bad.json", write(tmp_path, "good", old), status=8)
    run("compare", tmp_path / "missing.json", tmp_path / "good.json", status=8)


def test_hostile_names_stay_text(chromium, tmp_path):
    """In a terminal and on the page, names that are markup or escape sequences do nothing."""
    paths = []
    for name in (b"plain", HOSTILE):
        document = parsed(scan_document([scan_of_everything(name, inventory=True)], NOW, "host"))
        document["roots"][0]["path"] = name.decode("utf-8", "surrogateescape") + "/\x1b[2J"
        paths.append(write(tmp_path, f"{len(paths)}", document))
    text = run("compare", "--top", "1000", *paths, status=0)
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    page_file = tmp_path / "compare.html"
    run("compare", "--format", "html", "-o", page_file, *paths, status=0)
    with opened(chromium, page_file) as page:
        assert page.evaluate("window.bad") is None
        assert page.locator("h1").inner_text() == "host"
        assert page.locator("h2").all_inner_texts()[:2] == ["By state", "By category"]
        assert "<script>" in page.locator("main").inner_text()


def test_a_digest_keeps_its_length_in_json(old, new, tmp_path):
    """The table cuts digests, the document does not."""
    whole = digest(123_456)
    new["roots"][0]["objects"].append({**new["roots"][0]["objects"][0], "id": whole, "bytes": 3})
    assert told(compared(tmp_path, old, new)) == {("object", "came", f"blob {whole}", 3)}
    assert whole not in run("compare", tmp_path / "old.json", tmp_path / "new.json", status=0)

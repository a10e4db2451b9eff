"""The scan document is that of docs/json.md, whole and line by line, and carries no raw name."""

import dataclasses
import json
import tracemalloc

import pytest
from tests.support.documents import parsed
from tests.support.populations import population
from tests.support.scans import HOSTILE, scan_of_everything
from tests.support.values import NOW

from drydock.model.documents.common import indented
from drydock.model.names import Kind, Ref
from drydock.model.objects import State
from drydock.model.text import shown, unshown
from drydock.report.csv import csv_lines
from drydock.report.document import record_part, scan_document, scan_lines

OBJECT = {"kind", "id", "state", "bytes", "path", "namespaces", "held_by", "reach", "note"}


def test_the_shape_is_the_designs():
    """Every field that docs/json.md names is there, with its type; totals name every state."""
    document = parsed(scan_document([scan_of_everything()], NOW))
    assert document["schema"] == "drydock.scan/1"
    assert document["now"] == "2027-01-15T08:00:00Z"
    (root,) = document["roots"]
    assert {"path", "engine", "namespaces", "totals", "objects", "leases", "findings", "withheld"} <= set(root)
    assert (root["path"], root["engine"], root["namespaces"]) == ("/store", "containerd", ["moby"])
    assert list(root["totals"]) == ["live", "leased", "unreachable", "orphaned", "missing", "corrupt", "foreign"]
    for each in root["objects"]:
        extra = {"snapshotter", "row"} if each["kind"] == "snapshot" else set()
        assert set(each) == OBJECT | extra
        assert each["state"] in root["totals"]
        assert each["path"] is None or not each["path"].startswith("/")
        for holder in each["held_by"]:
            assert {"kind", "namespace", "id"} <= set(holder)
    assert set(root["leases"][0]) == {
        "namespace", "id", "class", "reason", "owner", "created", "expires", "resources", "only_bytes",
        *({"pull"} if root["leases"][0]["id"] == shown(HOSTILE) else ()),
    }  # fmt: skip
    assert set(root["findings"][0]) == {
        "code", "severity", "message", "subject", "file", "page", "offset", "bucket", "remedy",
    }  # fmt: skip


def test_totals_are_the_sums_of_the_objects():
    """Counts and bytes of every state, those without any too."""
    root = parsed(scan_document([scan_of_everything()], NOW))["roots"][0]
    for state in State:
        objects = [each for each in root["objects"] if each["state"] == state.value]
        assert root["totals"][state.value] == {"count": len(objects), "bytes": sum(each["bytes"] for each in objects)}
    free = [each for each in root["objects"] if each["state"] == "orphaned" or each["reach"] == "unreachable"]
    assert len(free) == root["reclaimable"]["count"] + len(root["withheld"])


def test_withheld_things_say_why():
    """Nothing that could not be judged is reclaimable, and the document says so."""
    root = parsed(scan_document([scan_of_everything(complete=False)], NOW))["roots"][0]
    assert root["complete"] is False
    assert root["reclaimable"] == {"count": 0, "bytes": 0}
    assert root["withheld"]
    assert all(set(each) == {"kind", "id", "bytes", "reason"} for each in root["withheld"])
    assert all(each["reason"] for each in root["withheld"])


def test_the_lines_are_the_document():
    """A head, the root, and each part in its order, with a type and the root's path: nothing more, nothing less."""
    scan = scan_of_everything()
    document = parsed(scan_document([scan, scan], NOW))
    lines = [json.loads(line.text()) for line in scan_lines([scan, scan], NOW)]
    tail = {"usage": "usage", "file_system": "file_systems", "store": "stores"}
    head = {key: value for key, value in document.items() if key not in ("roots", *tail.values())}
    assert lines[0] == {"type": "scan", **head}
    wanted = []
    for root in document["roots"]:
        parts = {"object": "objects", "lease": "leases", "finding": "findings", "withheld": "withheld"}
        wanted.append({"type": "root", **{key: value for key, value in root.items() if key not in parts.values()}})
        for kind, part in parts.items():
            wanted += [{"type": kind, "root": root["path"], **each} for each in root[part]]
    for kind, part in tail.items():
        wanted += [{"type": kind, **each} for each in document[part]]
    assert lines[1:] == wanted


def test_usage_has_each_entry_and_each_file_system_once():
    """Bytes are null where nothing was measured; two places on one file system share it."""
    scan = scan_of_everything()
    document = parsed(scan_document([scan, scan_of_everything(b"other")], NOW))
    entries = scan.places[0].entries
    assert [each["category"] for each in document["usage"]] == [entry.category.value for entry in entries] * 2
    assert [each["bytes"] for each in document["usage"]] == [entry.bytes for entry in entries] * 2
    assert document["usage"][len(entries) - 1]["bytes"] is None
    assert document["usage"][0]["path"] == shown(entries[0].path)
    (volume,) = [each for each in document["usage"][: len(entries)] if each["used_by"] is not None]
    assert (volume["category"], volume["used_by"]) == ("named-volumes", [shown(HOSTILE)])
    (file_system,) = document["file_systems"]
    found = scan.places[0].file_system
    assert file_system == {
        "path": shown(found.path), "size": found.size, "used": found.used, "free": found.free,
        "inodes": found.inodes, "inodes_free": found.inodes_free,
    }  # fmt: skip


@pytest.mark.parametrize(
    "pieces",
    [
        lambda scan: indented(scan_document([scan], NOW)),
        lambda scan: (line.text() for line in scan_lines([scan], NOW)),
        lambda scan: csv_lines([scan]),
    ],
    ids=["json", "jsonl", "csv"],
)
def test_a_large_document_is_written_while_it_is_made(pieces):
    """Of the text of 20,000 objects only a small part is in memory at any time."""
    scan = dataclasses.replace(population(20_000), inventory=None)
    tracemalloc.start()
    try:
        written = sum(map(len, pieces(scan)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert written > 3 << 20
    assert peak < written / 5


def test_no_raw_name_gets_in():
    """Every string is printable, whatever the names were, and the names can be had back."""
    document = parsed(scan_document([scan_of_everything()], NOW))
    for text in _strings(document):
        assert text.isprintable(), text
    assert unshown(shown(HOSTILE)) == HOSTILE
    assert any(each["id"] == shown(HOSTILE) for each in document["roots"][0]["leases"])
    assert json.loads(json.dumps(document)) == document


def test_references():
    """A snapshot's reference is cut at the first slash only."""
    assert parsed(record_part(Ref(Kind.SNAPSHOT, b"moby", b"overlayfs/a/b"))) == {
        "kind": "snapshot", "namespace": "moby", "id": "a/b", "snapshotter": "overlayfs",
    }  # fmt: skip
    assert parsed(record_part(Ref(Kind.LEASE, b"moby", b"a/b"))) == {"kind": "lease", "namespace": "moby", "id": "a/b"}


def _strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)

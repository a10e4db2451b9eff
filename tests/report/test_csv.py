"""CSV: one object or one thing that takes space a row, read back as it was, and no formula."""

import csv
import io

import pytest
from tests.support.captures import captures
from tests.support.documents import run
from tests.support.scans import scan_of_everything

from drydock.model.text import shown
from drydock.report.csv import COLUMNS, csv_lines


def read(*scans):
    """The rows as a reader of CSV has them."""
    return list(csv.DictReader(io.StringIO("".join(csv_lines(scans)), newline="")))


@pytest.mark.parametrize("name", [b'a,"b"', b"plain", b"x\r\ny", "a\u2028b".encode()])
def test_rows_are_the_objects(name):
    """Each object once, with its fields, whatever is in its name."""
    scan = scan_of_everything(name)
    rows = read(scan, scan)
    objects = [*scan.verdict.objects] * 2
    assert tuple(rows[0]) == COLUMNS
    assert [
        (row["id"], row["state"], int(row["bytes"])) for row in rows if row["kind"] not in ("usage", "file_system")
    ] == [(shown(each.id), each.state.value, each.allocated) for each in objects]


@pytest.mark.parametrize("name", [b'a,"b"', b"plain"])
def test_rows_are_also_what_takes_space(name):
    """Each entry of a place once, by category; what was not measured has no bytes."""
    scan = scan_of_everything(name)
    rows = [row for row in read(scan) if row["kind"] == "usage"]
    (place,) = scan.places
    assert [(row["category"], row["id"], row["path"], row["bytes"], row["held_by"]) for row in rows] == [
        (
            each.category.value,
            shown(each.name),
            shown(each.path),
            "" if each.bytes is None else str(each.bytes),
            " ".join(f"container:{shown(user)}" for user in each.used_by or ()),
        )
        for each in place.entries
    ]
    assert {row["root"] for row in rows} == {shown(place.path)}
    (disk,) = [row for row in read(scan) if row["kind"] == "file_system"]
    assert (disk["path"], int(disk["bytes"])) == (shown(place.path), place.file_system.used)
    assert disk["note"].startswith(f"size {place.file_system.size}, free {place.file_system.free}, ")


@pytest.mark.parametrize("name", [b"=cmd|' /C calc'!A0", b"+1", b"-1", b"@SUM(A1)"])
def test_no_cell_is_a_formula(name):
    """A spreadsheet takes none of the cells for one."""
    rows = read(scan_of_everything(name))
    assert any(row["id"] == f"'{shown(name)}" for row in rows)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())


@pytest.mark.root
@pytest.mark.parametrize("capture", captures(), ids=lambda each: each.name)
def test_the_command_prints_as_many_as_json_has(capture, unpacked):
    """On real captures: the rows come to the totals of the JSON document, and to its usage."""
    import json

    host = unpacked(capture)
    rows = list(csv.DictReader(io.StringIO(run("scan", "--now", capture.taken_at, "--format", "csv", host))))
    document = json.loads(run("scan", "--now", capture.taken_at, "--format", "json", host))
    (root,) = document["roots"]
    usage = [(row["category"], row["path"], row["bytes"]) for row in rows if row["kind"] == "usage"]
    assert usage == [
        (each["category"], each["path"], "" if each["bytes"] is None else str(each["bytes"]))
        for each in document["usage"]
    ]
    for state, total in root["totals"].items():
        own = [int(row["bytes"]) for row in rows if row["state"] == state]
        assert {"count": len(own), "bytes": sum(own)} == total

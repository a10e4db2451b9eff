"""Reports from hosts that are not trusted: each is counted whole, or named and not counted at all."""

import json
import os

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet
from tests.support.documents import rows_of, run
from tests.support.fleets import host_document

from drydock.cli import main
from drydock.report.parquet import tables, write_parquet


def hosts(folder, status):
    """The hosts that count, and how many objects of each."""
    question = "SELECT host, count(*) AS objects FROM objects GROUP BY host"
    document = json.loads(run("fleet", "--format", "json", "--sql", question, folder, status=status))
    return dict(document["answers"][0]["rows"])


@pytest.fixture
def folder(tmp_path):
    """A folder with one good report in it."""
    (tmp_path / "good.json").write_text(json.dumps(host_document(1)))
    return tmp_path


GOOD = {"host-0001": len(host_document(1)["roots"][0]["objects"])}


def _lines(document):
    root = document["roots"][0]
    yield {"type": "scan", **{name: value for name, value in document.items() if name != "roots"}}
    yield {"type": "root", "path": root["path"]}
    yield from ({"type": "object", "root": root["path"], **each} for each in root["objects"])


@pytest.mark.parametrize("holder", ["x", None, 3, {}, {"kind": "image"}, {"kind": "image", "id": 3}])
def test_a_holder_that_is_no_record(folder, holder):
    """``held_by`` with anything but a kind and an id: that report is not counted, the other is."""
    document = host_document(2)
    document["roots"][0]["objects"][0]["held_by"] = [holder]
    (folder / "bad.json").write_text(json.dumps(document))
    assert hosts(folder, 8) == GOOD


def _write(folder, name, document, ending):
    """A report as a file of one of the two forms of JSON."""
    lines = [document] if ending == "json" else _lines(document)
    (folder / f"{name}.{ending}").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_reports_of_other_versions(folder, ending):
    """A newer version has fields that this one does not know, an older one lacks some that this one reads."""
    newer, older = host_document(2), host_document(3)
    for part in (newer, newer["roots"][0], *newer["roots"][0]["objects"]):
        part["new"] = {"of": ["any", 1]}
    for name in ("engine", "live", "complete", "namespaces", "reclaimable", "withheld", "holders"):
        del older["roots"][0][name]
    for each in older["roots"][0]["objects"]:
        del each["reach"], each["note"]
    _write(folder, "newer", newer, ending)
    _write(folder, "older", older, ending)
    counts = {name: len(host_document(number)["roots"][0]["objects"]) for name, number in
              (("host-0002", 2), ("host-0003", 3))}  # fmt: skip
    assert hosts(folder, 0) == {**GOOD, **counts}


@pytest.mark.parametrize("ending", ["json", "jsonl"])
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("bytes", "many", "Expected `int | null`, got `str`"),
        ("bytes", True, "Expected `int | null`, got `bool`"),
        ("bytes", 1 << 63, "<= 9223372036854775807"),
        ("namespaces", ["moby", 1], "Expected `str`, got `int`"),
        ("state", ["live"], "Expected `str | null`, got `array`"),
    ],
)
def test_a_field_of_another_type_is_named(folder, ending, field, value, message):
    """On stderr, with the file; that report is not counted, the other is."""
    document = host_document(2)
    document["roots"][0]["objects"][1][field] = value
    _write(folder, "bad", document, ending)
    found = CliRunner().invoke(main, ["fleet", str(folder)])
    assert found.exit_code == 8
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"drydock: {folder}/bad.{ending}: ")
    assert message in line
    assert f".{field}" in line
    assert hosts(folder, 8) == GOOD


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_lone_surrogates(folder, ending):
    """In a holder's id and in a root's path, which JSON can spell: kept as escapes, and the report counts."""
    document = host_document(2)
    document["roots"][0]["path"] = "/\ud800"
    document["roots"][0]["objects"][0]["held_by"] = [{"kind": "image", "id": "\ud800"}]
    lines = [document] if ending == "json" else _lines(document)
    (folder / f"odd.{ending}").write_text("".join(json.dumps(line) + "\n" for line in lines))
    question = "SELECT DISTINCT root FROM objects WHERE host = 'host-0002' AND held_by[1] LIKE 'image:%d800'"
    assert run("fleet", "--sql", question, folder).split() == ["root", "/\\ud800"]


def _columns():
    """The rows of a host as a table of Arrow's."""
    return next(tables(rows_of(host_document(2))))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bytes", {"a": 1}),
        ("bytes", [1]),
        ("bytes", "x"),
        ("bytes", 1.5),
        ("id", b"\xff\xfe"),
        ("id", 3),
        ("namespaces", "x"),
        ("held_by", [{"a": "b"}]),
        ("complete", 3),
    ],
)
def test_parquet_with_a_column_of_another_type(folder, name, value):
    """It is not what drydock writes: named, and not counted."""
    table = _columns()
    place = table.schema.get_field_index(name)
    changed = table.set_column(place, name, pa.array([value] * table.num_rows))
    parquet.write_table(changed, folder / "bad.parquet")
    assert hosts(folder, 8) == GOOD


def test_parquet_with_a_column_twice(folder):
    """Which of the two is meant, nothing says: named, and not counted."""
    table = _columns()
    parquet.write_table(table.append_column("bytes", table["bytes"]), folder / "bad.parquet")
    assert hosts(folder, 8) == GOOD


def test_parquet_with_text_that_is_no_utf_8(folder):
    """Parquet's readers do not check it, and DuckDB ends at it: named, and not counted."""
    table = _columns()
    raw = pa.array([b"\xff\xfe"] * table.num_rows)
    text = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    parquet.write_table(table.set_column(table.schema.get_field_index("id"), "id", text), folder / "bad.parquet")
    assert hosts(folder, 8) == GOOD


def test_parquet_of_other_widths_counts(folder):
    """What another program wrote anew, with large texts and lists and small numbers, means the same."""
    table = _columns()
    wider = {pa.string(): pa.large_string(), pa.list_(pa.string()): pa.large_list(pa.large_string())}
    fields = [(field.name, pa.uint64() if field.name == "bytes" else wider.get(field.type, field.type))
              for field in table.schema]  # fmt: skip
    parquet.write_table(table.cast(pa.schema(fields)), folder / "other.parquet")
    assert hosts(folder, 0) == {**GOOD, "host-0002": len(host_document(2)["roots"][0]["objects"])}


def test_parquet_whose_second_part_is_damaged(folder):
    """What its first part said is not counted either: half a host would be a wrong host."""
    document = host_document(2)
    objects = document["roots"][0]["objects"]
    objects[:] = [{**objects[0], "id": f"sha256:{number:064x}"} for number in range(120_000)]
    path = folder / "bad.parquet"
    with path.open("wb") as file:
        write_parquet(rows_of(document), file)
    about = parquet.ParquetFile(path).metadata
    last = about.row_group(about.num_row_groups - 1)
    ids = next(part for part in map(last.column, range(last.num_columns)) if part.path_in_schema == "id")
    with path.open("r+b") as file:
        file.seek(ids.dictionary_page_offset or ids.data_page_offset)
        file.write(b"\xff" * 60)
    assert about.num_row_groups > 1
    assert hosts(folder, 8) == GOOD


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_a_fifo_among_the_reports(folder, ending):
    """It is not waited for: named, and not counted; nor is one that is given by its name."""
    os.mkfifo(folder / f"bad.{ending}")
    assert hosts(folder, 8) == GOOD
    run("fleet", folder / f"bad.{ending}", status=8)


def test_a_parquet_file_without_the_columns_of_usage(folder):
    """Version 0.1.0 wrote none of them: its reports count as before. Without another column a file is no report."""
    table = next(tables(rows_of({**host_document(2), "usage": [], "file_systems": []})))
    added = ["category", "driver", "used_by", "size_bytes", "free_bytes"]
    parquet.write_table(table.drop_columns(added), folder / "old.parquet")
    assert set(hosts(folder, 0)) == {*GOOD, "host-0002"}
    parquet.write_table(table.drop_columns([*added, "code"]), folder / "other.parquet")
    assert set(hosts(folder, 8)) == {*GOOD, "host-0002"}

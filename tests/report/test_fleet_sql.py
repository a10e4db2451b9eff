"""The same SQL on Spark: row by row what DuckDB answers, over the Parquet files that scan writes of real captures."""

import re
from pathlib import Path

import pytest
from tests.support.captures import capture, captures
from tests.support.documents import run
from tests.support.spark import rows, spark

from drydock.report.fleet.database import FleetDatabase
from drydock.report.fleet.reports import find_reports, report_tables
from drydock.report.fleet_sql import QUESTIONS, VIEWS, question_statements

# One worker's: it takes long to start Spark.
pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.xdist_group("spark")]

TOP = 1000
_OF_REPORTS = ("newest", "rows", "newest_places", "place_rows")
"""Views that say which report a row is from: a number in DuckDB, a file name in Spark."""
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/fleet.md"
COPIED = "docker-28.5-interrupted-pull"


@pytest.fixture(scope="module")
def reports(unpacked, tmp_path_factory):
    """A Parquet file of each capture, a newer one of one of them, and one of another host with the same layers."""
    place = tmp_path_factory.mktemp("reports")
    for of in captures():
        _scan(of, of.name, of.taken_at, unpacked, place / f"{of.name}.parquet")
    of = capture(COPIED)
    _scan(of, "another", of.taken_at, unpacked, place / "another.parquet")
    _scan(of, of.name, "2100-01-01T00:00:00Z", unpacked, place / "aaa.parquet")
    return place


def _scan(of, host, now, unpacked, file):
    run("scan", "--now", now, "--host", host, "--format", "parquet", "-o", file, unpacked(of))


@pytest.fixture(scope="module")
def session(reports, tmp_path_factory):
    """Spark with the views, made as the document says: the statements of --statements, on the files of a folder."""
    with spark(tmp_path_factory.mktemp("spark")) as started:
        started.sql(_first_statement(reports))
        script = run("fleet", "--statements", "--top", str(TOP))
        made = [each for each in _statements(script) if each.startswith("CREATE")]
        assert len(made) == len(VIEWS)
        for each in made:
            started.sql(each)
        yield started


@pytest.fixture(scope="module")
def warehouse(reports):
    """The same files in DuckDB."""
    refused = {}
    made = FleetDatabase(report_tables(find_reports([bytes(reports)]), refused.__setitem__))
    assert refused == {}
    yield made
    made.close()


def _first_statement(reports):
    """What the document makes ``all_rows`` with, on a folder of its own."""
    (found,) = re.findall(r"CREATE TEMPORARY VIEW all_rows .*?(?=;)", DOCUMENT.read_text(), re.DOTALL)
    return found.replace("`reports`", f"`{reports}`")


def _statements(script):
    text = "\n".join(line for line in script.splitlines() if not line.startswith("--"))
    return [each.strip() for each in text.split(";") if each.strip()]


@pytest.mark.parametrize("number", range(len(QUESTIONS)), ids=[question.title for question in QUESTIONS])
def test_every_question_has_the_same_answer(session, warehouse, number):
    """Rows in their order, values and names of columns; and none is empty."""
    (statement,) = [question_statements(TOP)[number]]
    assert statement in _statements(run("fleet", "--statements", "--top", str(TOP)))
    frame = session.sql(statement)
    answer = warehouse.ask(statement)
    assert tuple(frame.columns) == answer.columns
    assert rows(frame) == list(answer.rows)
    assert answer.rows


@pytest.mark.parametrize("view", [view.name for view in VIEWS if view.name not in _OF_REPORTS])
def test_every_view_has_the_same_rows(session, warehouse, view):
    """Each row of what own questions ask about, lists and times among them."""
    frame = session.sql(f"SELECT * FROM {view}")
    answer = warehouse.ask(f"SELECT * FROM {view}")
    assert tuple(frame.columns) == answer.columns
    assert sorted(map(repr, rows(frame))) == sorted(map(repr, answer.rows))
    assert answer.rows


def test_only_the_newest_report_counts(session, warehouse):
    """Both take the scan of the later clock, in which the leases of the pull have ended."""
    question = f"SELECT now, count(*) FROM roots WHERE host = '{COPIED}' GROUP BY now"
    assert rows(session.sql(question)) == list(warehouse.ask(question).rows) == [("2100-01-01T00:00:00Z", 1)]


def test_the_documents_own_question(session, warehouse):
    """What docs/fleet.md asks with --sql is the same text for both."""
    (question,) = re.findall(r'--sql "([^"]*)"', DOCUMENT.read_text())
    found = sorted(rows(session.sql(question)))
    assert found == sorted((host, size) for host, size in warehouse.ask(question).rows)
    assert found

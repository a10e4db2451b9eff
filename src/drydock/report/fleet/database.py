"""The rows of many hosts in a DuckDB database in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from drydock.model.errors import Usage
from drydock.model.text import printable
from drydock.report.fleet_sql import IMAGES, QUESTIONS, question_statements, view_statements
from drydock.report.parquet import MISSING
from drydock.report.rows import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

try:
    import duckdb
except ImportError as error:
    raise Usage(MISSING) from error

_MEMORY: Final = "512MB"
_TYPES: Final[dict[Any, str]] = {str: "VARCHAR", list[str]: "VARCHAR[]", int: "BIGINT", bool: "BOOLEAN"}
# Spark's function for an element of a list, or null (Spark 3.5), so that both run the same SQL.
_WORDS: Final = "CREATE MACRO try_element_at(list, place) AS list[place]"
_NO_HOLDERS: Final = "no report lists what each image holds: scan with --holders or --format parquet"


class Answer(NamedTuple):
    """The answer to one question, as a table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""
    """What to know about it; else empty."""


class FleetDatabase:
    """A database with the views ``roots``, ``objects``, ``leases``, ``findings`` and ``holders`` over all hosts."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(
            ":memory:", config={"memory_limit": _MEMORY, "autoinstall_known_extensions": "false"}
        )
        columns = ", ".join(f'"{name}" {_TYPES[kind]}' for name, kind in COLUMNS.items())
        self._connection.execute(f"CREATE TABLE all_rows ({columns}, report BIGINT)")
        for table in tables:
            self._connection.register("incoming", table)
            self._connection.execute("INSERT INTO all_rows BY NAME SELECT * FROM incoming")
            self._connection.unregister("incoming")
        for statement in (_WORDS, *view_statements()):
            self._connection.execute(statement)
        # A question that was copied from somewhere must read and write no file.
        self._connection.execute("SET enable_external_access = false; SET lock_configuration = true")

    def forget(self, reports: Iterable[int]) -> None:
        """Drop the rows of damaged reports.

        Args:
            reports: their numbers.
        """
        for number in reports:
            self._connection.execute("DELETE FROM all_rows WHERE report = ?", [number])

    def ask(self, sql: str, title: str = "") -> Answer:
        """The answer to one question.

        Raises:
            Usage: DuckDB refuses it.
        """
        try:
            found = self._connection.execute(sql)
            if found is None:
                raise Usage("--sql has no statement")
            columns = tuple(each[0] for each in found.description or ())
            return Answer(title, columns, tuple(found.fetchall()))
        except duckdb.Error as error:
            # DuckDB quotes values, and reports may have any.
            raise Usage(printable(" ".join(str(error).split()))) from error

    def ask_all(self, top: int) -> list[Answer]:
        """The answers to every question of :data:`QUESTIONS`.

        Args:
            top: rows of each answer at most.
        """
        answers = [
            self.ask(sql, question.title) for question, sql in zip(QUESTIONS, question_statements(top), strict=True)
        ]
        return [
            answer._replace(note=_NO_HOLDERS) if answer.title == IMAGES.title and not answer.rows else answer
            for answer in answers
        ]

    def facts(self) -> dict[str, int]:
        """How many hosts and objects count."""
        hosts, objects = self.ask(
            "SELECT (SELECT count(DISTINCT host) FROM roots), (SELECT count(*) FROM objects)"
        ).rows[0]
        return {"hosts": hosts, "objects": objects}

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

"""The rows of many hosts in a DuckDB in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from drydock.model.errors import Usage
from drydock.model.text import printable
from drydock.report.fleet.statements import IMAGES, QUESTIONS, question_statements, view_statements
from drydock.report.parquet import MISSING
from drydock.report.rows import COLUMNS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_MEMORY: Final = "512MB"
_TYPES: Final = {"text": "VARCHAR", "texts": "VARCHAR[]", "number": "BIGINT", "truth": "BOOLEAN"}
# Spark's word for an element of a list, or null (Spark 3.5): what is asked is then the same text for both.
_WORDS: Final = "CREATE MACRO try_element_at(list, place) AS list[place]"
_NO_HOLDERS: Final = "no report says what each image holds: scan with --holders, or --format parquet"


class Answer(NamedTuple):
    """What a question came to."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""
    """What is to be known about it; empty for nothing."""


class Warehouse:
    """A database with the views ``roots``, ``objects``, ``leases``, ``findings`` and ``holders`` over all hosts.

    Raises:
        Usage: DuckDB is not installed.
    """

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        try:
            import duckdb  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise Usage(MISSING) from error
        self._duckdb = duckdb
        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(
            ":memory:", config={"memory_limit": _MEMORY, "autoinstall_known_extensions": "false"}
        )
        columns = ", ".join(f'"{name}" {_TYPES[kind]}' for name, kind in COLUMNS)
        self._connection.execute(f"CREATE TABLE all_rows ({columns}, report BIGINT)")
        for table in tables:
            self._connection.register("incoming", table)
            self._connection.execute("INSERT INTO all_rows BY NAME SELECT * FROM incoming")
            self._connection.unregister("incoming")
        for statement in (_WORDS, *view_statements()):
            self._connection.execute(statement)
        # From here on only what was loaded: a question that was copied from somewhere reads and writes no file.
        self._connection.execute("SET enable_external_access = false; SET lock_configuration = true")

    def forget(self, reports: Iterable[int]) -> None:
        """Drop the rows of reports that turned out not to be whole.

        Args:
            reports: their numbers.
        """
        for number in reports:
            self._connection.execute("DELETE FROM all_rows WHERE report = ?", [number])

    def ask(self, sql: str, title: str = "") -> Answer:
        """The answer to one question.

        Raises:
            Usage: DuckDB does not take it.
        """
        try:
            found = self._connection.execute(sql)
            if found is None:
                raise Usage("there is no question in these words")
            columns = tuple(each[0] for each in found.description or ())
            return Answer(title, columns, tuple(found.fetchall()))
        except self._duckdb.Error as error:
            # It quotes values, which are words of reports.
            raise Usage(printable(" ".join(str(error).split()))) from error

    def ask_all(self, top: int) -> list[Answer]:
        """The answers to every question of :mod:`drydock.report.fleet.statements`.

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
        """Let it all go."""
        self._connection.close()

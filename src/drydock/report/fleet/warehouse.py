"""The rows of many hosts in a DuckDB in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from drydock.model.errors import Usage
from drydock.report.parquet import MISSING
from drydock.report.rows import COLUMNS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_MEMORY: Final = "512MB"
_TYPES: Final = {"text": "VARCHAR", "texts": "VARCHAR[]", "number": "BIGINT", "truth": "BOOLEAN"}
# Of several reports on the same root only the newest counts; of equally old ones the last.
VIEWS: Final = """
CREATE TABLE newest AS
  SELECT host, root, report, now FROM all_rows WHERE type = 'root'
  QUALIFY row_number() OVER (PARTITION BY host, root ORDER BY now DESC, report DESC) = 1;
CREATE VIEW rows AS
  SELECT all_rows.* FROM all_rows SEMI JOIN newest
  ON all_rows.host = newest.host AND all_rows.root = newest.root
  AND all_rows.report = newest.report AND all_rows.now = newest.now;
CREATE VIEW roots AS
  SELECT host, now, drydock, root, engine, live, complete, database_bytes, reclaimable_bytes
  FROM rows WHERE type = 'root';
CREATE VIEW objects AS
  SELECT host, root, kind, id, state, bytes, namespaces, snapshotter, path, reach, held_by, note
  FROM rows WHERE type = 'object';
CREATE VIEW leases AS
  SELECT host, root, namespaces[1] AS namespace, id, class, reason, owner, try_cast(created AS TIMESTAMP) AS created,
  try_cast(expires AS TIMESTAMP) AS expires, count AS resources, only_bytes
  FROM rows WHERE type = 'lease';
CREATE VIEW findings AS
  SELECT host, root, code, severity, note AS message, id AS subject FROM rows WHERE type = 'finding';
CREATE VIEW holders AS
  SELECT host, root, kind, namespaces[1] AS namespace, id, names, class, owner, count AS objects, bytes, only_bytes
  FROM rows WHERE type = 'holder';
"""


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
        self._connection.execute(VIEWS)
        # From here on only what was loaded: a question that was copied from somewhere reads and writes no file.
        self._connection.execute("SET enable_external_access = false; SET lock_configuration = true")

    def ask(self, sql: str, title: str = "") -> Answer:
        """The answer to one question.

        Raises:
            Usage: DuckDB does not take it.
        """
        try:
            found = self._connection.execute(sql)
            columns = tuple(each[0] for each in found.description or ())
            return Answer(title, columns, tuple(found.fetchall()))
        except self._duckdb.Error as error:
            raise Usage(" ".join(str(error).split())) from error

    def facts(self) -> dict[str, int]:
        """How many hosts and objects count."""
        hosts, objects = self.ask(
            "SELECT (SELECT count(DISTINCT host) FROM roots), (SELECT count(*) FROM objects)"
        ).rows[0]
        return {"hosts": hosts, "objects": objects}

    def close(self) -> None:
        """Let it all go."""
        self._connection.close()

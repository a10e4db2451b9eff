"""The SQL that asks about a fleet: the same text for DuckDB and for Spark.

Both run it on a table or view ``all_rows``: the columns of :mod:`drydock.report.rows`, and ``report``, the number of
the file that a row is from. Two things are not common to both: how files become ``all_rows``, and the first element of
a list. For the latter DuckDB gets a macro with the name of Spark's function (``try_element_at``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_SUM: Final = re.compile(r"\{sum:([^}]+)\}")
_EXACT: Final = r"try_cast(sum(CAST(\1 AS DECIMAL(38, 0))) AS BIGINT)"


class SqlView(NamedTuple):
    """A view that questions are asked about."""

    name: str
    sql: str


class Question(NamedTuple):
    """One question; columns that end in ``bytes`` are bytes.

    ``{top}`` stands for the number of rows, ``{sum:…}`` for an exact sum, null if it exceeds 64 bits: one report
    with impossible numbers must not stop the questions about all others.
    """

    title: str
    sql: str


VIEWS: Final = (
    # Of several reports on the same root only the newest counts; of equally old ones the last.
    SqlView(
        "newest",
        """SELECT host, root, report, now FROM (
  SELECT host, root, report, now, row_number() OVER (PARTITION BY host, root ORDER BY now DESC, report DESC) AS place
  FROM all_rows WHERE type = 'root') AS reports
WHERE place = 1""",
    ),
    SqlView(
        "rows",
        """SELECT all_rows.* FROM all_rows SEMI JOIN newest
ON all_rows.host = newest.host AND all_rows.root = newest.root
  AND all_rows.report = newest.report AND all_rows.now = newest.now""",
    ),
    # A place may belong to no root, and a report may be about one of several places.
    SqlView(
        "newest_places",
        """SELECT host, root, report, now, type FROM (
  SELECT host, root, report, now, type,
    row_number() OVER (PARTITION BY host, root, type ORDER BY now DESC, report DESC) AS place
  FROM (SELECT DISTINCT host, root, report, now, type FROM all_rows WHERE type IN ('usage', 'file_system')) AS each_one
) AS reports WHERE place = 1""",
    ),
    SqlView(
        "place_rows",
        """SELECT all_rows.* FROM all_rows SEMI JOIN newest_places
ON all_rows.host = newest_places.host AND all_rows.root = newest_places.root AND all_rows.type = newest_places.type
  AND all_rows.report = newest_places.report AND all_rows.now = newest_places.now""",
    ),
    SqlView(
        "usage",
        """SELECT host, root AS place, category, id AS name, path, bytes, used_by, driver, note
FROM place_rows WHERE type = 'usage'""",
    ),
    SqlView(
        "file_systems",
        """SELECT host, path, size_bytes, bytes AS used_bytes, free_bytes
FROM place_rows WHERE type = 'file_system'""",
    ),
    SqlView(
        "roots",
        """SELECT host, now, drydock, root, engine, live, complete, database_bytes, reclaimable_bytes
FROM rows WHERE type = 'root'""",
    ),
    SqlView(
        "objects",
        """SELECT host, root, kind, id, state, bytes, namespaces, snapshotter, path, reach, held_by, note
FROM rows WHERE type = 'object'""",
    ),
    SqlView(
        "leases",
        """SELECT host, root, try_element_at(namespaces, 1) AS namespace, id, class, reason, owner,
  try_cast(created AS TIMESTAMP) AS created, try_cast(expires AS TIMESTAMP) AS expires, count AS resources, only_bytes
FROM rows WHERE type = 'lease'""",
    ),
    SqlView(
        "findings",
        """SELECT host, root, code, severity, note AS message, id AS subject
FROM rows WHERE type = 'finding'""",
    ),
    SqlView(
        "holders",
        """SELECT host, root, kind, try_element_at(namespaces, 1) AS namespace, id, names, class, owner,
  count AS objects, bytes, only_bytes
FROM rows WHERE type = 'holder'""",
    ),
)
STATES: Final = Question(
    "By state",
    """SELECT state, count(*) AS objects, {sum:bytes} AS bytes, count(DISTINCT host) AS hosts
FROM objects GROUP BY state ORDER BY bytes DESC, state""",
)
HOSTS: Final = Question(
    "Hosts where most can be freed",
    """WITH used AS (
  SELECT host, {sum:bytes} AS used_bytes,
    {sum:CASE WHEN state = 'leased' THEN bytes ELSE 0 END} AS leased_bytes
  FROM objects GROUP BY host),
free AS (
  SELECT host, {sum:reclaimable_bytes} AS free_now_bytes, bool_and(complete) AS complete,
    max(now) AS scanned
  FROM roots GROUP BY host),
damage AS (SELECT host, count(*) AS damaged FROM findings WHERE severity = 'damage' GROUP BY host)
SELECT host, CASE WHEN used.host IS NULL THEN 0 ELSE used_bytes END AS used_bytes, free_now_bytes,
  CASE WHEN used.host IS NULL THEN 0 ELSE leased_bytes END AS leased_bytes, coalesce(damaged, 0) AS damaged,
  complete, scanned
FROM free LEFT JOIN used USING (host) LEFT JOIN damage USING (host)
ORDER BY CAST(free_now_bytes AS DECIMAL(38, 0)) + coalesce(leased_bytes, 0) DESC, host LIMIT {top}""",
)
IMAGES: Final = Question(
    "Images by what nothing else holds",
    """SELECT coalesce(try_element_at(names, 1), id) AS image, count(DISTINCT host) AS hosts,
  {sum:only_bytes} AS only_bytes, {sum:bytes} AS bytes
FROM holders WHERE kind = 'image' GROUP BY image ORDER BY only_bytes DESC, image LIMIT {top}""",
)
BLOBS: Final = Question(
    "Layers stored on many hosts",
    """SELECT id AS blob, count(DISTINCT host) AS hosts, max(bytes) AS each_bytes, {sum:bytes} AS bytes
FROM objects WHERE kind = 'blob' AND bytes > 0 AND split_part(id, ':', 1) IN ('sha256', 'sha384', 'sha512') GROUP BY id
HAVING count(DISTINCT host) > 1 ORDER BY bytes DESC, blob LIMIT {top}""",
)
LEASES: Final = Question(
    "Leases that nobody needs, by cause",
    """SELECT class, CASE WHEN class = 'temporary' AND reason LIKE 'ends %' THEN 'ends by itself'
    WHEN class = 'expired' THEN 'has ended' ELSE reason END AS cause,
  count(DISTINCT host) AS hosts, count(*) AS leases, {sum:only_bytes} AS only_bytes,
  min(created) AS oldest
FROM leases WHERE class IN ('expired', 'temporary', 'ownerless', 'unknown')
GROUP BY class, cause ORDER BY only_bytes DESC, leases DESC, class, cause LIMIT {top}""",
)
USAGE: Final = Question(
    "What takes space, by category",
    """SELECT category, {sum:bytes} AS bytes, count(*) AS entries,
  sum(CASE WHEN bytes IS NULL THEN 1 ELSE 0 END) AS not_measured, count(DISTINCT host) AS hosts
FROM usage GROUP BY category ORDER BY bytes DESC, category""",
)
CATEGORIES: Final = Question(
    "What takes most space on each host",
    """SELECT host, category, {sum:bytes} AS bytes, count(*) AS entries
FROM usage WHERE bytes IS NOT NULL GROUP BY host, category ORDER BY bytes DESC, host, category LIMIT {top}""",
)
DISKS: Final = Question(
    "File systems with the least room",
    """SELECT host, path, size_bytes, used_bytes, free_bytes
FROM file_systems ORDER BY free_bytes / greatest(size_bytes, 1), host, path LIMIT {top}""",
)
QUESTIONS: Final = (STATES, HOSTS, IMAGES, BLOBS, LEASES, USAGE, CATEGORIES, DISKS)


def view_statements() -> list[str]:
    """The statements that create the views, in their order."""
    return [f"CREATE OR REPLACE TEMPORARY VIEW {view.name} AS\n{view.sql}" for view in VIEWS]


def question_statements(top: int) -> list[str]:
    """The statements that ask every question, in the order of :data:`QUESTIONS`.

    Args:
        top: rows of each answer at most.
    """
    return [_SUM.sub(_EXACT, question.sql).replace("{top}", str(top)) for question in QUESTIONS]


def script_lines(top: int) -> Iterator[str]:
    """All statements as a file of SQL, without line ends."""
    yield "-- all_rows is a table or view: the rows of drydock scan --format parquet, and a column report."
    for statement in view_statements():
        yield from ("", f"{statement};")
    for question, statement in zip(QUESTIONS, question_statements(top), strict=True):
        yield from ("", f"-- {question.title}", f"{statement};")

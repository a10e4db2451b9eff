"""What is asked of every fleet, as SQL on the views of :mod:`drydock.report.fleet.warehouse`."""

from __future__ import annotations

from typing import Final, NamedTuple

from drydock.report.fleet.warehouse import Answer, Warehouse


class Question(NamedTuple):
    """One question; columns that end in ``bytes`` are bytes."""

    title: str
    sql: str


_NO_HOLDERS: Final = "no report says what each image holds: scan with --holders, or --format parquet"

STATES: Final = Question(
    "By state",
    """SELECT state, count(*) AS objects, sum(bytes)::BIGINT AS bytes, count(DISTINCT host) AS hosts
FROM objects GROUP BY state ORDER BY bytes DESC, state""",
)
HOSTS: Final = Question(
    "Hosts where most can be freed",
    """WITH used AS (
  SELECT host, sum(bytes)::BIGINT AS used_bytes,
    coalesce(sum(bytes) FILTER (state = 'leased'), 0)::BIGINT AS leased_bytes FROM objects GROUP BY host),
free AS (
  SELECT host, sum(reclaimable_bytes)::BIGINT AS free_now_bytes, bool_and(complete) AS complete, max(now) AS scanned
  FROM roots GROUP BY host),
damage AS (SELECT host, count(*) AS damaged FROM findings WHERE severity = 'damage' GROUP BY host)
SELECT host, coalesce(used_bytes, 0) AS used_bytes, free_now_bytes, coalesce(leased_bytes, 0) AS leased_bytes,
  coalesce(damaged, 0) AS damaged, complete, scanned
FROM free LEFT JOIN used USING (host) LEFT JOIN damage USING (host)
ORDER BY free_now_bytes + coalesce(leased_bytes, 0) DESC, host LIMIT {top}""",
)
IMAGES: Final = Question(
    "Images by what nothing else holds",
    """SELECT coalesce(names[1], id) AS image, count(DISTINCT host) AS hosts, sum(only_bytes)::BIGINT AS only_bytes,
  sum(bytes)::BIGINT AS bytes
FROM holders WHERE kind = 'image' GROUP BY image ORDER BY only_bytes DESC, image LIMIT {top}""",
)
BLOBS: Final = Question(
    "Layers stored on many hosts",
    """SELECT id AS blob, count(DISTINCT host) AS hosts, max(bytes) AS each_bytes, sum(bytes)::BIGINT AS bytes
FROM objects WHERE kind = 'blob' AND bytes > 0 AND regexp_matches(id, '^sha(256|384|512):') GROUP BY id
HAVING count(DISTINCT host) > 1 ORDER BY bytes DESC, id LIMIT {top}""",
)
LEASES: Final = Question(
    "Leases that nobody needs, by cause",
    """SELECT class, CASE WHEN class = 'temporary' AND reason LIKE 'ends %' THEN 'ends by itself'
    WHEN class = 'expired' THEN 'has ended' ELSE reason END AS cause,
  count(DISTINCT host) AS hosts, count(*) AS leases, sum(only_bytes)::BIGINT AS only_bytes, min(created) AS oldest
FROM leases WHERE class IN ('expired', 'temporary', 'ownerless', 'unknown')
GROUP BY class, cause ORDER BY only_bytes DESC, leases DESC, class, cause LIMIT {top}""",
)
QUESTIONS: Final = (STATES, HOSTS, IMAGES, BLOBS, LEASES)


def ask_all(warehouse: Warehouse, top: int) -> list[Answer]:
    """The answers to every question.

    Args:
        warehouse: what to ask.
        top: rows of each answer at most.
    """
    answers = [warehouse.ask(question.sql.replace("{top}", str(top)), question.title) for question in QUESTIONS]
    return [
        answer._replace(note=_NO_HOLDERS) if answer.title == IMAGES.title and not answer.rows else answer
        for answer in answers
    ]

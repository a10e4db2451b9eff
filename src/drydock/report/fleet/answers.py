"""Answers as text, as the document ``drydock.fleet/1``, or as one page that loads nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, Final

from drydock.model.documents.fleet import AnswerPart, FleetDocument
from drydock.model.objects import State
from drydock.model.text import printable
from drydock.report.comparison import show_change
from drydock.report.fleet.database import Answer
from drydock.report.fleet_sql import STATES
from drydock.report.standalone_html import render_file
from drydock.report.wording import align, show_bytes, show_count
from drydock.version import __version__

_STATES: Final = {state.value for state in State}


def facts_line(facts: dict[str, int]) -> str:
    """How many hosts, reports and objects the answers are about."""
    return ", ".join(show_count(facts[f"{what}s"], what) for what in ("host", "report", "object"))


def answer_lines(answers: Sequence[Answer]) -> Iterator[str]:
    """Each answer as a table, in lines without line ends; nothing is cut."""
    for number, answer in enumerate(answers):
        if number:
            yield ""
        if answer.title:
            yield answer.title
        if answer.note:
            yield f"  {answer.note}"
        if not answer.rows:
            yield from () if answer.note else ("  no rows",)
            continue
        cells = [list(map(printable, answer.columns)), *(_cells(answer, row) for row in answer.rows)]
        right = [place for place in range(len(answer.columns)) if _is_number(answer, place)]
        yield from align(cells, right, margin="  ")


def answers_document(answers: Sequence[Answer], facts: dict[str, int]) -> FleetDocument:
    """The answers as one document.

    Args:
        answers: in their order.
        facts: how many hosts, objects, reports and refused files there are.
    """
    return FleetDocument(
        drydock=__version__,
        **facts,
        answers=[
            AnswerPart(
                answer.title, answer.columns, [[_plain(value) for value in row] for row in answer.rows], answer.note
            )
            for answer in answers
        ],
    )


def render_answers(answers: Sequence[Answer], facts: dict[str, int], top: int | None) -> str:
    """The answers as a page.

    Args:
        answers: in their order.
        facts: how many hosts, objects, reports and refused files there are.
        top: how many rows each answer has at most; None for as many as there are.
    """
    about = [show_count(facts["reports"], "report"), show_count(facts["objects"], "object")]
    if facts["refused"]:
        about.append(f"{show_count(facts['refused'], 'file')} not counted: not a report")
    return render_file(
        "fleet/fleet.html",
        ("fleet/fleet.css",),
        ("fleet/fleet.js",),
        hosts=show_count(facts["hosts"], "host"),
        about=", ".join(about),
        tables=[_table(answer) for answer in answers],
        top=top,
        version=__version__,
    )


def _table(answer: Answer) -> dict[str, Any]:
    right = [_is_number(answer, place) for place in range(len(answer.columns))]
    titles = [_title(name) for name in answer.columns]
    looks = [
        " ".join(
            word
            for word, holds in (("first", not place), ("number", to_right), ("bytes", to_right and _is_bytes(name)))
            if holds
        )
        for place, (name, to_right) in enumerate(zip(answer.columns, right, strict=True))
    ]
    rows = [
        [
            {
                "text": text,
                "label": title,
                "look": look,
                "amount": value if type(value) in (int, float) else None,
                "state": value if name == "state" and value in _STATES else None,
            }
            for text, title, look, value, name in zip(
                _cells(answer, row), titles, looks, row, answer.columns, strict=True
            )
        ]
        for row in answer.rows
    ]
    return {
        "title": answer.title or "Answer",
        "note": answer.note,
        "columns": [{"title": title, "right": to_right} for title, to_right in zip(titles, right, strict=True)],
        "rows": rows,
        "shares": _shares(answer),
    }


def _shares(answer: Answer) -> list[tuple[str, int]]:
    """Bytes by state, for a bar, if the question was about states."""
    if answer.title != STATES.title:
        return []
    places = [answer.columns.index(name) for name in ("state", "bytes")]
    shares = [(row[places[0]], row[places[1]]) for row in answer.rows]
    return [(state, size) for state, size in shares if state in _STATES and size]


def _title(name: str) -> str:
    """The title of a column, without ``bytes``: shown amounts have a unit."""
    words = printable(name).replace("_", " ")
    return "size" if words == "bytes" else words.removesuffix(" bytes")


def _cells(answer: Answer, row: Sequence[Any]) -> list[str]:
    return [_cell(name, value) for name, value in zip(answer.columns, row, strict=True)]


def _cell(name: str, value: Any) -> str:  # noqa: ANN401 - whatever a question selects
    if name == "change_bytes" and type(value) is int:
        return show_change(0, value)
    return show_bytes(value) if _is_bytes(name) and type(value) is int else _text(value)


def _is_bytes(name: str) -> bool:
    return name.endswith("bytes")


def _is_number(answer: Answer, place: int) -> bool:
    return any(type(row[place]) in (int, float) for row in answer.rows)


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a question selects
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no infinity
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _text(value: Any) -> str:  # noqa: ANN401 - the same
    """One line without control characters: drydock shows names, but a report may be from another program."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    return printable(str(value))

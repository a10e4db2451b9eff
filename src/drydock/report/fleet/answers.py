"""Answers as text, as JSON, or as one page that loads nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

import drydock
from drydock.report.amounts import show_bytes
from drydock.report.fleet.warehouse import Answer


def answer_lines(answers: Sequence[Answer]) -> Iterator[str]:
    """Each answer as a table, without line ends; nothing is cut."""
    for number, answer in enumerate(answers):
        if number:
            yield ""
        if answer.title:
            yield answer.title
        if answer.note:
            yield f"  {answer.note}"
        if not answer.rows:
            yield from () if answer.note else ("  nothing",)
            continue
        cells = [list(answer.columns), *(_cells(answer, row) for row in answer.rows)]
        widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
        right = [_is_number(answer, place) for place in range(len(widths))]
        for row in cells:
            padded = [
                (" " * (width - _width(cell)) + cell) if to_right else cell + " " * (width - _width(cell))
                for cell, width, to_right in zip(row, widths, right, strict=True)
            ]
            yield ("  " + "  ".join(padded)).rstrip()


def answers_document(answers: Sequence[Answer], facts: dict[str, int]) -> dict[str, Any]:
    """The answers as one JSON document, ``drydock.fleet/1``.

    Args:
        answers: in their order.
        facts: counts of what was read.
    """
    return {
        "schema": "drydock.fleet/1",
        "drydock": drydock.__version__,
        **facts,
        "answers": [
            {
                "title": answer.title,
                "columns": list(answer.columns),
                "rows": [[_plain(value) for value in row] for row in answer.rows],
                "note": answer.note,
            }
            for answer in answers
        ],
    }


def render_answers(answers: Sequence[Answer], facts: dict[str, int]) -> str:
    """The answers as a page; every text is escaped by the template engine."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - only a page pays for it

    environment = Environment(
        loader=PackageLoader("drydock.report", "fleet"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    tables = [
        {
            "title": answer.title or "Answer",
            "note": answer.note,
            "columns": answer.columns,
            "right": [_is_number(answer, place) for place in range(len(answer.columns))],
            "rows": [_cells(answer, row) for row in answer.rows],
        }
        for answer in answers
    ]
    return environment.get_template("fleet.html").render(tables=tables, facts=facts, version=drydock.__version__)


def _cells(answer: Answer, row: Sequence[Any]) -> list[str]:
    return [
        show_bytes(value) if name.endswith("bytes") and type(value) is int else _text(value)
        for name, value in zip(answer.columns, row, strict=True)
    ]


def _is_number(answer: Answer, place: int) -> bool:
    return any(type(row[place]) in (int, float) for row in answer.rows)


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a question selects
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _text(value: Any) -> str:  # noqa: ANN401 - the same
    """One line without control characters: names are shown already, but a report may be anybody's."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    text = str(value)
    return text if text.isprintable() else "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 0x80 else f"\\u{ord(char):04x}"


def _width(text: str) -> int:
    return len(text) if text.isascii() else sum(1 + (unicodedata.east_asian_width(each) in "WF") for each in text)

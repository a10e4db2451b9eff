"""A comparison of two scans as one page that loads nothing."""

from __future__ import annotations

from drydock.model.documents.compare import AmountPart, ComparedKind, CompareDocument, DifferencePart
from drydock.model.objects import State
from drydock.report.comparison import TITLES, change_cells, count_changes, show_change, show_period
from drydock.report.standalone_html import render_file
from drydock.report.wording import show_bytes, show_count
from drydock.version import __version__


def render_comparison(document: CompareDocument) -> str:
    """The page."""
    tables = [
        ("Disk", [*document.used]),
        ("By state", [*document.states]),
        ("By category", [*document.categories]),
    ]
    return render_file(
        "compare.html",
        ("fleet/fleet.css",),
        ("fleet/fleet.js",),
        title=document.new.host or document.old.host,
        span=show_period(document),
        notes=document.notes,
        amounts=[(title, [_amount_view(each) for each in amounts]) for title, amounts in tables if amounts],
        kinds=[
            (TITLES[kind], count_changes(found), [_difference_view(each) for each in found])
            for kind in ComparedKind
            if (found := [each for each in document.differences if each.kind is kind])
        ],
        changes=show_count(len(document.differences), "change"),
        version=__version__,
    )


def _amount_view(each: AmountPart) -> dict[str, object]:
    old, new = each.old_bytes, each.new_bytes
    return {
        "name": each.name,
        "old": ("not measured" if old is None else show_bytes(old), old),
        "new": ("not measured" if new is None else show_bytes(new), new),
        "change": (show_change(old, new), None if old is None or new is None else new - old),
        "state": each.name if each.name in {state.value for state in State} else None,
    }


def _difference_view(each: DifferencePart) -> dict[str, object]:
    _, sizes, _, note = change_cells(each)
    return {
        "change": each.change.value,
        "size": (sizes, (each.new_bytes or 0) - (each.old_bytes or 0)),
        "name": each.name,
        "namespace": each.namespace,
        "note": note,
    }

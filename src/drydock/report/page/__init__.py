"""A scan as a page: one file that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drydock.model.names import RawPath, UnixNano
from drydock.model.objects import ObjectKind, State
from drydock.model.scans import Scan
from drydock.model.times import show_time
from drydock.report.page_data import PageData
from drydock.report.place_summary import PlaceSummary, place_summaries
from drydock.report.standalone_html import render_file
from drydock.report.summary import NOTHING, Summary, summarize
from drydock.report.wording import show_bytes, show_count, target_of
from drydock.version import __version__

_SCRIPTS = tuple(f"page/{name}.js" for name in ("start", "paper", "detail", "treemap", "map", "time", "list"))


def render_page(scans: Sequence[Scan], now: UnixNano, where: RawPath | None, host: str = "") -> str:
    """The page.

    Args:
        scans: made with their inventory.
        now: when it was.
        where: what was scanned, for the commands; None for this host.
        host: the name of the host, shown; empty if it is not known.

    Raises:
        ValueError: a scan was made without its inventory.
    """
    summaries = [summarize(scan, where) for scan in scans]
    places = [place_summaries(scan) for scan in scans]
    besides = [sum(group.bytes for place in each for group in place.usage.groups) for each in places]
    return render_file(
        "page/page.html",
        ("page/page.css",),
        _SCRIPTS,
        title=_title(summaries, sum(besides)),
        host=host,
        now=show_time(now).removesuffix("Z").replace("T", " "),
        version=__version__,
        roots=[_root(*each) for each in zip(summaries, places, besides, strict=True)],
        legend=[state.value for state in State],
        data=_data(scans, now, where),
    )


def _data(scans: Sequence[Scan], now: UnixNano, where: RawPath | None) -> dict[str, Any]:
    roots = []
    for scan in scans:
        if scan.inventory is None:
            raise ValueError("a page needs scans made with their inventory")
        roots.append(PageData(scan, scan.inventory).document())
    objects = [kind.value for kind in ObjectKind]
    return {"now": now // 10**9, "where": target_of(where), "objects": objects, "roots": roots}


def _title(summaries: Sequence[Summary], beside: int) -> str:
    if not summaries:
        return "nothing found"
    used = show_bytes(sum(summary.used for summary in summaries) + beside)
    free = [summary.free.size for summary in summaries if summary.free.commands]
    leased = [summary.leases.size for summary in summaries if summary.leases.size != NOTHING]
    words = [f"{used} used", f"{' and '.join(free[:3])} can be freed now" if free else "nothing can be freed now"]
    if leased:
        words.append(f"{' and '.join(leased[:3])} by ending leases")
    damage = sum(count for summary in summaries for _, count in summary.damage)
    if damage:
        words.append(f"{damage} damaged")
    return ", ".join(words)


def _root(summary: Summary, places: Sequence[PlaceSummary], beside: int) -> dict[str, Any]:
    return {
        "path": summary.path,
        "about": summary.about,
        "places": [_place(place) for place in places],
        "used": show_bytes(summary.used + beside),
        "beside": show_bytes(beside) if beside else "",
        "databases": show_bytes(summary.databases),
        "states": [
            {
                "name": state.value,
                "bytes": total.bytes,
                "size": show_bytes(total.bytes),
                "count": show_count(total.count, "object"),
            }
            for state, total in summary.states
        ],
        "free": {
            "size": summary.free.size,
            "words": " ".join(summary.free.words),
            "commands": summary.free.commands,
        },
        "leases": {
            "size": summary.leases.size,
            "classes": summary.leases.words,
            "commands": summary.leases.commands,
        },
        "damage": {
            "count": sum(count for _, count in summary.damage),
            "kinds": [f"{code}: {count}" for code, count in summary.damage],
            "words": summary.damaged,
            "remedies": summary.remedies,
        },
        "notes": summary.notes,
    }


def _place(place: PlaceSummary) -> dict[str, Any]:
    most = max((row.bytes for row in place.rows), default=0)
    return {
        "path": place.path,
        "file_system": place.usage.file_system,
        "rows": [
            {
                "name": row.name,
                "size": show_bytes(row.bytes),
                "bytes": row.bytes,
                "rest": most - row.bytes,
                "freed_by": row.freed_by.removeprefix("you: "),
                "is_yours": row.freed_by.startswith("you: "),
            }
            for row in place.rows
        ],
        "largest": [words.strip() for words in place.usage.largest],
        "unmeasured": ", ".join(place.usage.unmeasured),
        "advice": place.usage.advice,
        "prunes": [{"words": command.words, "does": command.does} for command in place.prunes],
    }

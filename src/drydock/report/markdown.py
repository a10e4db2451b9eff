"""A scan as Markdown, to paste into an issue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from drydock.model.names import RawPath, UnixNano
from drydock.model.scans import Scan
from drydock.model.times import show_time
from drydock.report.holder_tree import HolderNode, holder_tree
from drydock.report.place_summary import PlaceSummary, place_summaries
from drydock.report.summary import Summary, summarize
from drydock.report.wording import show_bytes, show_count
from drydock.version import __version__

_LISTED = 10
_BACKTICKS = re.compile("`+")


def markdown_lines(scans: Sequence[Scan], now: UnixNano, where: RawPath | None) -> Iterator[str]:
    """The summary of each root, the largest holders, and the commands.

    Args:
        scans: made with their inventory.
        now: when it was.
        where: what was scanned, for the commands; None for this host.

    Raises:
        ValueError: a scan was made without its inventory.
    """
    yield f"# Container storage at {show_time(now)}"
    for scan in scans:
        yield ""
        yield from _root(scan, summarize(scan, where))
    if not scans:
        yield ""
        yield "No containerd storage was found."
    yield ""
    yield f"drydock {__version__}"


def literal(text: str, *, in_table: bool = False) -> str:
    """Shown text as a code span, so that it is no markup, no link and no mention.

    Source: CommonMark 0.31, "Code spans"; a table's cells end at every ``|`` without a backslash (GFM, "Tables").
    """
    fence = "`" * (max((len(run) for run in _BACKTICKS.findall(text)), default=0) + 1)
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    span = f"{fence}{blank}{text or ' '}{blank}{fence}"
    return span.replace("|", "\\|") if in_table else span


def _root(scan: Scan, summary: Summary) -> Iterator[str]:
    yield f"## {literal(summary.path)}"
    yield ""
    yield literal(summary.about)
    yield ""
    yield f"- Used: **{show_bytes(summary.used)}**, including {show_bytes(summary.databases)} of databases"
    yield f"- Can be freed now: **{summary.free.size}**. {' '.join(summary.free.words)}"
    yield f"- By ending leases: **{summary.leases.size}**"
    for words in summary.leases.words:
        yield f"  - {literal(words)}"
    yield f"- Damage: **{sum(count for _, count in summary.damage) or 'none'}**"
    for words in (*summary.damaged, *(f"What to do: {remedy}" for remedy in summary.remedies)):
        yield f"  - {literal(words)}"
    for words in summary.notes:
        yield f"- {literal(words)}"
    yield ""
    yield "| state | objects | size |"
    yield "| --- | ---: | ---: |"
    for state, total in summary.states:
        yield f"| {state.value} | {total.count} | {show_bytes(total.bytes)} |"
    yield ""
    for place in place_summaries(scan):
        if place.rows or place.usage.unmeasured:
            yield from _place(place)
    yield from _largest(holder_tree(scan))
    commands = (*summary.free.commands, *summary.leases.commands)
    if commands:
        # Indented, not fenced: nothing in a path can end it.
        yield ""
        yield from (f"    {command}" for command in commands)


def _place(place: PlaceSummary) -> Iterator[str]:
    yield f"What fills {literal(place.path)}:"
    yield ""
    if place.usage.file_system:
        yield literal(place.usage.file_system)
        yield ""
    if place.rows:
        yield "| size | what | freed by |"
        yield "| ---: | --- | --- |"
        for row in place.rows:
            freed_by = literal(row.freed_by, in_table=True) if row.freed_by else ""
            yield f"| {show_bytes(row.bytes)} | {literal(row.name, in_table=True)} | {freed_by} |"
        yield ""
    if place.usage.unmeasured:
        yield f"Not measured: {literal(', '.join(place.usage.unmeasured))}"
        yield ""
    if place.usage.largest:
        yield from (f"1. {literal(words.strip())}" for words in place.usage.largest)
        yield ""
    if place.prunes:
        yield from (f"- {literal(command.words)}: {literal(command.does)}" for command in place.prunes)
        yield ""


def _largest(tree: HolderNode) -> Iterator[str]:
    found = sorted(_leaves(tree), key=lambda each: -each[1].bytes)
    yield "| namespace | what | objects | size | alone | shared |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for namespace, node in found[:_LISTED]:
        name = node.name if node.kind == "group" else f"{node.kind} {node.name}"
        alone, shared = ("", "") if node.holder is None else (node.only, node.reached - node.only)
        amounts = " | ".join(each if isinstance(each, str) else show_bytes(each) for each in (alone, shared))
        place = literal(namespace, in_table=True) if namespace else ""
        yield f"| {place} | {literal(name, in_table=True)} | {node.count} | {show_bytes(node.bytes)} | {amounts} |"
    if len(found) > _LISTED:
        rest = sum(node.bytes for _, node in found[_LISTED:])
        yield f"| | and {show_count(len(found) - _LISTED, 'other')} | | {show_bytes(rest)} | | |"


def _leaves(node: HolderNode, namespace: str = "") -> Iterator[tuple[str, HolderNode]]:
    """The nodes without children, each with its namespace; empty where it is in none or in several."""
    if node.kind == "namespace":
        namespace = node.name
    if not node.children and node.bytes:
        yield namespace, node
    for each in node.children:
        yield from _leaves(each, namespace)

"""A store as a tree for a terminal or a pipe: the largest first, with bars of shared and unshared bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from drydock.model.objects import StoreObject
from drydock.model.scans import Scan
from drydock.model.text import shown
from drydock.report.holder_tree import HolderNode, ObjectRoles, holder_tree
from drydock.report.usage_text import UsageText, usage_texts
from drydock.report.wording import COLOURS, LIVE, columns, short_ids, show_bytes, show_count

_SIZE = 10
_NARROWEST_BAR, _WIDEST_BAR = 6, 24
_NARROWEST_NAME = 54


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    style: str
    """As rich names it; empty for none."""


class _Signs(NamedTuple):
    alone: str
    shared: str
    branch: str
    last: str
    down: str
    cut: str


_BLOCKS = _Signs("█", "░", "├─ ", "└─ ", "│  ", "…")
_ASCII = _Signs("#", ".", "|- ", "`- ", "|  ", "~")


class _Item(NamedTuple):
    """The content of one line."""

    name: str
    note: str
    bytes: int
    alone: int
    """Bytes that nothing else holds; the bar's first part."""
    shared: int
    """The bar's second part."""
    style: str
    below: HolderNode | None


def tree_lines(
    scans: Sequence[Scan], *, depth: int, top: int, width: int | None, blocks: bool = True
) -> Iterator[list[Span]]:
    """Each root as a tree; sizes on the left add up, and a shared byte counts once.

    Args:
        scans: made with their inventory.
        depth: how many levels below a root.
        top: how many lines of each level; the others are counted.
        width: columns; None for whole lines, however long.
        blocks: whether the output can show block and line characters.

    Raises:
        ValueError: a scan was made without its inventory.
    """
    signs = _BLOCKS if blocks else _ASCII
    for number, scan in enumerate(scans):
        if number:
            yield []
        tree = _TreeLines(scan, depth, top, width, signs)
        if scan.live:
            yield [Span(LIVE if width is None else _chop(LIVE, width), "yellow")]
        yield from tree.lines()
        for text in usage_texts(scan):
            yield from (line if width is None else _fit(line, width) for line in _usage_lines(text))
    if scans:
        yield []
        words = f"  {signs.alone} nothing else holds it   {signs.shared} shared: others hold it too"
        yield [Span(words if width is None else _chop(words, width), "bright_black")]


def _usage_lines(text: UsageText) -> Iterator[list[Span]]:
    yield [Span(f"{'':>{_SIZE}}  ", ""), Span(f"also under {text.path}", "bold")]
    for group in text.groups:
        yield [Span(f"{show_bytes(group.bytes):>{_SIZE}}  ", ""), Span(group.words, "")]
    if text.file_system:
        yield [Span(f"{'':>{_SIZE}}  ", ""), Span(text.file_system, "bright_black")]
    if text.unmeasured:
        unmeasured = f"not measured: {', '.join(text.unmeasured)}"
        yield [Span(f"{'':>{_SIZE}}  ", ""), Span(unmeasured, "bright_black")]


class _TreeLines:
    def __init__(self, scan: Scan, depth: int, top: int, width: int | None, signs: _Signs) -> None:
        self._objects = scan.verdict.objects
        self._roles = ObjectRoles(scan.verdict)
        self._root = holder_tree(scan)
        self._depth, self._top, self._width, self._signs = depth, top, width, signs
        room = (100 if width is None else width) - _SIZE - 4 - _NARROWEST_NAME
        self._bar = min(_WIDEST_BAR, room) if room >= _NARROWEST_BAR else 0

    def lines(self) -> Iterator[list[Span]]:
        yield self._line(self._of_node(self._root), "")
        yield from self._below(self._root, "", 1)

    def _below(self, node: HolderNode, lead: str, level: int) -> Iterator[list[Span]]:
        if level > self._depth:
            return
        items = [self._of_node(each) for each in node.children]
        items += [self._of_object(self._objects[place], node.is_shared) for place in node.objects]
        items.sort(key=lambda item: -item.bytes)
        shown_items, rest = items[: self._top], items[self._top :]
        for number, item in enumerate(shown_items):
            last = number == len(shown_items) - 1 and not rest
            yield self._line(item, lead + (self._signs.last if last else self._signs.branch))
            if item.below is not None:
                yield from self._below(item.below, lead + ("   " if last else self._signs.down), level + 1)
        if rest:
            left = sum(item.bytes for item in rest)
            yield self._line(
                _Item(f"and {len(rest)} more", "", left, 0, 0, "bright_black", None), lead + self._signs.last
            )

    def _of_node(self, node: HolderNode) -> _Item:
        name = node.name if node.kind in ("root", "group") else f"{node.kind} {node.name}"
        objects = show_count(node.count, "object")
        if node.holder is None:
            note = objects if node.count else ""
            style = "bold" if node.kind in ("root", "namespace") else ""
            shared = node.bytes if node.is_shared else 0
            return _Item(name, note, node.bytes, node.bytes - shared, shared, style, node)
        more = node.reached - node.only
        note = f"{show_bytes(node.only)} alone, {show_bytes(more)} shared" if more else objects
        return _Item(name, note, node.bytes, node.only, more, "", node)

    def _of_object(self, found: StoreObject, is_shared: bool) -> _Item:
        alone = 0 if is_shared else found.allocated
        style = COLOURS[found.state]
        name = f"{self._roles.of(found)} {shown(found.id)}"
        return _Item(name, found.state.value, found.allocated, alone, found.allocated - alone, style, None)

    def _line(self, item: _Item, lead: str) -> list[Span]:
        spans = [Span(f"{show_bytes(item.bytes):>{_SIZE}}  ", "")]
        if self._bar:
            spans += self._bars(item)
        spans.append(Span(lead, "bright_black"))
        note = f"  ({item.note})" if item.note else ""
        if self._width is None:
            return [*spans, Span(item.name, item.style), Span(note, "bright_black")]
        room = self._width - sum(columns(span.text) for span in spans)
        name = item.name
        if columns(name) + len(note) > room:
            name = short_ids(name)
        # The note of a damaged object says more than the end of its name.
        if columns(name) + len(note) > room and item.style != "red":
            note = ""
        name = _cut(name, room - len(note), self._signs.cut)
        return _fit([*spans, Span(name, item.style), Span(note, "bright_black")], self._width)

    def _bars(self, item: _Item) -> Iterator[Span]:
        whole = max(1, self._root.bytes)
        # Every size above 0 has a bar.
        full = min(self._bar, -(-(item.alone + item.shared) * self._bar // whole))
        alone = min(full, -(-item.alone * self._bar // whole))
        yield Span(self._signs.alone * alone, _bar_style(item))
        yield Span(self._signs.shared * (full - alone), "blue")
        yield Span(" " * (self._bar - full + 2), "")


def _bar_style(item: _Item) -> str:
    return item.style if item.style not in ("", "bold", "bright_black") else "blue"


def _chop(text: str, room: int) -> str:
    if columns(text) <= room:
        return text
    end, left = 0, room
    while end < len(text) and (left := left - columns(text[end])) >= 0:
        end += 1
    return text[:end].rstrip()


def _cut(text: str, room: int, sign: str) -> str:
    if columns(text) <= room:
        return text
    return _chop(text, room - 1) + sign if room > 1 else _chop(text, room)


def _fit(spans: list[Span], width: int) -> list[Span]:
    left = width
    fitted = []
    for span in spans:
        text = _chop(span.text, left) if columns(span.text) > left else span.text
        fitted.append(Span(text, span.style))
        left -= columns(text)
    return fitted

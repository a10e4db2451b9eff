"""What is known of one item, as lines: what it was found by, where on disk it is, and what frees it."""

from __future__ import annotations

from collections.abc import Iterator

from drydock.browse.marks import wish_of
from drydock.browse.tree import Item, absolute
from drydock.commands.browse import Looked
from drydock.model.names import Kind, split_snapshot_key
from drydock.model.objects import DataRootObject, StoreObject
from drydock.model.text import shown
from drydock.report.wording import about_root, show_bytes, show_count


def fact_lines(item: Item, looked: Looked) -> Iterator[str]:
    """What an item was found by and where on disk it is; one shown line each."""
    root = looked.scan.verdict.store.root.path
    yield item.title
    yield f"size: {show_bytes(item.bytes)} ({show_count(item.bytes, 'byte')})"
    if item.unique is not None:
        yield f"only it has: {show_bytes(item.unique)}; shared with others: {show_bytes(item.shared)}"
    if item.state is not None:
        yield f"state: {item.state.value}"
    if item.found is not None:
        yield from _object(item.found, looked)
        path = absolute(item.found, root)
        yield f"on disk: {'nothing' if path is None else shown(path)}"
    elif item.entry is not None:
        yield f"found by: what lies below {', '.join(map(shown, looked.scan.verdict.store.root.docker)) or shown(root)}"
        yield f"on disk: {shown(item.entry.path)}"
        if item.entry.used_by is not None:
            yield f"mounted by: {', '.join(map(shown, item.entry.used_by)) or 'no container'}"
        if item.entry.note:
            yield f"note: {item.entry.note}"
    elif item.refs:
        database = shown(looked.scan.verdict.store.metadata.path)
        for ref in item.refs:
            # What is in no namespace is a record of Docker's classic store.
            where = f"namespace {shown(ref.namespace)} of {database}" if ref.namespace else "Docker's classic store"
            yield f"found by: the record of {_named(ref.kind, ref.key)} in {where}"
        yield f"on disk: {show_count(item.count, 'object')}; Enter lists them"
    else:
        yield f"on disk: below {shown(root)}" if item.kind != "engine" else about_root(looked.scan)
        yield f"has: {show_count(item.count, 'object')}"
    wish = wish_of(item)
    yield f"Space: {wish}" if isinstance(wish, str) else "Space: marks it, if the planner would let it go"


def _object(found: StoreObject, looked: Looked) -> Iterator[str]:
    store = looked.scan.verdict.store
    for ref in found.refs:
        place = f"namespace {shown(ref.namespace)} of {shown(store.metadata.path)}"
        if isinstance(found, DataRootObject):
            place = shown(found.data_root)
        yield f"found by: the record of {_named(ref.kind, ref.key)} in {place}"
    if found.row is not None:
        yield f"found by: row {shown(found.row)} of snapshotter {shown(found.snapshotter)}"
    if found.data is not None:
        yield "found by: what lies on disk"
    if not found.refs:
        yield "no record names it"
    if found.note:
        yield f"note: {found.note}"


def _named(kind: Kind, key: bytes) -> str:
    return f"{kind.value} {shown(split_snapshot_key(key)[1] if kind is Kind.SNAPSHOT else key)}"

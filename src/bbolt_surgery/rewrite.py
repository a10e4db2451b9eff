"""The tree without what is deleted: every page that changes, made anew for a place of its own."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeAlias

from bbolt_reader.page import HEADER, LEAF_BUCKET, formats
from bbolt_reader.tree import MAX_DEPTH
from bbolt_surgery.deletion import Deletion, Root
from bbolt_surgery.node import MAX_COUNT, Branch, Child, Leaf, Loaded, Node, encode, first_key, size
from bbolt_surgery.survey import inline_entries

Edits: TypeAlias = "dict[bytes, bytes | None]"
"""Keys of one bucket: the value each is to have, or None where it goes."""


class Rewrite:
    """Deletes in a tree that was surveyed; reads its pages, writes none.

    Attributes:
        pages: what is to be written: each page's position and bytes, overflow included, a multiple of the page size.
        deleted: what was there, each once.
        absent: what was not.
    """

    def __init__(self, file: Loaded, root: Root, take: Callable[[int], int]) -> None:
        self._file = file
        self._take = take
        self._buckets: dict[tuple[bytes, ...], bytes | None] = {(): formats().bucket.pack(*root)}
        self.pages: list[tuple[int, bytes]] = []
        self.deleted: list[Deletion] = []
        self.absent: list[Deletion] = []

    def delete(self, deletions: Iterable[Deletion]) -> Root:
        """Delete, and give the new root bucket's header; the same as before where nothing was there to delete."""
        edits: defaultdict[tuple[bytes, ...], Edits] = defaultdict(dict)
        wanted = sorted({Deletion(tuple(path), key) for path, key in deletions})
        for each in wanted:
            value = self._bucket(each.path)
            if value is None or self._find(value, each.key) is None:
                self.absent.append(each)
            else:
                self.deleted.append(each)
                edits[each.path][each.key] = None
        doomed = {(*each.path, each.key) for each in self.deleted}
        # From the deepest bucket up, as each one's new header is an edit of the bucket around it.
        for depth in range(max(map(len, edits), default=0), 0, -1):
            for path in [path for path in edits if len(path) == depth]:
                if not any(path[:length] in doomed for length in range(1, depth + 1)):
                    edits[path[:-1]][path[-1]] = self._edited(self._known(path), edits[path])
        if () in edits:
            return Root(*formats().bucket.unpack_from(self._edited(self._known(()), edits[()])))
        return Root(*formats().bucket.unpack_from(self._known(())))

    def _known(self, path: tuple[bytes, ...]) -> bytes:
        value = self._bucket(path)
        assert value is not None  # only buckets that were found are edited
        return value

    def _bucket(self, path: tuple[bytes, ...]) -> bytes | None:
        """The value that is a bucket's header and, if it is inline, its page; None where there is no such bucket."""
        for length in range(1, len(path) + 1):
            part = path[:length]
            if part not in self._buckets:
                around = self._buckets[part[:-1]]
                found = None if around is None else self._find(around, part[-1])
                self._buckets[part] = found[1] if found is not None and found[0] == LEAF_BUCKET else None
        return self._buckets[path]

    def _find(self, bucket: bytes, key: bytes) -> tuple[int, bytes] | None:
        """Flags and value of a key."""
        pgid, _ = formats().bucket.unpack_from(bucket)
        if not pgid:
            entries = inline_entries(bucket)
        else:
            node, _ = self._file.node(pgid)
            while isinstance(node, Branch):
                index = bisect_right(node.children, key, key=lambda child: child[0]) - 1
                pgid = _page(node.children[max(index, 0)][1])
                node, _ = self._file.node(pgid)
            entries = node.entries
        index = bisect_left(entries, key, key=lambda entry: entry[1])
        if index == len(entries) or entries[index][1] != key:
            return None
        return entries[index][0], entries[index][2]

    def _edited(self, bucket: bytes, edits: Edits) -> bytes:
        """The new value of a bucket."""
        pgid, sequence = formats().bucket.unpack_from(bucket)
        if not pgid:
            leaf = _applied(inline_entries(bucket), edits)
            return bucket[:HEADER] + encode(0, 0, leaf)
        node: Child = self._node(pgid, sorted(edits), edits, 0)
        # bbolt panics when it rebalances below a branch of one child, so none is left where something changed.
        while isinstance(node, Branch) and len(node.children) == 1:
            node = node.children[0][1]
        if isinstance(node, Branch) and not node.children:
            node = Leaf([])
        return formats().bucket.pack(node if isinstance(node, int) else self._placed(node), sequence)

    def _node(self, pgid: int, keys: list[bytes], edits: Edits, depth: int) -> Node:
        """A page with some keys changed; empty where nothing is left of it."""
        node, _ = self._file.node(pgid)
        if isinstance(node, Leaf):
            return _applied(node.entries, {key: edits[key] for key in keys})
        if depth > MAX_DEPTH:
            raise self._file.corrupt(pgid, f"more than {MAX_DEPTH} branch pages above each other")
        children: list[tuple[bytes, Child]] = []
        done = 0
        for index, (key, child) in enumerate(node.children):
            last = index + 1 == len(node.children)
            upto = len(keys) if last else bisect_left(keys, node.children[index + 1][0], done)
            if done == upto:
                children.append((key, child))
                continue
            changed = self._node(_page(child), keys[done:upto], edits, depth + 1)
            done = upto
            if changed.entries if isinstance(changed, Leaf) else changed.children:
                # The very key: bbolt looks children up in their branch by their first key (v1.3.6, node.go, spill).
                children.append((first_key(changed), changed))
        branch = Branch(children)
        self._settle(branch)
        return branch

    def _settle(self, branch: Branch) -> None:
        """Join or fill up those of a branch's changed children that are branches of one child."""
        children = branch.children
        index = 0
        while index < len(children) and len(children) > 1:
            lone = children[index][1]
            if not isinstance(lone, Branch) or len(lone.children) > 1:
                index += 1
                continue
            left = max(index - 1, 0)
            pair = [self._as_branch(child) for _, child in children[left : left + 2]]
            both = [child for each in pair for child in each.children]
            joined = Branch(both)
            if len(both) > 3 and (size(joined) > self._file.page_size or len(both) > MAX_COUNT):
                cut = 2 if left == index else len(both) - 2
                parts = [Branch(both[:cut]), Branch(both[cut:])]
            else:
                parts = [joined]
            for part in parts:
                self._settle(part)
            children[left : left + 2] = [(first_key(part), part) for part in parts]
            index = left

    def _as_branch(self, child: Child) -> Branch:
        node = self._file.node(child)[0] if isinstance(child, int) else child
        if not isinstance(node, Branch):
            at = child if isinstance(child, int) else 0
            raise self._file.corrupt(at, "a leaf page beside a branch page")
        return node

    def _placed(self, node: Node) -> int:
        """Give a node and what is new below it their places."""
        if isinstance(node, Branch):
            node = Branch([(key, child if isinstance(child, int) else self._placed(child)) for key, child in
                           node.children])  # fmt: skip
        page_size = self._file.page_size
        places = -(-size(node) // page_size)
        pgid = self._take(places)
        self.pages.append((pgid, encode(pgid, places - 1, node).ljust(places * page_size, b"\0")))
        return pgid


def _applied(entries: list[tuple[int, bytes, bytes]], edits: Edits) -> Leaf:
    kept = []
    for flags, key, value in entries:
        new = edits.get(key, value)
        if new is not None:
            kept.append((flags, key, new))
    return Leaf(kept)


def _page(child: Child) -> int:
    assert isinstance(child, int)  # what was read from the file names pages
    return child

"""The tree with deletions and insertions made: every page that changes becomes a new page in a new place."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Container, Iterable
from typing import TypeAlias

from bbolt_reader.page import HEADER, LEAF_BUCKET, formats
from bbolt_reader.tree import MAX_DEPTH
from bbolt_surgery.builder import HALF, Builder, fits_inline, has_buckets, join, share
from bbolt_surgery.changes import Deletion, Insertion, NewBucket, RootHeader
from bbolt_surgery.errors import Unfit
from bbolt_surgery.node import MAX_COUNT, BranchNode, Child, LeafNode, Node, NodeFile, encode, first_key, size
from bbolt_surgery.survey import inline_entries

Edits: TypeAlias = "dict[bytes, tuple[int, bytes] | None]"
"""Changes to the keys of one bucket: the new flags and value of each key, or None to delete it."""

_Path: TypeAlias = "tuple[bytes, ...]"


class Rewrite:
    """Changes a tree that was surveyed; reads its pages and writes none.

    Attributes:
        pages: the pages to write: position and bytes, with overflow, a multiple of the page size.
        deleted: the deletions that are made, each once.
        absent: the deletions of absent keys.
        inserted: the insertions that are made.
        present: the insertions of present keys.
    """

    def __init__(self, file: NodeFile, root: RootHeader, take: Callable[[int], int]) -> None:
        self._file = file
        self._builder = Builder(file.page_size, take, self._put)
        self._buckets: dict[_Path, bytes | None] = {(): formats().bucket.pack(*root)}
        self.pages: list[tuple[int, bytes]] = []
        self.deleted: list[Deletion] = []
        self.absent: list[Deletion] = []
        self.inserted: list[Insertion] = []
        self.present: list[Insertion] = []

    def change(self, deletions: Iterable[Deletion], insertions: Iterable[Insertion]) -> RootHeader:
        """Delete, then put in, and return the header of the root bucket, which is the former one if nothing changed.

        Raises:
            Unfit: a bbolt file cannot have an insertion.
        """
        edits: defaultdict[_Path, Edits] = defaultdict(dict)
        wanted = sorted({Deletion(tuple(path), key) for path, key in deletions})
        for each in wanted:
            value = self._bucket(each.path)
            if value is None or self._find(value, each.key) is None:
                self.absent.append(each)
            else:
                self.deleted.append(each)
                edits[each.path][each.key] = None
        doomed = {(*each.path, each.key) for each in self.deleted}
        for path, fresh in self._fresh(insertions, doomed).items():
            for key, new in fresh.items():
                flags, _, value = self._builder.entry(key, new, len(path))
                edits[path][key] = flags, value
        # From the deepest bucket up: the new header of each bucket is an edit of its parent.
        for depth in range(max(map(len, edits), default=0), 0, -1):
            for path in [path for path in edits if len(path) == depth]:
                if not any(path[:length] in doomed for length in range(1, depth + 1)):
                    edits[path[:-1]][path[-1]] = LEAF_BUCKET, self._edited(self._known(path), edits[path])
        if () in edits:
            return RootHeader(*formats().bucket.unpack_from(self._edited(self._known(()), edits[()])))
        return RootHeader(*formats().bucket.unpack_from(self._known(())))

    def _fresh(
        self, insertions: Iterable[Insertion], doomed: Container[_Path]
    ) -> dict[_Path, dict[bytes, bytes | NewBucket]]:
        """The insertions to make, as edits of each bucket."""
        fresh: dict[_Path, dict[bytes, bytes | NewBucket]] = {}
        for each in sorted(insertions, key=lambda insertion: (insertion.path, insertion.key)):
            names = (*each.path, each.key)
            depth = 0
            while depth < len(each.path) and self._stays(names[: depth + 1], doomed):
                depth += 1
            entries = fresh.setdefault(names[:depth], {})
            if names[depth] not in entries and self._is_taken(names[: depth + 1], doomed):
                self.present.append(each)
                continue
            for name in names[depth:-1]:
                inner = entries.setdefault(name, NewBucket())
                if isinstance(inner, bytes):
                    self.present.append(each)
                    break
                entries = inner.entries
            else:
                if each.key in entries:
                    self.present.append(each)
                else:
                    entries[each.key] = _copied(each.value, len(each.path))
                    self.inserted.append(each)
        return fresh

    def _stays(self, path: _Path, doomed: Container[_Path]) -> bool:
        """Whether a bucket exists and neither it nor a bucket above it is deleted."""
        return path not in doomed and self._bucket(path) is not None

    def _is_taken(self, path: _Path, doomed: Container[_Path]) -> bool:
        return path not in doomed and self._find(self._known(path[:-1]), path[-1]) is not None

    def _known(self, path: tuple[bytes, ...]) -> bytes:
        value = self._bucket(path)
        assert value is not None  # only buckets that were found have edits
        return value

    def _bucket(self, path: tuple[bytes, ...]) -> bytes | None:
        """The value of a bucket: its header and, for an inline bucket, its page; None if there is no such bucket."""
        for length in range(1, len(path) + 1):
            part = path[:length]
            if part not in self._buckets:
                around = self._buckets[part[:-1]]
                found = None if around is None else self._find(around, part[-1])
                self._buckets[part] = found[1] if found is not None and found[0] == LEAF_BUCKET else None
        return self._buckets[path]

    def _find(self, bucket: bytes, key: bytes) -> tuple[int, bytes] | None:
        """Flags and value of a key; None if there is no such key."""
        pgid, _ = formats().bucket.unpack_from(bucket)
        if not pgid:
            entries = inline_entries(bucket)
        else:
            node, _ = self._file.node(pgid)
            while isinstance(node, BranchNode):
                index = bisect_right(node.children, key, key=lambda child: child[0]) - 1
                pgid = _page(node.children[max(index, 0)][1])
                node, _ = self._file.node(pgid)
            entries = node.entries
        index = bisect_left(entries, key, key=lambda entry: entry[1])
        if index == len(entries) or entries[index][1] != key:
            return None
        return entries[index][0], entries[index][2]

    def _edited(self, bucket: bytes, edits: Edits) -> bytes:
        """The value of a bucket after edits."""
        pgid, sequence = formats().bucket.unpack_from(bucket)
        page_size = self._file.page_size
        if not pgid:
            former = LeafNode(inline_entries(bucket))
            leaf = _applied(former.entries, edits)
            if fits_inline(leaf, page_size) or (size(leaf) <= size(former) and not has_buckets(leaf)):
                return bucket[:HEADER] + encode(0, 0, leaf)
            nodes = share(leaf, page_size, HALF)
        else:
            nodes = self._nodes(pgid, sorted(edits), edits, 0) or [LeafNode([])]
        node: Child = join(nodes, page_size, HALF)
        # bbolt panics when it rebalances below a branch of one child, so changed parts of the tree have none.
        while isinstance(node, BranchNode) and len(node.children) == 1:
            node = node.children[0][1]
        return formats().bucket.pack(node if isinstance(node, int) else self._builder.place(node), sequence)

    def _nodes(self, pgid: int, keys: list[bytes], edits: Edits, depth: int) -> list[Node]:
        """The nodes of a page after edits: several if it no longer fits one page, none if nothing is left."""
        node, _ = self._file.node(pgid)
        if isinstance(node, LeafNode):
            leaf = _applied(node.entries, {key: edits[key] for key in keys})
            return self._split(leaf, node) if leaf.entries else []
        if depth > MAX_DEPTH:
            raise self._file.corrupt(pgid, f"more than {MAX_DEPTH} levels of branch pages")
        children: list[tuple[bytes, Child]] = []
        done = 0
        for index, (key, child) in enumerate(node.children):
            last = index + 1 == len(node.children)
            upto = len(keys) if last else bisect_left(keys, node.children[index + 1][0], done)
            if done == upto:
                children.append((key, child))
                continue
            # The same key as before: bbolt finds children in their branch by their first key (v1.3.6, node.go, spill).
            changed = self._nodes(_page(child), keys[done:upto], edits, depth + 1)
            children += [(first_key(each), each) for each in changed]
            done = upto
        branch = BranchNode(children)
        self._settle(branch)
        return self._split(branch, node) if branch.children else []

    def _split(self, node: Node, former: Node) -> list[Node]:
        """The nodes that a node is split into if it grew beyond a page. Edits that only delete never split."""
        page_size = self._file.page_size
        grew = page_size < size(node) > size(former) or len(node[0]) > MAX_COUNT
        return share(node, page_size, HALF) if self.inserted and grew else [node]

    def _settle(self, branch: BranchNode) -> None:
        """Join or fill up changed children of a branch that are branches with one child."""
        children = branch.children
        index = 0
        while index < len(children) and len(children) > 1:
            lone = children[index][1]
            if not isinstance(lone, BranchNode) or len(lone.children) > 1:
                index += 1
                continue
            left = max(index - 1, 0)
            pair = [self._as_branch(child) for _, child in children[left : left + 2]]
            both = [child for each in pair for child in each.children]
            joined = BranchNode(both)
            if len(both) > 3 and (size(joined) > self._file.page_size or len(both) > MAX_COUNT):
                cut = 2 if left == index else len(both) - 2
                parts = [BranchNode(both[:cut]), BranchNode(both[cut:])]
            else:
                parts = [joined]
            for part in parts:
                self._settle(part)
            children[left : left + 2] = [(first_key(part), part) for part in parts]
            index = left

    def _as_branch(self, child: Child) -> BranchNode:
        node = self._file.node(child)[0] if isinstance(child, int) else child
        if not isinstance(node, BranchNode):
            at = child if isinstance(child, int) else 0
            raise self._file.corrupt(at, "a leaf page beside a branch page")
        return node

    def _put(self, pgid: int, data: bytes) -> None:
        page_size = self._file.page_size
        self.pages.append((pgid, data.ljust(-(-len(data) // page_size) * page_size, b"\0")))


def _applied(entries: list[tuple[int, bytes, bytes]], edits: Edits) -> LeafNode:
    kept = [entry for entry in entries if entry[1] not in edits]
    kept += [(change[0], key, change[1]) for key, change in edits.items() if change is not None]
    kept.sort(key=lambda entry: entry[1])
    return LeafNode(kept)


def _copied(value: bytes | NewBucket, depth: int) -> bytes | NewBucket:
    """A copy of a value or bucket, so that the caller's stays unchanged; ``depth`` buckets are above it.

    Raises:
        Unfit: the bucket is deeper than a file can have it.
    """
    if isinstance(value, bytes):
        return value
    if depth > MAX_DEPTH:
        raise Unfit(f"more than {MAX_DEPTH} levels of buckets")
    return NewBucket(value.sequence, {key: _copied(inner, depth + 1) for key, inner in value.entries.items()})


def _page(child: Child) -> int:
    assert isinstance(child, int)  # nodes from the file have pages as children
    return child

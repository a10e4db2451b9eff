"""The pages that a tree uses, found by a walk that checks every rule of the format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bbolt_reader.page import HEADER, LEAF_BUCKET, PAGE_BRANCH, PAGE_FREELIST, PAGE_LEAF, formats
from bbolt_reader.tree import MAX_DEPTH
from bbolt_surgery.node import BranchNode, LeafNode, NodeFile, leaf


class _PageToSurvey(NamedTuple):
    pgid: int
    low: bytes
    """No key below it may be smaller."""
    high: bytes | None
    """Every key below it must be smaller."""
    depth: int
    """How many branch pages of its bucket are above it."""
    buckets: int
    """How many buckets are above its bucket."""


def survey(file: NodeFile, root: int, freelist: int | None, known: Mapping[int, int] | None = None) -> dict[int, int]:
    """The pages a meta reaches.

    Args:
        file: the pages below the high-water mark of the meta.
        root: the page where the tree of the root bucket starts.
        freelist: the page with the list of free pages, if there is one.
        known: pages that another walk has visited. This walk skips them, and the pages below them are not in the
            result.

    Returns:
        The number of places of each page.

    Raises:
        BoltError: a page is not as bbolt writes it, or cannot be read.
    """
    walk = _SurveyWalk(file, known or {})
    if freelist is not None:
        _, _, places = file.header(freelist, (PAGE_FREELIST,))
        walk.claim(freelist, places)
    walk.run(root)
    after = 2
    for pgid in sorted(walk.places):
        if pgid < after:
            raise file.corrupt(pgid, "lies inside another page")
        after = pgid + walk.places[pgid]
    return walk.places


def free(used: Mapping[int, int], high_water: int) -> list[tuple[int, int]]:
    """The runs of pages between used ones, in order: start and length. Used pages may overlap."""
    runs = []
    after = 2
    for pgid in sorted(used):
        if pgid >= high_water:
            break
        if pgid > after:
            runs.append((after, pgid - after))
        after = max(after, pgid + used[pgid])
    if after < high_water:
        runs.append((after, high_water - after))
    return runs


class _SurveyWalk:
    def __init__(self, file: NodeFile, known: Mapping[int, int]) -> None:
        self.file = file
        self.known = known
        self.places: dict[int, int] = {}
        self.total = 0
        self.steps: list[_PageToSurvey] = []

    def claim(self, pgid: int, places: int) -> None:
        """Note a page. Overlapping pages are found at the end; they cannot make the walk longer than the file."""
        if pgid in self.places:
            raise self.file.corrupt(pgid, "is named twice")
        self.places[pgid] = places
        self.total += places
        if self.total > self.file.high_water:
            raise self.file.corrupt(pgid, "more pages than the file has")

    def run(self, root: int) -> None:
        self.push(_PageToSurvey(root, b"", None, 0, 0))
        while self.steps:
            step = self.steps.pop()
            node, _ = self.file.node(step.pgid)
            if isinstance(node, BranchNode):
                self.branch(node, step)
            else:
                self.leaf(node, step)

    def push(self, step: _PageToSurvey) -> None:
        """Claim a page before it is put off, so that no more pages are put off than the file has."""
        if step.depth > MAX_DEPTH or step.buckets > MAX_DEPTH:
            raise self.file.corrupt(step.pgid, f"more than {MAX_DEPTH} above each other")
        if step.pgid in self.known:
            return
        _, _, places = self.file.header(step.pgid, (PAGE_LEAF, PAGE_BRANCH))
        self.claim(step.pgid, places)
        self.steps.append(step)

    def branch(self, node: BranchNode, step: _PageToSurvey) -> None:
        keys = [key for key, _ in node.children]
        self.within(keys[0], keys[-1], step)
        for (key, child), high in zip(node.children, [*keys[1:], step.high], strict=True):
            assert isinstance(child, int)
            self.push(_PageToSurvey(child, key, high, step.depth + 1, step.buckets))

    def leaf(self, node: LeafNode, step: _PageToSurvey) -> None:
        if not node.entries:
            return
        self.within(node.entries[0][1], node.entries[-1][1], step)
        for flags, _, value in node.entries:
            if flags != LEAF_BUCKET:
                continue
            root, _ = formats().bucket.unpack_from(value)
            if root:
                self.push(_PageToSurvey(root, b"", None, 0, step.buckets + 1))
                continue
            try:
                inline_entries(value)
            except ValueError as error:
                raise self.file.corrupt(step.pgid, f"inline bucket: {error}") from error

    def within(self, first: bytes, last: bytes, step: _PageToSurvey) -> None:
        if first < step.low or (step.high is not None and last >= step.high):
            raise self.file.corrupt(step.pgid, "keys that its branch does not lead to")


def inline_entries(value: bytes) -> list[tuple[int, bytes, bytes]]:
    """The entries of an inline bucket.

    Raises:
        ValueError: its value has no leaf page, or the page has a bucket.
    """
    if len(value) < 2 * HEADER:
        raise ValueError("no page")
    _, flags, count, _ = formats().header.unpack_from(value, HEADER)
    if flags != PAGE_LEAF:
        raise ValueError(f"flags {flags:#x}")
    entries = leaf(value[HEADER:], count)
    if any(entry[0] for entry in entries):
        raise ValueError("a bucket in it")
    if HEADER * (count + 2) + sum(len(key) + len(value) for _, key, value in entries) != len(value):
        raise ValueError("entries that do not fill it")
    return entries

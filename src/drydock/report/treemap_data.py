"""The tree of a root as a page's map takes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from drydock.model.names import Ref
from drydock.model.objects import StoreObject
from drydock.report.aggregate import sum_by_state
from drydock.report.holder_tree import Branch
from drydock.report.wording import show_count


class Plot(NamedTuple):
    """What has a place of its own, and which line of the table is about it."""

    objects: Sequence[StoreObject]
    row_at: Mapping[int, int]
    """Lines of objects, by their places; the others are put together by state."""
    row_of: Mapping[Ref, int]
    """Lines of holders."""
    chosen: Collection[Ref]
    """Holders that have a place; the others are put together by kind."""

    def draw(self, branch: Branch) -> list[Any]:
        """kind, name, bytes, objects below, shared, row or null, branches, rows of its objects, smaller objects.

        The smaller objects are [state, how many, bytes].
        """
        left = (place for place in branch.objects if place not in self.row_at)
        return [
            branch.kind,
            branch.name,
            branch.bytes,
            branch.count,
            int(branch.is_shared),
            None if branch.holder is None else self.row_of.get(branch.holder.ref),
            [self.draw(each) for each in self._below(branch) if each.bytes],
            [self.row_at[place] for place in branch.objects if place in self.row_at],
            [[state.value, each.count, each.bytes] for state, each in sum_by_state(self.objects, left).items()],
        ]

    def _below(self, branch: Branch) -> list[Branch]:
        branches: list[Branch] = []
        small: dict[str, list[Branch]] = defaultdict(list)
        for each in branch.branches:
            if each.holder is None or each.holder.ref in self.chosen:
                branches.append(each)
            else:
                small[each.kind].append(each)
        return branches + [_merged(kind, each) for kind, each in small.items()]


def _merged(kind: str, branches: Sequence[Branch]) -> Branch:
    return Branch(
        "group",
        show_count(len(branches), f"smaller {kind}"),
        objects=[place for branch in branches for place in branch.objects],
        bytes=sum(branch.bytes for branch in branches),
        count=sum(branch.count for branch in branches),
    )

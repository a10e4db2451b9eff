"""What is marked: asking the planner about one more mark, and finding the marks again in a place that was read anew."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from drydock.browse.deeds import View
from drydock.browse.marks import Answer, policy_of
from drydock.browse.tree import Item
from drydock.commands.browse import decide
from drydock.model.errors import DrydockError
from drydock.model.policies import Policy
from drydock.model.progress import Progress
from drydock.report.wording import show_count

KEPT: Final = "nothing was changed: what was marked is still marked"
"""Said after a deed that was refused, or that the user did not want after all."""


@dataclass(frozen=True, slots=True, eq=False)
class Marked(Collection[Item]):
    """The items that are marked."""

    items: dict[Item, None] = field(default_factory=dict)
    accepted: dict[bytes, None] = field(default_factory=dict)
    """Names of images and containers whose loss the user accepted; with :meth:`ask`, both values have the same."""
    answer: Answer | None = None
    """The planner's; None if nothing is marked."""

    def __len__(self) -> int:
        """How many are marked."""
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        """In the order of the marks."""
        return iter(self.items)

    def __contains__(self, item: object) -> bool:
        """Whether an item is marked."""
        return item in self.items

    @property
    def policy(self) -> Policy:
        """What the marks ask of a plan."""
        return policy_of(self.items, self.accepted)

    def goes(self, item: Item) -> bool:
        """Whether an item goes with what is marked."""
        return self.answer is not None and self.answer.goes(item)

    def accept(self, item: Item) -> None:
        """Accept the loss of an item."""
        self.accepted.update(dict.fromkeys(item.names))

    def ask(self, item: Item, view: View) -> Marked | str:
        """The marks with one more, or with one less if the item is marked; or why the item stays, on one shown line."""
        items = {each: None for each in self.items if each is not item}
        is_new = len(items) == len(self.items)
        if is_new:
            items[item] = None
        if not items:
            return replace(self, items=items, answer=None)
        try:
            answer = Answer(decide(view.looked, policy_of(items, self.accepted)))
        except DrydockError as error:
            return str(error)
        why = answer.why_not(item, self.answer or view.base) if is_new else None
        return replace(self, items=items, answer=answer) if why is None else why


def marked_again(marked: Marked, former: View, view: View, progress: Progress) -> tuple[Marked, str]:
    """Mark again, after a change, what is still there and still may go.

    Args:
        marked: the marks on what was read before the change.
        former: what was read then.
        view: what was read since.
        progress: told each mark.

    Returns:
        The marks on what was read since, and what became of them, on one shown line; empty if all of it is gone.
    """
    now = Marked()
    stays: list[str] = []
    for item in marked:
        progress("marks", 1, len(marked))
        found = view.tree.again(item, former.tree)
        if found is None:
            continue
        if any(name in marked.accepted for name in found.names):
            now.accept(found)
        asked = now.ask(found, view)
        if isinstance(asked, Marked):
            now = asked
        else:
            stays.append(f"{found.title} is not marked any more: {asked}")
    said = [f"{len(now)} of {show_count(len(marked), 'mark')} kept"] if now else []
    said += stays[:1]
    said += [f"{len(stays) - 1} more stay"] if len(stays) > 1 else []
    return now, "; ".join(said)

"""What ending leases would free, and the commands that end them, for a table, a page and a ticket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from drydock.model.leases import LeaseClass
from drydock.model.scans import Scan
from drydock.report.wording import about_end, show_bytes, show_count


class Command(NamedTuple):
    """A command to type."""

    words: str
    """As typed; after ``drydock``, unless it is another program's."""
    does: str
    is_drydocks: bool = True


class Ending(NamedTuple):
    """The leases of a root that hold what nothing else does. Every text is shown."""

    bytes: int
    """What ``clean --end-leases temporary`` frees besides what can be freed now."""
    temporary: tuple[str, ...]
    """About the leases which that ends; empty where there are none."""
    other_bytes: int
    """What leases hold that it does not end."""
    others: tuple[str, ...]
    """About those."""
    commands: tuple[Command, ...]
    other_commands: tuple[Command, ...]


def list_ending(scan: Scan) -> Ending:
    """Say what ending the leases of a root frees: the temporary ones, and apart from them those of other classes."""
    by_class = {kind: total for kind, total in scan.leased().items() if kind is not LeaseClass.EXPIRED}
    said = {
        kind: f"{kind.value}: {show_count(total.count, 'lease')}, {show_bytes(total.bytes)}{about_end(scan, kind)}"
        for kind, total in by_class.items()
    }
    temporary = by_class.pop(LeaseClass.TEMPORARY, None)
    commands: list[Command] = []
    if scan.pulls:
        commands.append(Command("pulls", "shows the interrupted pulls"))
    if temporary is not None:
        pruned = [holding.is_pruned for holding in scan.verdict.leases if holding.kind is LeaseClass.TEMPORARY]
        if any(pruned):
            # Where the engine can run, its own command is tried first.
            commands.insert(0, prune(pruned))
        commands.append(Command("clean --end-leases temporary", "shows what ending the temporary leases frees"))
    others: list[Command] = []
    if LeaseClass.OWNERLESS in by_class:
        does = "shows what ending those whose owner is gone frees as well"
        others.append(Command("clean --end-leases ownerless", does))
    if LeaseClass.UNKNOWN in by_class:
        others.append(Command("ls leases", "lists them; clean --end-lease ID ends one"))
    return Ending(
        0 if temporary is None else temporary.bytes,
        () if temporary is None else (said[LeaseClass.TEMPORARY],),
        sum(total.bytes for total in by_class.values()),
        tuple(said[kind] for kind in by_class),
        tuple(commands),
        tuple(others),
    )


def prune(pruned: Sequence[bool]) -> Command:
    """Docker's own command, which ends leases with its label ``moby/prune.images`` (Docker 27.4 and later).

    It ends those of pulls that are under way as well (moby daemon/containerd/image_prune.go, v27.4.0 to v29.7).

    Args:
        pruned: of each of the leases in question whether it has that label.
    """
    ends = show_count(len(pruned), "lease") if all(pruned) else f"{sum(pruned)} of {len(pruned)} leases"
    does = f"try first, if Docker runs: ends {ends}, and those of pulls under way"
    return Command("docker image prune -f", does, is_drydocks=False)

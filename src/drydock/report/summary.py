"""A scan in words, for the table, the page and Markdown: what is used, what can be freed and how, what is damaged."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from drydock.model.findings import Finding, Severity
from drydock.model.leases import LeaseClass
from drydock.model.names import RawPath
from drydock.model.objects import State
from drydock.model.scans import Scan, Total
from drydock.model.text import shown
from drydock.report.wording import LIVE, about_end, about_root, show_bytes, show_count, target_of

_LISTED = 8
NOTHING: Final = "nothing"
"""The size of free space, where there is none."""


class Advice(NamedTuple):
    """A command to type."""

    words: str
    """As typed; after ``drydock``, unless it is another program's."""
    does: str
    is_drydocks: bool = True


class EndableLeases(NamedTuple):
    """The leases of a root that hold what nothing else holds. Every text is shown."""

    bytes: int
    """What ``clean --end-leases temporary`` frees beyond what can be freed now."""
    temporary: tuple[str, ...]
    """About the leases that this command ends; empty where there are none."""
    other_bytes: int
    """What is held by leases that this command does not end."""
    others: tuple[str, ...]
    """About those leases."""
    commands: tuple[Advice, ...]
    other_commands: tuple[Advice, ...]


class FreeSpace(NamedTuple):
    """Space that can be freed, and how. Every text is shown."""

    size: str
    words: tuple[str, ...]
    commands: tuple[str, ...] = ()


class Summary(NamedTuple):
    """One root in words. Every text is shown."""

    path: str
    about: str
    states: tuple[tuple[State, Total], ...]
    """The states that at least one object has."""
    used: int
    """Bytes of every object and of the databases."""
    databases: int
    """Bytes of the databases."""
    free: FreeSpace
    """What can be freed now."""
    leases: FreeSpace
    """What ending leases frees."""
    damage: tuple[tuple[str, int], ...]
    """Codes of findings of damage, and how many findings have each; the most frequent first."""
    damaged: tuple[str, ...]
    """Messages of the first of these findings."""
    remedies: tuple[str, ...]
    notes: tuple[str, ...]
    """What could not be read, what remains to be finished, what looks free and is kept."""


def summarize(scan: Scan, where: RawPath | None) -> Summary:
    """Say about one root what a person needs first.

    Args:
        scan: the root.
        where: what was scanned, for the commands; None for this host.
    """
    store = scan.verdict.store
    totals = scan.totals()
    damage = [finding for finding in scan.verdict.findings if finding.severity is Severity.DAMAGE]
    return Summary(
        shown(store.root.path),
        about_root(scan) + (f"; {LIVE}" if scan.live else ""),
        tuple((state, total) for state, total in totals.items() if total.count),
        sum(total.bytes for total in totals.values()) + store.database_bytes,
        store.database_bytes,
        _free_now(scan, where),
        _free_by_ending_leases(scan, where),
        tuple(Counter(finding.code for finding in damage).most_common()),
        tuple(_first([finding.message for finding in damage])),
        tuple(dict.fromkeys(finding.remedy for finding in damage[:_LISTED] if finding.remedy)),
        tuple(_notes(scan)),
    )


def endable_leases(scan: Scan) -> EndableLeases:
    """Say what ending the leases of a root frees: first the temporary ones, then those of other classes."""
    by_class = {kind: total for kind, total in scan.leased().items() if not kind.holds_nothing}
    words = {
        kind: f"{kind.value}: {show_count(total.count, 'lease')}, {show_bytes(total.bytes)}{about_end(scan, kind)}"
        for kind, total in by_class.items()
    }
    temporary = by_class.pop(LeaseClass.TEMPORARY, None)
    commands: list[Advice] = []
    if scan.pulls:
        commands.append(Advice("pulls", "shows the interrupted pulls"))
    if temporary is not None:
        pruned = [holding.is_pruned for holding in scan.verdict.leases if holding.kind is LeaseClass.TEMPORARY]
        if any(pruned):
            # If the engine can run, its own command comes first.
            commands.insert(0, docker_prune(pruned))
        commands.append(Advice("clean --end-leases temporary", "shows what ending the temporary leases frees"))
    others: list[Advice] = []
    if LeaseClass.OWNERLESS in by_class:
        does = "shows what is freed if ownerless leases end too"
        others.append(Advice("clean --end-leases ownerless", does))
    if LeaseClass.UNKNOWN in by_class:
        others.append(Advice("ls leases", "lists them; clean --end-lease ID ends one"))
    return EndableLeases(
        0 if temporary is None else temporary.bytes,
        () if temporary is None else (words[LeaseClass.TEMPORARY],),
        sum(total.bytes for total in by_class.values()),
        tuple(words[kind] for kind in by_class),
        tuple(commands),
        tuple(others),
    )


def docker_prune(pruned: Sequence[bool]) -> Advice:
    """Docker's own command, which ends leases that have its label ``moby/prune.images`` (Docker 27.4 and later).

    It also ends the leases of pulls that are under way (moby daemon/containerd/image_prune.go, v27.4.0 to v29.7).

    Args:
        pruned: for each lease in question, whether it has that label.
    """
    ends = show_count(len(pruned), "lease") if all(pruned) else f"{sum(pruned)} of {len(pruned)} leases"
    does = f"try first if Docker runs: ends {ends} and the leases of pulls under way"
    return Advice("docker image prune -f", does, is_drydocks=False)


def _typed(words: str, where: RawPath | None) -> str:
    """A drydock command to type, about what was scanned."""
    return f"drydock {words}{target_of(where)}"


def _free_now(scan: Scan, where: RawPath | None) -> FreeSpace:
    total = scan.reclaimable()
    if scan.plan.is_empty and scan.withheld:
        return FreeSpace(NOTHING, ("Some of it looks free, and is kept for a reason.",))
    if scan.plan.is_empty:
        return FreeSpace(NOTHING, ("Everything that is there is referenced.",))
    # If a newer database exists, it must be put back first.
    commands = (_typed("clean", where), *(() if scan.is_older else (_typed("clean --apply", where),)))
    if not total.count:
        return FreeSpace("nothing on disk", ("Only database records that nothing needs.",), commands)
    what = show_count(total.count, "file or directory")
    words = [f"In {what} that nothing references."]
    if scan.is_estimate:
        words.append("The sizes of unpacked layers are as containerd recorded them.")
    return FreeSpace(show_bytes(total.bytes), tuple(words), commands)


def _free_by_ending_leases(scan: Scan, where: RawPath | None) -> FreeSpace:
    ending = endable_leases(scan)
    return FreeSpace(
        show_bytes(ending.bytes) if ending.temporary else NOTHING,
        (
            *ending.temporary,
            *(f"{each.words}: {each.does}" for each in ending.commands if not each.is_drydocks),
            *(f"not counted above: {words}" for words in ending.others),
        ),
        tuple(
            _typed(each.words, where) if each.is_drydocks else each.words
            for each in (*ending.commands, *ending.other_commands)
        ),
    )


def _notes(scan: Scan) -> list[str]:
    findings = scan.verdict.findings
    blind = [finding.message for finding in findings if finding.severity is Severity.BLIND]
    notes = [f"Could not be read or understood: {message}" for message in _first(blind)]
    unfinished: list[Finding] = [
        finding for finding in findings if finding.severity is Severity.NOTE and finding.remedy
    ]
    notes += [f"{finding.message}. What to do: {finding.remedy}" for finding in unfinished[:_LISTED]]
    if scan.withheld:
        size = show_bytes(sum(each.bytes for each in scan.withheld))
        reasons = Counter(each.reason for each in scan.withheld).most_common(_LISTED)
        because = "; ".join(f"{reason} ({show_count(count, 'object')})" for reason, count in reasons)
        notes.append(f"Looks free and is kept: {size}, because {because}")
    return notes


def _first(messages: list[str]) -> list[str]:
    more = len(messages) - _LISTED
    return [*messages[:_LISTED], f"and {more} more"] if more > 0 else messages

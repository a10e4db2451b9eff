"""A scan in words, for a page and for a ticket: what is used, what can be freed and how, what is damaged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from drydock.model.findings import Finding, Severity
from drydock.model.names import RawPath
from drydock.model.objects import State
from drydock.model.scans import Scan, Total
from drydock.model.text import shown
from drydock.report.ending import list_ending
from drydock.report.wording import LIVE, about_root, show_bytes, show_count, target_of

_LISTED = 8
NOTHING: Final = "nothing"
"""The size of a part of which there is none."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of the summary's parts. Every text is shown."""

    size: str
    words: tuple[str, ...]
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """One root in words. Every text is shown."""

    path: str
    about: str
    states: tuple[tuple[State, Total], ...]
    """Those of which something is there."""
    used: int
    """Bytes of every object and of the databases."""
    databases: int
    free: Part
    leases: Part
    damage: tuple[tuple[str, int], ...]
    """Codes of findings of damage, and how many there are of each; the most first."""
    damaged: tuple[str, ...]
    """The first of them."""
    remedies: tuple[str, ...]
    notes: tuple[str, ...]
    """What could not be read, what is to be finished, what looks free and is kept."""


def summarize(scan: Scan, where: RawPath | None) -> Summary:
    """Say of one root what a person needs first.

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
        _free(scan, where),
        _leases(scan, where),
        tuple(Counter(finding.code for finding in damage).most_common()),
        tuple(_first([finding.message for finding in damage])),
        tuple(dict.fromkeys(finding.remedy for finding in damage[:_LISTED] if finding.remedy)),
        tuple(_notes(scan)),
    )


def command(words: str, where: RawPath | None) -> str:
    """A command to type, about what was scanned."""
    return f"drydock {words}{target_of(where)}"


def _free(scan: Scan, where: RawPath | None) -> Part:
    total = scan.reclaimable()
    if scan.plan.is_empty and scan.withheld:
        return Part(NOTHING, ("Some of it looks free, and is kept for a reason.",))
    if scan.plan.is_empty:
        return Part(NOTHING, ("Something references everything that is there.",))
    # A newer database is put back first, where there is one.
    commands = (command("clean", where), *(() if scan.is_older else (command("clean --apply", where),)))
    if not total.count:
        return Part("nothing on disk", ("Only records in the databases that nothing needs.",), commands)
    what = show_count(total.count, "file or directory")
    words = [f"In {what} that nothing references."]
    if scan.is_estimate:
        words.append("What unpacked layers take is as containerd recorded it.")
    return Part(show_bytes(total.bytes), tuple(words), commands)


def _leases(scan: Scan, where: RawPath | None) -> Part:
    ending = list_ending(scan)
    return Part(
        show_bytes(ending.bytes) if ending.temporary else NOTHING,
        (
            *ending.temporary,
            *(f"{each.words}: {each.does}" for each in ending.commands if not each.is_drydocks),
            *(f"not counted above: {words}" for words in ending.others),
        ),
        tuple(
            command(each.words, where) if each.is_drydocks else each.words
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
        said = "; ".join(f"{reason} ({show_count(count, 'object')})" for reason, count in reasons)
        notes.append(f"Looks free and is kept: {size}, because {said}")
    return notes


def _first(messages: list[str]) -> list[str]:
    more = len(messages) - _LISTED
    return [*messages[:_LISTED], f"and {more} more"] if more > 0 else messages

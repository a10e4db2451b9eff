"""Scans as tables for a terminal or a pipe: states with bars, what can be freed, damage, commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from drydock.model.findings import Severity
from drydock.model.names import RawPath
from drydock.model.policies import SizeSource
from drydock.model.scans import Scan, Total
from drydock.model.text import shown
from drydock.report.place_summary import place_summaries
from drydock.report.summary import Advice, endable_leases
from drydock.report.wording import COLOURS, LIVE, about_root, show_bytes, show_count, target_of

_LISTED = 8


class LinePrinter(Protocol):
    """Prints lines: on a terminal, or as plain text."""

    @property
    def is_terminal(self) -> bool:
        """Whether lines may have styles and may wrap."""

    @property
    def width(self) -> int:
        """Width in columns."""

    @property
    def encoding(self) -> str:
        """Encoding of the text."""

    def print_line(self, text: str, indent: int = 0, style: str = "", *, whole: bool = False) -> None:
        """Print one line; ``whole`` keeps it in one piece."""


_NARROWEST_BAR, _WIDEST_BAR = 10, 60


def print_scans(scans: Sequence[Scan], printer: LinePrinter, where: RawPath | None) -> None:
    """Print every scan, one block per root."""
    for scan in scans:
        _RootTable(scan, printer, where).print()


class _RootTable:
    """The lines about one root."""

    def __init__(self, scan: Scan, printer: LinePrinter, where: RawPath | None) -> None:
        self._scan = scan
        self._printer = printer
        self._line = printer.print_line
        self._target = target_of(where)
        self._summaries = place_summaries(scan)

    def print(self) -> None:
        self._line(shown(self._scan.verdict.store.root.path), style="bold")
        self._line(about_root(self._scan), 2)
        if self._scan.live:
            self._line(LIVE, 2, "yellow")
        self._line("")
        self._places()
        self._free_now()
        self._unreachable()
        self._prunes()
        self._leases()
        self._findings(Severity.DAMAGE, "Damage")
        self._findings(Severity.BLIND, "Could not be read or understood")
        self._findings(Severity.NOTE, "Note")
        self._withheld()
        self._line("")
        self._states()
        self._line("")

    def _states(self) -> None:
        totals = self._scan.totals()
        whole = max(1, sum(total.bytes for total in totals.values()))
        room = max(_NARROWEST_BAR, min(_WIDEST_BAR, self._printer.width - 42))
        block = "█" if self._printer.encoding.lower().startswith("utf") else "#"
        self._line(f"{'state':<13}{'objects':>8}  {'size':>10}", 2, "bold")
        for state, total in totals.items():
            style = COLOURS[state] if total.count else "bright_black"
            bar = block * -(-total.bytes * room // whole)
            self._row(state.value, str(total.count), total.bytes, bar, style)
        self._row("databases", "", self._scan.verdict.store.database_bytes, "", "bright_black")

    def _row(self, name: str, count: str, size: int, bar: str, style: str) -> None:
        self._line(f"{name:<13}{count:>8}  {show_bytes(size):>10}  {bar}".rstrip(), 2, style)

    def _places(self) -> None:
        for place in self._summaries:
            if place.usage.file_system:
                self._line(place.usage.file_system, 2)
            if place.rows:
                self._line(f"{'size':>10}  {'what it is full of':<26}  freed by", 2, "bold")
            for row in place.rows:
                self._line(f"{show_bytes(row.bytes):>10}  {row.name:<26}  {row.freed_by}".rstrip(), 2)
            if place.usage.unmeasured:
                self._line(f"Not measured: {', '.join(place.usage.unmeasured)}.", 2)
                if self._scan.verdict.store.measured is SizeSource.RECORDED:
                    self._command("scan --measure disk", "measures them")
            if place.usage.largest:
                self._line("Largest:", 2)
            for line in place.usage.largest:
                self._line(line, 2)
            self._line("")

    def _prunes(self) -> None:
        commands = [command for place in self._summaries for command in place.prunes]
        if commands:
            self._line("Docker can free, while it runs:", 2)
        for command in commands:
            self._command(command.words, command.does, drydocks=False)
        for place in self._summaries:
            if place.instead is not None:
                self._command(place.instead.words, place.instead.does)
        for line in (line for place in self._summaries for line in place.usage.advice):
            self._line(line, 2)

    def _free_now(self) -> None:
        total = self._scan.reclaimable()
        if self._scan.plan.is_empty:
            self._line("Can be freed now: nothing.", 2)
            return
        if total.count:
            what = show_count(total.count, "file or directory")
            about = "about " if self._scan.is_estimate else ""
            self._line(f"Can be freed now: {about}{show_bytes(total.bytes)} in {what} that nothing references.", 2)
        else:
            self._line("Can be freed now: nothing on disk; only database records that nothing needs.", 2)
        self._command("clean", "shows them")
        if not self._scan.is_older:
            self._command("clean --apply", "removes them")

    def _leases(self) -> None:
        ending = endable_leases(self._scan)
        if ending.temporary:
            self._line(f"Held by temporary leases only: {show_bytes(ending.bytes)}.", 2)
            self._about(ending.temporary, ending.commands)
        if ending.others:
            self._line(f"Held by other leases only: {show_bytes(ending.other_bytes)}.", 2)
            self._about(ending.others, (*(() if ending.temporary else ending.commands), *ending.other_commands))

    def _about(self, words: Sequence[str], commands: Sequence[Advice]) -> None:
        for each in words:
            self._line(each, 6)
        for command in commands:
            self._command(command.words, command.does, drydocks=command.is_drydocks)

    def _unreachable(self) -> None:
        if self._scan.plan.is_empty:
            first, total = "Held by nothing", self._scan.unreachable()
        else:
            first, total = "Of that, held by nothing", self._scan.freed_by_engine()
        if total.count:
            self._line(f"{first}: {_amounts(total, 'object')} that the engine's own GC would free.", 2)

    def _findings(self, severity: Severity, title: str) -> None:
        findings = [finding for finding in self._scan.verdict.findings if finding.severity is severity]
        if severity is Severity.NOTE:
            findings = [finding for finding in findings if finding.remedy]
        if not findings:
            return
        self._line(f"{title}: {len(findings)}", 2, "red" if severity is Severity.DAMAGE else "yellow")
        for finding in findings[:_LISTED]:
            self._line(finding.message, 6)
        self._more(len(findings))
        for remedy in dict.fromkeys(finding.remedy for finding in findings[:_LISTED] if finding.remedy):
            self._line(f"what to do: {remedy}", 6)

    def _withheld(self) -> None:
        withheld = self._scan.withheld
        if not withheld:
            return
        size = sum(each.bytes for each in withheld)
        self._line(f"Looks free and is kept: {show_bytes(size)} in {show_count(len(withheld), 'object')}, because", 2)
        reasons = Counter(each.reason for each in withheld)
        for reason, count in reasons.most_common(_LISTED):
            self._line(f"{reason} ({show_count(count, 'object')})", 6)
        self._more(len(reasons))

    def _more(self, count: int) -> None:
        if count > _LISTED:
            self._line(f"and {count - _LISTED} more; --format json lists all", 6)

    def _command(self, command: str, does: str, *, drydocks: bool = True) -> None:
        typed = f"drydock {command}{self._target}" if drydocks else command
        line = f"{typed}   # {does}"
        if self._printer.is_terminal and 6 + len(line) > self._printer.width:
            # Whoever copies both lines would run the second line of a wrapped remark.
            self._line(f"# {does}", 6)
            line = typed
        self._line(line, 6, "bold", whole=True)


def _amounts(total: Total, what: str) -> str:
    return f"{show_count(total.count, what)}, {show_bytes(total.bytes)}"

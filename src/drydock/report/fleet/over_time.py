"""What changed on each host of a fleet between its first scan and its last: answers like those to other questions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from drydock.model.documents.compare import AmountPart, ComparedKind, CompareDocument, DifferenceKind, DifferencePart
from drydock.model.documents.fleet import ReportedScan
from drydock.model.errors import EvidenceUnreadable
from drydock.model.progress import Progress, counter
from drydock.model.text import printable
from drydock.model.times import parse_time
from drydock.report.comparison import compare_scans
from drydock.report.fleet.database import Answer
from drydock.report.fleet.reports import file_size
from drydock.report.scan_files import read_scan
from drydock.report.wording import show_count

_NO_SECOND_SCAN: Final = "no host has two scans of different times"
_CHANGES: Final = (DifferenceKind.CAME, DifferenceKind.WENT, DifferenceKind.GREW, DifferenceKind.SHRANK)


@dataclass(slots=True)
class Series:
    """The scans of one host that are about the same roots: the first and the last of them."""

    first: ReportedScan
    last: ReportedScan
    paths: set[str]
    """Of all their roots."""
    times: set[str]
    """When each was taken."""

    @property
    def is_one(self) -> bool:
        """Whether all its scans are of one time, so that there is nothing to compare."""
        return len(self.times) < 2

    def add(self, scan: ReportedScan) -> None:
        """Take one more scan in, and forget the one between the first and the last."""
        self.paths.update(root.path for root in scan.roots)
        self.times.add(scan.now or "")
        if _time(scan) < _time(self.first):
            self.first = scan
        elif _time(scan) >= _time(self.last):
            self.last = scan


def read_series(
    paths: Sequence[bytes], refused: Callable[[int, str], None], progress: Progress | None = None
) -> list[Series]:
    """The scans of each host. Two scans of a host belong together if they have a root in common, or one has no root.

    Args:
        paths: files, in JSON or JSON lines.
        refused: called for each file that is not counted, with its number and the reason in one shown line: it is no
            scan, it does not say its time, or it is Parquet, which does not say which lease is of an interrupted pull.
        progress: called with the bytes of the files.
    """
    sizes = [file_size(path) for path in paths]
    step = counter(progress, "bytes of reports read", sum(sizes))
    found: dict[str, list[Series]] = {}
    for number, path in enumerate(paths):
        if step is not None:
            step(sizes[number])
        try:
            scan = _read(path)
        except EvidenceUnreadable as error:
            refused(number, str(error))
            continue
        of_host = found.setdefault(scan.host or "", [])
        roots = {root.path for root in scan.roots}
        fitting = [each for each in of_host if not roots or not each.paths or roots & each.paths]
        if fitting:
            fitting[0].add(scan)
        else:
            of_host.append(Series(scan, scan, roots, {scan.now or ""}))
    return [each for _, of_host in sorted(found.items()) for each in of_host]


def _read(path: bytes) -> ReportedScan:
    if path.endswith(b".parquet"):
        raise EvidenceUnreadable(f"{printable(path.decode(errors='replace'))}: Parquet is not compared over time")
    scan = read_scan(path)
    if parse_time((scan.now or "").encode("utf-8", "replace")) is None:
        raise EvidenceUnreadable(f"{printable(path.decode(errors='replace'))}: it does not say when it was taken")
    return scan


def _time(scan: ReportedScan) -> int:
    return parse_time((scan.now or "").encode("utf-8", "replace")) or 0


def answers_over_time(series: Iterable[Series], top: int) -> list[Answer]:
    """What came, went, grew and shrank, by host, file system, category, image, container and so on.

    Args:
        series: from :func:`read_series`. Those of one scan only are passed over.
        top: rows of each answer at most; the largest changes come first.
    """
    several = [each for each in series if not each.is_one]
    compared = [(each, compare_scans(each.first, each.last)) for each in several]
    documents = [document for _, document in compared]
    answers = [
        _hosts(compared),
        _file_systems(documents),
        _categories(documents),
        _over_hosts("Interrupted pulls that came or went", "image", ComparedKind.PULL, documents),
        _over_hosts("Images that changed", "image", ComparedKind.IMAGE, documents),
        _on_each_host("Containers that changed", "container", ComparedKind.CONTAINER, documents),
        _on_each_host("Volumes, logs, caches and other data that changed", "name", ComparedKind.USAGE, documents),
        _over_hosts("Findings that came or went", "code", ComparedKind.FINDING, documents),
    ]
    notes = itertools.chain([_notes(compared)], itertools.repeat(""))
    return [answer._replace(rows=answer.rows[:top], note=note) for answer, note in zip(answers, notes, strict=False)]


def _notes(compared: Sequence[tuple[Series, CompareDocument]]) -> str:
    """What is to be known of the comparisons, in one line."""
    if not compared:
        return _NO_SECOND_SCAN
    counts = Counter(note for _, document in compared for note in document.notes)
    return "; ".join(
        f"{note} (on {show_count(count, 'host')})" if len(compared) > 1 else note for note, count in counts.items()
    )


def _hosts(compared: Sequence[tuple[Series, CompareDocument]]) -> Answer:
    """Bytes of blobs, ingests and snapshots then and now, and how many things did what."""
    rows = []
    for each, document in compared:
        old, new = (sum(_sizes(document.states, at)) for at in ("old_bytes", "new_bytes"))
        counts = Counter(found.change for found in document.differences)
        rows.append(
            (
                document.new.host,
                len(each.times),
                document.old.now,
                document.new.now,
                old,
                new,
                new - old,
                *(counts[change] for change in _CHANGES),
            )
        )
    columns = ("host", "scans", "first", "last", "old_bytes", "new_bytes", "change_bytes")
    return _ordered("Hosts, from their first scan to their last", (*columns, *(each.value for each in _CHANGES)), rows)


def _file_systems(documents: Iterable[CompareDocument]) -> Answer:
    rows = [
        (document.new.host, each.name, each.old_bytes, each.new_bytes, _change(each))
        for document in documents
        for each in document.used
    ]
    columns = ("host", "path", "old_bytes", "new_bytes", "change_bytes")
    return _ordered("File systems: bytes in use", columns, rows)


def _categories(documents: Iterable[CompareDocument]) -> Answer:
    """Sums over the hosts on which a category was measured both times."""
    sums: dict[str, list[int]] = {}
    for document in documents:
        for each in document.categories:
            if each.old_bytes is not None and each.new_bytes is not None:
                found = sums.setdefault(each.name, [0, 0, 0])
                for place, value in enumerate((each.old_bytes, each.new_bytes, 1)):
                    found[place] += value
    rows = [(name, hosts, old, new, new - old) for name, (old, new, hosts) in sums.items()]
    return _ordered("Categories", ("category", "hosts", "old_bytes", "new_bytes", "change_bytes"), rows)


def _over_hosts(title: str, word: str, kind: ComparedKind, documents: Iterable[CompareDocument]) -> Answer:
    """Things of one name on all hosts: on how many each came, went and so on."""
    hosts: dict[str, Counter[DifferenceKind]] = {}
    sizes: Counter[str] = Counter()
    for _, each in _differences(kind, documents):
        hosts.setdefault(each.name, Counter())[each.change] += 1
        sizes[each.name] += _change(each) or 0
    rows = [(name, *(counts[change] for change in _CHANGES), sizes[name]) for name, counts in hosts.items()]
    return _ordered(title, (word, *(each.value for each in _CHANGES), "change_bytes"), rows)


def _on_each_host(title: str, word: str, kind: ComparedKind, documents: Iterable[CompareDocument]) -> Answer:
    rows = [
        (host, each.name, each.change.value, each.old_bytes, each.new_bytes, _change(each), each.note)
        for host, each in _differences(kind, documents)
    ]
    return _ordered(title, ("host", word, "change", "old_bytes", "new_bytes", "change_bytes", "note"), rows)


def _differences(kind: ComparedKind, documents: Iterable[CompareDocument]) -> Iterator[tuple[str, DifferencePart]]:
    for document in documents:
        yield from ((document.new.host, each) for each in document.differences if each.kind is kind)


def _change(each: AmountPart | DifferencePart) -> int | None:
    """The difference in bytes; None where an amount was not measured."""
    if isinstance(each, AmountPart) and None in (each.old_bytes, each.new_bytes):
        return None
    return (each.new_bytes or 0) - (each.old_bytes or 0)


def _sizes(amounts: Iterable[AmountPart], at: str) -> Iterator[int]:
    return (getattr(each, at) or 0 for each in amounts)


def _ordered(title: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Answer:
    """The largest change first, however it is signed."""
    place = columns.index("change_bytes")
    ordered = sorted(rows, key=lambda row: (-abs(row[place] or 0), *(str(cell) for cell in row)))
    return Answer(title, columns, tuple(ordered))

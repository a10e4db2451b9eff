"""Scans as values, for tests of reports: one of everything, with names that would harm a terminal."""

from __future__ import annotations

from tests.support.values import FINGERPRINT, NOW, blob, digest, image, lease, snapshot, store

from drydock.model.data import Junk
from drydock.model.disk_usage import FileSystem, PlaceUsage, UsageCategory, UsageEntry
from drydock.model.findings import Finding, FindingCode, Place, Severity
from drydock.model.names import RawPath
from drydock.model.oci import Documents
from drydock.model.policies import Policy
from drydock.model.scans import Scan
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.reclaim.plan import make_plan
from drydock.verdict.inventory import take_inventory
from drydock.verdict.judge import judge
from drydock.verdict.pulls import find_pulls

HOSTILE = b"\x1b[31mred\x1b]0;t\x07\n\xe2\x80\xae\xff<b>[bold]"
"""Escape sequences, a line break, a right-to-left override, no UTF-8, HTML and rich's own markup."""
PULL = {b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z"}
ENDED = {b"containerd.io/gc.expire": b"2020-01-01T00:00:00Z"}


def scan_of_everything(name: bytes = HOSTILE, *, complete: bool = True, inventory: bool = False) -> Scan:
    """Objects of most states, leases of several classes, findings of every severity, each called ``name``."""
    read = store(
        image(digest(1), name=b"docker.io/" + name),
        blob(digest(1), {b"containerd.io/gc.ref.content.l.0": digest(2)}),
        blob(digest(2)),
        blob(digest(3), {b"containerd.io/distribution.source.example.org": b"app"}),
        blob(digest(4)),
        blob(digest(6), size=9),
        snapshot(name),
        lease(name, PULL, blobs=[digest(3)], created=NOW - 10**9),
        lease(b"old" + name, ENDED, blobs=[digest(4)]),
        lease(b"other" + name, blobs=[digest(3)]),
        files=[digest(number) for number in (1, 3, 4, 5, 6)],
        complete=complete,
    )
    junk = RawPath(b"io.containerd.content.v1.content/blobs/sha256/" + name.replace(b"/", b"_"))
    read.content.junk.append(Junk(junk, 4096, FINGERPRINT))
    codes = {
        Severity.NOTE: FindingCode.FOREIGN_NAME,
        Severity.BLIND: FindingCode.UNREADABLE,
        Severity.DAMAGE: FindingCode.UNDECODABLE,
    }
    for severity, code in codes.items():
        place = Place(RawPath(b"/store/" + name), 3, 4096, (b"v1", name))
        read.findings.append(Finding(code, severity, f"{shown(name)}: said", place, remedy="do this"))
    found = judged(read, inventory=inventory)
    found.places.append(_place(name))
    return found


def _place(name: bytes) -> PlaceUsage:
    """A data root with an entry of each category, of a few MiB, called ``name``; and one that was not measured."""
    data = RawPath(b"/data/" + name)
    entries = [
        UsageEntry(category, name, RawPath(data + b"/" + name), (number + 1) << 20, shown(name))
        for number, category in enumerate(UsageCategory)
    ]
    entries = [
        entry._replace(used_by=(name,)) if entry.category is UsageCategory.NAMED_VOLUMES else entry for entry in entries
    ]
    entries.append(UsageEntry(UsageCategory.UNKNOWN, b"other" + name, RawPath(data + b"/other" + name), None, "said"))
    return PlaceUsage(data, tuple(entries), FileSystem(7, data, 1 << 40, 1 << 39, 1 << 38, 1 << 20, 1 << 19))


def judged(read: Store, *, inventory: bool = False) -> Scan:
    """The scan of a store."""
    verdict, reached = judge(read, NOW)
    plan = make_plan(verdict, reached, Policy(), ())
    pulls = find_pulls(verdict, reached, Documents())
    return Scan(verdict, plan, take_inventory(verdict, reached) if inventory else None, pulls)

"""Interrupted pulls as text and as the document ``drydock.pulls/1``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from drydock.model.documents.pulls import (
    DownloadsPart,
    PullLayerPart,
    PullLeasePart,
    PullPart,
    PullsDocument,
    PullsRoot,
)
from drydock.model.leases import Holding, LeaseClass
from drydock.model.names import Digest, RawPath, UnixNano
from drydock.model.pulls import Downloads, LayerState, Pull, PulledLayer, PulledPart, Pulls
from drydock.model.text import quoted_name, shown
from drydock.model.times import age, show_known, show_span, show_time
from drydock.report.summary import docker_prune
from drydock.report.wording import show_bytes, show_count, target_of
from drydock.version import __version__

_LISTED = 40
_FULL_DIGEST = 71
_SHORT_DIGEST = 19
_BESIDE_DIGEST = 60
_OTHERS = {
    PulledPart.INDEX: ("index", "indexes"),
    PulledPart.MANIFEST: ("manifest", "manifests"),
    PulledPart.ATTESTATION: ("attestation", "attestations"),
    PulledPart.CONFIG: ("config", "configs"),
    PulledPart.UNKNOWN: ("blob of unknown kind", "blobs of unknown kind"),
    PulledPart.DAMAGED: ("of these damaged", "of these damaged"),
    PulledPart.UNFINISHED: ("unfinished document", "unfinished documents"),
    PulledPart.EXTRACTING: ("unfinished extraction", "unfinished extractions"),
}


def pulls_lines(roots: Sequence[Pulls], now: UnixNano, where: RawPath | None, width: int) -> Iterator[str]:
    """The pulls of every root as text: tables at most ``width`` columns wide; commands and names are never cut."""
    target = target_of(where)
    for number, root in enumerate(roots):
        if number:
            yield ""
        count = show_count(len(root.pulls), "interrupted pull") if root.pulls else "no interrupted pulls"
        yield f"{shown(root.root)}: {count}"
        for pull in root.pulls:
            yield ""
            yield from _pull(pull, now, target, width)
        if root.pulls:
            yield ""
            yield from _choices(root.pulls, target)


def pulls_document(roots: Iterable[Pulls], now: UnixNano) -> PullsDocument:
    """One document about every root."""
    return PullsDocument(
        drydock=__version__,
        now=show_time(now),
        roots=[
            PullsRoot(shown(root.root), root.unread or "", [_pull_part(pull) for pull in root.pulls]) for root in roots
        ],
    )


def _pull(pull: Pull, now: UnixNano, target: str, width: int) -> Iterator[str]:
    title = ", ".join(shown(source) for source in pull.sources) or "origin unknown"
    platforms = ", ".join(shown(platform) for platform in pull.platforms)
    yield f"  {title}{'  ' + platforms if platforms else ''}  (namespace {shown(pull.namespace)})"
    for image in pull.images:
        yield f"    image {shown(image)}"
    for digest in pull.targets:
        yield f"    of {_digest(digest, _FULL_DIGEST)}"
    for lease in pull.leases:
        yield f"    lease {shown(lease.ref.key)}: {lease.kind.value}{_times(lease, now)}"
    if pull.downloads is not None:
        yield from _downloads(pull.downloads)
    begin = "it has ended; removing it frees about" if pull.has_ended else "ending it frees about"
    yield f"    {begin} {show_bytes(pull.bytes)} of the {show_bytes(pull.held)} that it holds"
    since = age(pull.updated, now)
    if since is not None:
        yield f"    last bytes received {show_span(since)} ago"
    yield from _layers(pull.layers, width)
    counts = dict(pull.others)
    others = [f"{counts[part]} {_OTHERS[part][counts[part] != 1]}" for part in _OTHERS if part in counts]
    if others:
        yield f"    it also holds: {', '.join(others)}"
    if pull.is_damaged:
        yield "    containerd does not download damaged data again while it has a record of it:"
        yield "    end this pull, then pull again"
    for finding in pull.findings:
        yield f"    {finding.message}"
    yield from _commands(pull, target)


def _downloads(downloads: Downloads) -> Iterator[str]:
    yield "    into Docker's classic image store: its layers are not in containerd, and"
    yield "    it cannot be resumed. When dockerd next starts, it deletes the downloads:"
    yield f"      {show_count(downloads.files, 'file')} of all such pulls, {show_bytes(downloads.bytes)}"
    for place in downloads.folders:
        yield f"      in {shown(place)}"


def _layers(layers: Sequence[PulledLayer], width: int) -> Iterator[str]:
    if not layers:
        yield "    no layer is known"
        return
    counts = [(state, sum(layer.state is state for layer in layers)) for state in LayerState]
    said = ", ".join(f"{count} {state.value}" for state, count in counts if count)
    unpacked = sum(layer.unpacked for layer in layers)
    yield f"    {show_count(len(layers), 'layer')}: {said}; {unpacked} unpacked"
    room = _FULL_DIGEST if width >= _FULL_DIGEST + _BESIDE_DIGEST else _SHORT_DIGEST
    yield f"    {'':>3}  {'layer':<{room}}  {'size':>10}  {'got':>16}  {'blob':<8}  unpacked"
    for number, layer in enumerate(layers[:_LISTED], 1):
        size = "?" if layer.size is None else show_bytes(layer.size)
        row = f"{number:>3}  {_digest(layer.digest, room):<{room}}  {size:>10}  {_got(layer):>16}"
        yield f"    {row}  {layer.state.value:<8}  {'yes' if layer.unpacked else 'no'}"
    if len(layers) > _LISTED:
        yield f"    and {len(layers) - _LISTED} more; --format json lists all"


def _commands(pull: Pull, target: str) -> Iterator[str]:
    ids = [quoted_name(lease.ref.key) for lease in pull.leases]
    if pull.has_ended:
        yield "    the engine's next GC drops it; to free it now:"
        yield f"      drydock clean --apply{target}"
        return
    yield "    to end it:"
    yield f"      drydock clean {' '.join(f'--end-lease {each}' for each in ids)} --apply{target}"
    can_resume = not pull.is_damaged and pull.downloads is None
    if not can_resume or LeaseClass.TEMPORARY not in {lease.kind for lease in pull.leases}:
        return
    yield "    to keep it, so that it can be resumed, and end all other temporary leases:"
    yield f"      drydock clean --end-leases temporary {' '.join(f'--keep {each}' for each in ids)} --apply{target}"


def _choices(pulls: Sequence[Pull], target: str) -> Iterator[str]:
    leases = {lease.ref: lease for pull in pulls for lease in pull.leases}.values()
    kinds = {lease.kind for lease in leases}
    pruned = [lease.is_pruned for lease in leases if lease.kind is not LeaseClass.EXPIRED]
    if any(pruned):
        command = docker_prune(pruned)
        yield f"  {command.does}:"
        yield f"    {command.words}"
    if LeaseClass.TEMPORARY in kinds:
        yield "  to end all temporary leases, those of builds and other operations too:"
        yield f"    drydock clean --end-leases temporary --apply{target}"
        yield "  to end only those that began at least an hour ago:"
        yield f"    drydock clean --end-leases temporary --older-than 1h --apply{target}"
    if kinds - {LeaseClass.TEMPORARY, LeaseClass.EXPIRED}:
        yield "  to end a lease of another class, name it with --end-lease."
    yield "  Each of these commands also removes what nothing references. It shows what it"
    yield "  would remove, and asks. Without --apply it only shows it."


def _times(lease: Holding, now: UnixNano) -> str:
    known = age(lease.created, now)
    old = "" if known is None else f", {show_span(known)} old"
    if lease.expires is None:
        return f"{old}, does not end by itself"
    left = lease.expires - now
    if left < 0 and lease.kind is not LeaseClass.EXPIRED:
        return f"{old}, the end cannot be judged"
    return f"{old}, {'ends in' if left >= 0 else 'ended'} {show_span(left)}{'' if left >= 0 else ' ago'}"


def _got(layer: PulledLayer) -> str:
    if layer.state is LayerState.CLASSIC:
        return "-"
    if layer.state is LayerState.PARTIAL and layer.size:
        return f"{show_bytes(layer.got)}  {min(100, layer.got * 100 // layer.size):>3} %"
    return show_bytes(layer.got)


def _digest(digest: Digest, room: int) -> str:
    text = shown(digest)
    return text if len(text) <= room or room == _FULL_DIGEST else text[:room]


def _pull_part(pull: Pull) -> PullPart:
    return PullPart(
        namespace=shown(pull.namespace),
        sources=[shown(source) for source in pull.sources],
        images=[shown(image) for image in pull.images],
        targets=[shown(digest) for digest in pull.targets],
        platforms=[shown(platform) for platform in pull.platforms],
        leases=[
            PullLeasePart(
                id=shown(lease.ref.key),
                class_=lease.kind,
                reason=lease.reason,
                created=show_known(lease.created),
                expires=show_known(lease.expires),
                only_bytes=lease.only,
            )
            for lease in pull.leases
        ],
        created=show_known(pull.created),
        expires=show_known(pull.expires),
        updated=show_known(pull.updated),
        bytes=pull.bytes,
        held_bytes=pull.held,
        layers=[
            PullLayerPart(
                digest=shown(layer.digest),
                size=layer.size,
                got=layer.got,
                state=layer.state,
                unpacked=layer.unpacked,
            )
            for layer in pull.layers
        ],
        others={part.value: count for part, count in pull.others},
        downloads=None
        if pull.downloads is None
        else DownloadsPart(
            [shown(place) for place in pull.downloads.folders], pull.downloads.files, pull.downloads.bytes
        ),
        findings=[finding.message for finding in pull.findings],
    )

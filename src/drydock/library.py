"""The commands as functions for other programs: here alone a caller's argument becomes a value of this package."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeAlias

from drydock.commands import apply as applying
from drydock.commands import explain as explaining
from drydock.commands import export as exporting
from drydock.commands import listing
from drydock.commands import plan as planning
from drydock.commands import pulls as pulling
from drydock.commands import repair as repairing
from drydock.commands import runs as listing_runs
from drydock.commands import scan as scanning
from drydock.commands import undo as undoing
from drydock.commands import verify as verifying
from drydock.model.access import Access
from drydock.model.arguments import Moment, Name, Span, choice, nanoseconds, raw_name, raw_names, unix_nano
from drydock.model.errors import Usage
from drydock.model.explanations import Explanation
from drydock.model.exports import Change, Exported
from drydock.model.listings import Listing, ListKind
from drydock.model.names import RawPath, UnixNano
from drydock.model.policies import BlobCheck, Policy, SizeSource, VerifyOptions
from drydock.model.progress import Progress
from drydock.model.pulls import Pulls
from drydock.model.repairs import Repair
from drydock.model.runs import PastRuns, Run
from drydock.model.scans import Scan
from drydock.model.store_modes import StoreMode
from drydock.model.verifications import Verification
from drydock.reclaim.plan_file import Request

AnyPath: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""A path, relative to the working directory where it is not absolute."""


def scan(
    where: AnyPath | None = None,
    *,
    now: Moment | None = None,
    measure: SizeSource | str = SizeSource.RECORDED,
    verification: BlobCheck | str = BlobCheck.SIZE,
    state: AnyPath | None = None,
    inventory: bool = False,
    live: bool = False,
    progress: Progress | None = None,
) -> list[Scan]:
    """Judge every object of the stores in a place. Changes nothing.

    Args:
        where: a containerd root, a Docker data root, or the root of a mounted host; None for this host.
        now: what ages and expiries are compared with; None for the clock.
        measure: sizes of committed snapshots: as containerd recorded them (``recorded``), or of every directory
            (``disk``), which also measures what else is in a Docker data root (``Scan.places``).
        verification: how blobs are compared with their records: ``none``, ``size`` or ``digest``.
        state: where to look for interrupted runs, besides the default places.
        inventory: list also who holds what by name, and the interrupted pulls (``Scan.inventory``).
        live: look beside a running engine: take no lock, read copies of the databases, and leave out what comes or
            goes meanwhile. Nothing may be removed on the strength of such a scan.
        progress: called while data is read.

    Returns:
        One scan for each containerd root found, and for each Docker data root that none of them belongs to; none on a
        host without either.

    Raises:
        EvidenceUnreadable: ``where`` is not a store, or, live, a database could not be copied.
        Refused: an engine uses the store, or the clock is wrong.
        Usage: an argument is of a wrong type, or none of the words it can be.
    """
    access = Access(
        live=live,
        now=_now(now),
        measure=choice(SizeSource, measure),
        verification=choice(BlobCheck, verification),
        state=_path(state),
        progress=progress,
    )
    return scanning.scan(_where(where), access, inventory=inventory)


def explain(
    subject: Name,
    where: AnyPath | None = None,
    *,
    now: Moment | None = None,
    live: bool = False,
    progress: Progress | None = None,
) -> list[Explanation]:
    """Trace the way from a root to an object, or tell why nothing holds the object. Changes nothing.

    Args:
        subject: a digest or its beginning, a path, a snapshot key, an image, a container or a lease.
        where: as for :func:`scan`.
        now: as for :func:`scan`.
        live: as for :func:`scan`.
        progress: as for :func:`scan`.

    Raises:
        EvidenceUnreadable: ``where`` is not a store, or nothing that could be read of it has that name.
        Refused: as for :func:`scan`.
        Usage: the beginning of a name fits more than one, or an argument is of a wrong type.
    """
    access = Access(live=live, now=_now(now), progress=progress)
    return explaining.explain(raw_name(subject), _where(where), access)


def pulls(
    where: AnyPath | None = None, *, now: Moment | None = None, live: bool = False, progress: Progress | None = None
) -> list[Pulls]:
    """List the interrupted pulls of each containerd root found. Changes nothing.

    Arguments and errors are those of :func:`scan`.
    """
    return pulling.pulls(_where(where), Access(live=live, now=_now(now), progress=progress))


def _mode(store: StoreMode | str | None) -> StoreMode | None:
    return None if store is None else choice(StoreMode, store)


def ls(
    kind: ListKind | str,
    where: AnyPath | None = None,
    *,
    store: StoreMode | str | None = None,
    now: Moment | None = None,
    live: bool = False,
    progress: Progress | None = None,
) -> list[Listing]:
    """List what each store has of one kind, as ``ctr`` and ``docker`` do, with states and holders. Changes nothing.

    ``kind`` is ``images``, ``containers``, ``snapshots``, ``leases``, ``content`` or ``ingests``. ``store``:
    only the images or containers of this one of Docker's stores, ``classic`` or ``image-store``. The other arguments,
    and errors, are those of :func:`scan`.
    """
    access = Access(live=live, now=_now(now), progress=progress)
    return listing.ls(choice(ListKind, kind), _where(where), access, store=_mode(store))


def plan(
    where: AnyPath | None = None,
    *,
    policy: Policy | None = None,
    now: Moment | None = None,
    state: AnyPath | None = None,
    progress: Progress | None = None,
) -> list[Scan]:
    """Decide what would be removed under a policy. Changes nothing.

    Args:
        where: as for :func:`scan`.
        policy: which leases end, and what is kept; None: expired ones end, and nothing is kept besides.
        now: as for :func:`scan`.
        state: as for :func:`scan`.
        progress: as for :func:`scan`.

    Returns:
        One scan for each containerd root, with its plan.

    Raises:
        EvidenceUnreadable: as for :func:`scan`.
        Refused: as for :func:`scan`; or the policy names a lease whose owner exists.
        Usage: a name of the policy fits nothing, or several things; or an argument is of a wrong type.
    """
    access = Access(now=_now(now), policy=policy or Policy(), state=_path(state), progress=progress)
    return planning.plan(_where(where), access)


def request(scan: Scan) -> Request:
    """What asks :func:`apply` for the plan of a scan, as a plan file would.

    Raises:
        Usage: the scan is a live one.
    """
    return planning.request(scan)


def write_plans(scans: Iterable[Scan], path: AnyPath) -> None:
    """Write the plans of scans from :func:`plan` to a file, for :func:`read_plans` and ``drydock apply``.

    Raises:
        ActionFailed: the file cannot be written.
        Usage: a scan is a live one, or the path is of a wrong type.
    """
    planning.write_plans(scans, _bytes(path))


def read_plans(path: AnyPath) -> list[Request]:
    """What a plan file of :func:`write_plans` or ``drydock plan`` asks :func:`apply` for.

    Raises:
        EvidenceUnreadable: the file cannot be read, or is not a plan.
        Usage: the path is of a wrong type.
    """
    return planning.read_plans(_bytes(path))


def apply(
    requests: Iterable[Request],
    *,
    state: AnyPath | None = None,
    quarantine: AnyPath | None = None,
    progress: Progress | None = None,
) -> list[Run]:
    """Carry out plans. Each root's plan is made again, and carried out only if it does the same.

    Args:
        requests: from :func:`request` or :func:`read_plans`.
        state: where the journal and the backups go; None for the default.
        quarantine: a folder to move things to instead of deleting them.
        progress: called while data is read and removed.

    Returns:
        One run for each plan that is not empty. What goes wrong before anything was changed is raised for the first
        root, and a warning of its run for the others.

    Raises:
        Refused: an engine, a shim or a mount uses a root, a lock is held, the clock is wrong, or a plan is stale: the
            store is not as it was, or the file was changed.
        EvidenceUnreadable: a root is not there any more.
        ActionFailed: the journal or the backups could not be written; nothing was changed in that root.
        Usage: an argument is of a wrong type.
    """
    access = Access(exclusive=True, state=_path(state), quarantine=_path(quarantine), progress=progress)
    return applying.apply(list(requests), access)


def clean(
    where: AnyPath | None = None,
    *,
    agree: Callable[[list[Scan]], bool],
    policy: Policy | None = None,
    now: Moment | None = None,
    state: AnyPath | None = None,
    quarantine: AnyPath | None = None,
    progress: Progress | None = None,
) -> list[Run]:
    """Plan and apply in one step, holding every lock from the first look to the last cut.

    Args:
        where: as for :func:`scan`.
        agree: shown the scans with their plans; nothing is changed unless it returns true.
        policy: as for :func:`plan`.
        now: as for :func:`scan`.
        state: as for :func:`apply`.
        quarantine: as for :func:`apply`.
        progress: as for :func:`apply`.

    Returns:
        As for :func:`apply`; nothing without agreement.

    Raises:
        EvidenceUnreadable: as for :func:`scan`.
        Refused: as for :func:`apply` and :func:`plan`.
        ActionFailed: as for :func:`apply`.
        Usage: as for :func:`plan`.
    """
    access = Access(
        exclusive=True,
        now=_now(now),
        policy=policy or Policy(),
        state=_path(state),
        quarantine=_path(quarantine),
        progress=progress,
    )
    return applying.clean(_where(where), access, agree=agree)


def runs(*, state: AnyPath | None = None) -> PastRuns:
    """List past runs by their journals: what each did, and whether undo can put it back. Changes nothing.

    Args:
        state: where to look for journals, besides the default places.

    Raises:
        Usage: an argument is of a wrong type.
    """
    return listing_runs.runs(_path(state))


def undo(journal: AnyPath, *, progress: Progress | None = None) -> Run:
    """Put back what a journal says was moved, and each edited database as it was before.

    Args:
        journal: path of the journal.
        progress: called while data is read and moved back.

    Raises:
        EvidenceUnreadable: the journal is damaged or cannot be read, or its root is not there.
        Refused: as for :func:`apply`.
        Usage: an argument is of a wrong type.
    """
    return undoing.undo(RawPath(os.path.abspath(_bytes(journal))), Access(exclusive=True, progress=progress))


def verify(
    where: AnyPath | None = None,
    *,
    data: bool = False,
    unpacked: bool = False,
    content: bool = False,
    max_duration: Span | None = None,
    now: Moment | None = None,
    state: AnyPath | None = None,
    second_reading: bool = True,
    progress: Progress | None = None,
) -> list[Verification]:
    """Check which data is intact. Changes nothing in a store.

    Args:
        where: as for :func:`scan`.
        data: hash every blob.
        unpacked: compare every unpacked layer with its blob: types, modes, owners, sizes, links, attributes.
        content: compare the bytes of unpacked files too.
        max_duration: stop reading bytes after this long; the next run goes on from there.
        now: as for :func:`scan`.
        state: where progress and damage found are saved; None for the default.
        second_reading: read each database with the second reader too, and compare.
        progress: called while data is read.

    Returns:
        One verification for each containerd root.

    Raises:
        EvidenceUnreadable: as for :func:`scan`.
        Refused: an engine or another verification uses the store, or the clock is wrong.
        Usage: an argument is of a wrong type.
    """
    access = Access(now=_now(now), state=_path(state), progress=progress)
    wanted = _wanted(data, unpacked, content, max_duration)
    return verifying.verify(_where(where), access, wanted=wanted, second_reading=second_reading)


def repair(
    where: AnyPath | None = None,
    *,
    agree: Callable[[list[Repair]], bool],
    accept: Iterable[Name] = (),
    data: bool = False,
    unpacked: bool = False,
    content: bool = False,
    max_duration: Span | None = None,
    adopt: bool = False,
    drop_unproved: bool = False,
    restore_files: bool = False,
    apply: bool = False,
    now: Moment | None = None,
    state: AnyPath | None = None,
    quarantine: AnyPath | None = None,
    progress: Progress | None = None,
) -> list[Run]:
    """Plan what repairs a store, and do it if agreed, under the locks, guards, backups and journal of :func:`clean`.

    Args:
        where: as for :func:`scan`.
        agree: shown the repairs; nothing is changed unless it returns true.
        accept: names of images, containers and snapshots that may be lost.
        data: as for :func:`verify`. What an earlier verification with this state, or the default, found wrong is read
            again in any case.
        unpacked: as for :func:`verify`.
        content: as for :func:`verify`.
        max_duration: as for :func:`verify`.
        adopt: give blobs that an image needs, and containers that dockerd has, the records back that they lost.
        drop_unproved: drop a damaged layer together with what it was unpacked to, where nothing proves that.
        restore_files: unpack damaged snapshots again from their whole layers.
        apply: whether anything may be changed; else ``agree`` is only shown the repairs.
        now: as for :func:`scan`.
        state: as for :func:`apply` and :func:`verify`.
        quarantine: as for :func:`apply`.
        progress: as for :func:`apply`.

    Returns:
        One run for each root in which something was done.

    Raises:
        EvidenceUnreadable: as for :func:`scan`.
        Refused: as for :func:`verify`; with ``apply`` as for :func:`apply`.
        ActionFailed: as for :func:`apply`.
        Usage: ``accept`` names something that would not be lost, or an argument is of a wrong type.
    """
    access = Access(exclusive=apply, now=_now(now), state=_path(state), quarantine=_path(quarantine), progress=progress)
    return repairing.repair(
        _where(where),
        access,
        agree=agree,
        accept=raw_names(accept),
        wanted=_wanted(data, unpacked, content, max_duration),
        adopt=adopt,
        drop_unproved=drop_unproved,
        restore_files=restore_files,
    )


def export_image(
    name: Name,
    where: AnyPath | None = None,
    *,
    output: AnyPath | None,
    platform: Name | None = None,
    namespace: Name | None = None,
    store: StoreMode | str | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write an image as an archive that ``docker load``, ``ctr images import`` and skopeo read.

    Args:
        name: a name, a digest, or the beginning of one that means one image only.
        where: as for :func:`scan`.
        output: a new file; None for stdout.
        platform: ``os/architecture[/variant]``; None for all that are there whole.
        namespace: look in this containerd namespace only.
        store: look in this one of Docker's stores only, ``classic`` or ``image-store``; None: first in the image store.
        progress: called while data is read and written.

    Raises:
        EvidenceUnreadable: as for :func:`scan`; nothing has that name, or a blob is missing or wrong: it is named.
        Refused: an engine uses the store.
        ActionFailed: the file is there already, or cannot be written. Of a failed export no file is left.
        Usage: the name means several things, or the id of an image; the image is not for that platform; or an argument
            is of a wrong type.
    """
    return exporting.export_image(
        raw_name(name),
        _where(where),
        Access(timed=False, progress=progress),
        output=_path(output),
        platform=_name(platform),
        namespace=_name(namespace),
        only=_mode(store),
    )


def export_container(
    name: Name,
    where: AnyPath | None = None,
    *,
    output: AnyPath | None,
    namespace: Name | None = None,
    mount: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write a container's files as a tar archive, as a mount of its layers would show them.

    Args:
        name: a container's name, its id or the beginning of it; or the key of any snapshot.
        where: as for :func:`scan`.
        output: as for :func:`export_image`.
        namespace: as for :func:`export_image`.
        mount: have the kernel mount layers that are images (erofs), read-only and where no other process sees them.
        progress: as for :func:`export_image`.

    Raises:
        EvidenceUnreadable: as for :func:`export_image`; or a layer is missing, or its snapshotter is not understood.
        Refused: as for :func:`export_image`.
        ActionFailed: as for :func:`export_image`.
        Usage: the name means several containers, or an argument is of a wrong type.
    """
    return exporting.export_container(
        raw_name(name),
        _where(where),
        Access(timed=False, progress=progress),
        output=_path(output),
        namespace=_name(namespace),
        mount=mount,
    )


def export_volume(
    name: Name, where: AnyPath | None = None, *, output: AnyPath | None, progress: Progress | None = None
) -> Exported:
    """Write what is in a volume of Docker as a tar archive.

    Args:
        name: the volume's name; of an anonymous one the beginning is enough.
        where: as for :func:`scan`.
        output: as for :func:`export_image`.
        progress: as for :func:`export_image`.

    Raises:
        EvidenceUnreadable: as for :func:`export_image`; or the data of the volume is elsewhere, and would be mounted.
        Refused: as for :func:`export_image`.
        ActionFailed: as for :func:`export_image`.
        Usage: several data roots have such a volume, or an argument is of a wrong type.
    """
    access = Access(timed=False, progress=progress)
    return exporting.export_volume(raw_name(name), _where(where), access, output=_path(output))


def diff_container(
    name: Name,
    where: AnyPath | None = None,
    *,
    namespace: Name | None = None,
    mount: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Change], list[str]]:
    """List what a container changed against its image, as ``docker diff`` does. Changes nothing.

    Args:
        name: as for :func:`export_container`.
        where: as for :func:`scan`.
        namespace: as for :func:`export_image`.
        mount: as for :func:`export_container`.
        progress: called while files are compared.

    Returns:
        The changes, and what could not be compared, one line each.

    Raises:
        EvidenceUnreadable: as for :func:`export_container`.
        Refused: as for :func:`export_image`.
        Usage: as for :func:`export_container`.
    """
    access = Access(timed=False, progress=progress)
    return exporting.diff_container(raw_name(name), _where(where), access, namespace=_name(namespace), mount=mount)


def _bytes(path: AnyPath) -> RawPath:
    try:
        return RawPath(os.fsencode(path))
    except TypeError:
        raise Usage(f"a path is text, bytes or os.PathLike, and {path!r} is none of these") from None


def _where(path: AnyPath | None) -> RawPath | None:
    return None if path is None else _bytes(path)


def _path(path: AnyPath | None) -> RawPath | None:
    return None if path is None else RawPath(os.path.abspath(_bytes(path)))


def _name(name: Name | None) -> bytes | None:
    return None if name is None else raw_name(name)


def _now(moment: Moment | None) -> UnixNano | None:
    return None if moment is None else unix_nano(moment)


def _wanted(data: bool, unpacked: bool, content: bool, max_duration: Span | None) -> VerifyOptions:
    seconds = None if max_duration is None else nanoseconds(max_duration) / 1e9
    return VerifyOptions(data, unpacked or content, content, seconds)

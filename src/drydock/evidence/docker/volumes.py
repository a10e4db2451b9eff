"""Docker's volumes: the folders in a data root, the rows of their database, and the containers that mount each.

Sources: moby volume/service/db.go (bucket ``volumes`` of ``metadata.db``), volume/service/service.go
(``AnonymousLabel``, v23 and later), volume/local/local.go (every folder is a volume; ``opts.json``),
volume/local/local_linux.go (``CreatedAt``), v28.5.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from bbolt_reader import BoltError, Database
from drydock.evidence.files.database_copy import copy_database
from drydock.evidence.files.directory import folder, names
from drydock.evidence.files.openat2 import open_directory
from drydock.evidence.files.regular import read_regular
from drydock.model import messages
from drydock.model.errors import EvidenceUnreadable
from drydock.model.findings import Finding, Place
from drydock.model.names import RawPath, UnixNano, is_container_id
from drydock.model.roots import DockerContainer, Owners
from drydock.model.text import shown
from drydock.model.volumes import Volume, Volumes, VolumeUser

_DATABASE: Final = b"metadata.db"
_BUCKET: Final = b"volumes"
_OPTIONS: Final = b"opts.json"
_MOUNTED: Final = ("MountType", "MountDevice")
_TEXTS: Final = (*_MOUNTED, "MountOpts")
_LOCAL: Final = b"local"
_ANONYMOUS: Final = "com.docker.volume.anonymous"
_LARGEST: Final = 1 << 20
_APART: Final = (b"bind", b"tmpfs", b"image")
"""Types of mounts that are no volume."""


class _Row(NamedTuple):
    driver: bytes | None
    is_labelled: bool


def read_volumes(data: RawPath, owners: Owners) -> Volumes:
    """The volumes in a data root; no volume's data is entered.

    Args:
        data: the data root.
        owners: has its containers, and perhaps those of other data roots, which mount volumes of these.
    """
    unread: list[str] = []
    rows = _read_rows(data, unread)
    users = _users(data, owners, unread)
    found: list[Volume] = []
    try:
        with folder(data, b"volumes") as descriptor:
            for name in names(descriptor):
                try:
                    opened = open_directory(descriptor, name, readable=True)
                except OSError:
                    continue  # the database, the node of a quota, a link: no volume of the local driver
                try:
                    found.append(_local(data, name, opened, rows, users))
                finally:
                    os.close(opened)
    except FileNotFoundError:
        pass
    except OSError as error:
        unread.append(f"{shown(data)}/volumes: {error.strerror}")
    seen = {each.name for each in found}
    found += [
        Volume(
            data,
            name,
            row.driver,
            row.is_labelled,
            _of(users, name),
            has_folder=False,
            note="its folder is missing" if row.driver == _LOCAL else "",
        )
        for name, row in (rows or {}).items()
        if name not in seen
    ]
    return Volumes(tuple(sorted(found, key=lambda each: each.name)), tuple(unread))


def note_volume_options(data: RawPath) -> Iterator[Finding]:
    """A finding for each volume whose options dockerd cannot decode: then it does not start (local.go loadOpts)."""
    with suppress(OSError), folder(data, b"volumes") as descriptor:
        for name in names(descriptor):
            with suppress(OSError):
                opened = open_directory(descriptor, name, readable=True)
                try:
                    _read_options(opened)
                except ValueError:
                    path = RawPath(b"/".join((data, b"volumes", name, _OPTIONS)))
                    yield messages.VOLUME_OPTIONS(volume=name, path=path).at(Place(path), name)
                finally:
                    os.close(opened)


def refuse_elsewhere(volume: Volume) -> None:
    """Refuse a volume whose data is not in its folder: it would be empty there, or another host's.

    Raises:
        EvidenceUnreadable: the data is elsewhere, or the folder cannot be entered.
    """
    what = f"volume {shown(volume.name)}"
    if volume.device:
        raise EvidenceUnreadable(f"{what}: its data is mounted from {volume.device}: copy it there")
    if not volume.has_folder:
        driver = "not known" if volume.driver is None else shown(volume.driver)
        raise EvidenceUnreadable(f"{what}: its data is not in {shown(volume.data)} (its driver is {driver})")
    if volume.note:
        raise EvidenceUnreadable(f"{what}: {volume.note}")
    try:
        with folder(volume.data, b"volumes", volume.name) as descriptor:
            os.close(open_directory(descriptor, b"_data"))
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno == errno.EXDEV:
            why = "something is mounted there, and drydock does not enter it"
        elif error.errno in (errno.ELOOP, errno.ENOTDIR):
            why = "it is a symbolic link or no directory"
        raise EvidenceUnreadable(f"{what}: {shown(volume.path)}: {why}") from error


def _local(
    data: RawPath,
    name: bytes,
    descriptor: int,
    rows: Mapping[bytes, _Row] | None,
    users: Mapping[bytes, list[VolumeUser]] | None,
) -> Volume:
    row = None if rows is None else rows.get(name)
    device, note = _device(descriptor)
    return Volume(
        data,
        name,
        _LOCAL if row is None or row.driver is None else row.driver,
        None if rows is None else (row is not None and row.is_labelled) or is_container_id(name),
        _of(users, name),
        UnixNano(os.fstat(descriptor).st_ctime_ns),
        device,
        has_row=row is not None,
        note=note,
    )


def _of(users: Mapping[bytes, list[VolumeUser]] | None, name: bytes) -> tuple[VolumeUser, ...] | None:
    return None if users is None else tuple(users.get(name, ()))


def _device(descriptor: int) -> tuple[str, str]:
    """What the driver mounts for a volume, and why that is not known. Mount options may have a password."""
    try:
        options = _read_options(descriptor)
    except OSError as error:
        return "", f"{shown(_OPTIONS)}: {error.strerror or error}"
    except ValueError:
        return "", f"{shown(_OPTIONS)} is not what dockerd writes: dockerd does not start"
    texts = [each.encode("utf-8", "surrogatepass") for each in map(options.get, _MOUNTED) if each]
    # The device of a network mount can be written with a user and a password before the host.
    return " ".join(shown(each.rpartition(b"@")[2]) for each in texts), ""


def _read_options(descriptor: int) -> dict[str, Any]:
    """The options of a volume, whose folder is open; empty if it has none.

    Raises:
        ValueError: dockerd cannot decode them.
        OSError: they cannot be read.
    """
    try:
        document: Any = json.loads(read_regular(_OPTIONS, _LARGEST, descriptor))
    except FileNotFoundError:
        return {}
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(document.get(each, ""), str | None) for each in _TEXTS):
        raise ValueError("not the options of a volume")
    return document


def _read_rows(data: RawPath, unread: list[str]) -> dict[bytes, _Row] | None:
    path = RawPath(b"/".join((data, b"volumes", _DATABASE)))
    if not os.path.lexists(path):
        return {}
    try:
        copied = copy_database(path)
        try:
            with Database.from_fd(copied.fd, path, mapped=False) as database:
                bucket = database.root.bucket(_BUCKET)
                return {} if bucket is None else dict(_rows(bucket.items()))
        finally:
            os.close(copied.fd)
    except (BoltError, EvidenceUnreadable) as error:
        text = str(error)
        unread.append(text if shown(path) in text else f"{shown(path)}: {text}")
    return None


def _rows(items: Iterable[tuple[bytes, Any]]) -> Iterator[tuple[bytes, _Row]]:
    for name, value in items:
        try:
            document: Any = json.loads(value) if isinstance(value, bytes) and value else None
        except (ValueError, RecursionError):
            document = None
        found = document if isinstance(document, dict) else {}
        driver, labels = found.get("Driver"), found.get("Labels")
        yield (
            name,
            _Row(
                driver.encode("utf-8", "surrogatepass") if isinstance(driver, str) and driver else None,
                isinstance(labels, dict) and _ANONYMOUS in labels,
            ),
        )


def _users(data: RawPath, owners: Owners, unread: list[str]) -> dict[bytes, list[VolumeUser]] | None:
    """The containers of a data root that mount a volume, by its name; None if a container could not be read."""
    found: dict[bytes, list[VolumeUser]] = {}
    try:
        with folder(data, b"containers") as descriptor:
            inside = names(descriptor)
    except FileNotFoundError:
        inside = []
    except OSError as error:
        unread.append(f"{shown(data)}/containers: {error.strerror}")
        return None
    is_known = True
    for each in inside:
        container = owners.containers.get(each, DockerContainer(each, mounts_known=not is_container_id(each)))
        if not container.mounts_known:
            unread.append(f"{shown(data)}/containers/{shown(each)}: its mounts are not known")
            is_known = False
        for mounted in container.mounted:
            if mounted.type not in _APART:
                user = VolumeUser(container.id, container.name, mounted.target)
                found.setdefault(mounted.source, []).append(user)
    return found if is_known else None

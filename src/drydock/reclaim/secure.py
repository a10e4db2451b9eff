"""The last look at blobs and directories that are to get a record, before the database is edited."""

from __future__ import annotations

import os
from collections.abc import Iterable

from drydock.evidence.files.directory import fingerprint, open_folder
from drydock.evidence.files.regular import open_regular
from drydock.model.errors import ActionFailed
from drydock.model.plans import Adoption, SnapshotRecord
from drydock.model.text import shown
from drydock.reclaim.root_dir import Anchor, describe_change


def secure(anchor: Anchor, adoptions: Iterable[Adoption]) -> None:
    """Have the blobs on disk, as the plan saw them: a record without its blob is what no pull mends.

    Raises:
        ActionFailed: one is not as it was, or cannot be synced. Nothing is to be recorded then, as what one names would
            be collected without it.
    """
    folders: dict[bytes, Adoption] = {}
    for each in adoptions:
        folders.setdefault(os.path.dirname(each.path), each)
        change = _sync(anchor, each, folder=False)
        if change is not None:
            raise ActionFailed(f"{shown(each.path)}: {change}; no record was put in")
    # Their names too: whoever put them there may not have synced these.
    for each in folders.values():
        _sync(anchor, each, folder=True)


def secure_snapshots(anchor: Anchor, snapshots: Iterable[SnapshotRecord]) -> None:
    """Have the directories of snapshots that are to get a record on disk, as the plan saw them.

    Raises:
        ActionFailed: one is not as it was, or cannot be synced.
    """
    for each in snapshots:
        try:
            parent, name = anchor.open_parent(each.path, each.expect.device)
            try:
                opened = open_folder(name, parent)
            finally:
                os.close(parent)
            try:
                os.fsync(opened)
                change = describe_change(each.expect, fingerprint(os.fstat(opened)))
            finally:
                os.close(opened)
        except OSError as error:
            raise ActionFailed(f"{shown(each.path)}: {error.strerror}") from error
        if change is not None:
            raise ActionFailed(f"{shown(each.path)}: {change}; no record was put in")


def _sync(anchor: Anchor, adoption: Adoption, *, folder: bool) -> str | None:
    """Sync a blob, or the folder that it lies in; return what changed of the blob since the plan, or None."""
    try:
        parent, name = anchor.open_parent(adoption.path, adoption.expect.device)
        try:
            opened = open_folder(b".", parent) if folder else open_regular(name, parent)
        finally:
            os.close(parent)
        try:
            os.fsync(opened)
            return None if folder else describe_change(adoption.expect, fingerprint(os.fstat(opened)))
        finally:
            os.close(opened)
    except OSError as error:
        raise ActionFailed(f"{shown(adoption.path)}: {error.strerror}") from error

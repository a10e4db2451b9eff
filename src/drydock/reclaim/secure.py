"""The last look at blobs that are to get a record, before the database is edited."""

from __future__ import annotations

import os
from collections.abc import Iterable

from drydock.evidence.directory import fingerprint, open_folder
from drydock.evidence.file import open_regular
from drydock.model.errors import ActionFailed
from drydock.model.plans import Adoption
from drydock.model.text import shown
from drydock.reclaim.anchor import Anchor, describe_change


def secure(anchor: Anchor, adoptions: Iterable[Adoption]) -> None:
    """Have the blobs on disk, as the plan saw them: a record without its blob is what no pull mends.

    Raises:
        ActionFailed: one is not as it was, or cannot be synced. Nothing is to be recorded then, as what one names would
            be collected without it.
    """
    for each in adoptions:
        try:
            parent, name = anchor.open_parent(each.path, each.expect.device)
            try:
                file = open_regular(name, parent)
                try:
                    change = describe_change(each.expect, fingerprint(os.fstat(file)))
                    os.fsync(file)
                finally:
                    os.close(file)
                # Its name too: whoever put it there may not have synced that.
                folder = open_folder(b".", parent)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
            finally:
                os.close(parent)
        except OSError as error:
            raise ActionFailed(f"{shown(each.path)}: {error.strerror}") from error
        if change:
            raise ActionFailed(f"{shown(each.path)}: {change}; no record was put in")

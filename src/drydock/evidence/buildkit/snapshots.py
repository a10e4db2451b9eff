"""The buckets of BuildKit's ``snapshots.db`` in Docker's classic mode: which directory of overlay2 is which snapshot.

Source: moby builder/builder-next/adapters/snapshot/{snapshot,layer,leasemanager}.go (v28.5).
"""

from __future__ import annotations

import re
from typing import Final

from bbolt_reader import BoltError, Database
from drydock.model import messages
from drydock.model.findings import Finding, Place
from drydock.model.layer_store import BuildSnapshot
from drydock.model.names import Digest, RawPath, is_digest

_FIELDS: Final = frozenset((b"parent", b"committed", b"iscommitted", b"chainid", b"size"))
_DIGITS: Final = re.compile(rb"-?[0-9]{1,19}\Z")


def read_snapshots(
    database: Database, path: RawPath, findings: list[Finding]
) -> tuple[dict[bytes, BuildSnapshot], bool]:
    """Read every bucket of an open ``snapshots.db``.

    Args:
        database: the open file.
        path: the name of the file in findings.
        findings: gets a finding for each part that could not be read or is not known.

    Returns:
        The buckets by key, and whether all of them were read and understood.
    """
    found: dict[bytes, BuildSnapshot] = {}
    before = len(findings)
    try:
        for key, bucket in database.root.items():
            place = Place(path, bucket=(key,))
            if isinstance(bucket, bytes):
                findings.append(messages.KEY_OUTSIDE_BUCKETS(key=key).at(place, key))
                continue
            fields: dict[bytes, bytes] = {}
            for name, value in bucket.items():
                if name not in _FIELDS or not isinstance(value, bytes):
                    findings.append(messages.UNKNOWN_KEY(name=name).at(place, key))
                else:
                    fields[name] = value
            chain, size = fields.get(b"chainid"), fields.get(b"size", b"")
            if chain is not None and not is_digest(chain):
                findings.append(messages.INVALID_DIGEST(bucket=key, value=chain).at(place, key))
            found[key] = BuildSnapshot(
                key,
                fields.get(b"parent", b""),
                fields.get(b"committed") or None,
                b"iscommitted" in fields,
                Digest(chain) if chain is not None and is_digest(chain) else None,
                int(size) if _DIGITS.match(size) else None,
            )
    except BoltError as error:
        findings.append(
            messages.UNREADABLE_DATABASE(file=path, problem=str(error)).at(Place(path, error.page, error.offset))
        )
    return found, len(findings) == before

"""BuildKit's cache records, read with nothing but their JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.records import nested


def cache_records(database: Path) -> dict[str, dict[str, Any]]:
    """The values of each record of a metadata_v2.db, by its id; values that were cleared are left out."""
    return {
        name.decode(): {key.decode(): json.loads(raw)["value"] for key, raw in fields.items() if raw}
        for name, fields in nested(database).get(b"_main", {}).items()
    }


def left_by_steps(database: Path) -> set[str]:
    """The records that an interrupted step left: mutable, of unknown size, kept by no policy, and nobody's twin.

    BuildKit drops them at its first disk-usage run (buildkit cache/manager.go DiskUsage, cache/refs.go release, v0.34).
    """
    found = cache_records(database)
    twins = {fields.get("cache.equalMutable") for fields in found.values()}
    return {
        name
        for name, fields in found.items()
        if not fields.get("snapshot.committed")
        and fields.get("snapshot.size", -1) == -1
        and fields.get("cache.cachePolicy") != 1
        and name not in twins
    }

"""Where in a database's file a value lies."""

from __future__ import annotations

from bbolt_reader import BoltError, Database
from drydock.evidence.containerd.store import Held
from drydock.model.findings import Finding, Place


def placed(held: Held, finding: Finding) -> Finding:
    """The same finding, with the page and the byte of the file where the value at the end of its bucket path lies."""
    place = finding.place
    file = next((each for each in held.files() if each.path == place.file), None)
    if file is None or file.database is None or not place.bucket:
        return finding
    try:
        found = _find(file.database, place)
    except BoltError:
        return finding
    return finding._replace(place=found)


def _find(database: Database, place: Place) -> Place:
    *path, key = place.bucket
    bucket = database.root
    for name in path:
        below = bucket.bucket(name)
        if below is None:
            return place
        bucket = below
    value = bucket.get(key)
    if value is None:
        return place
    size = database.page_size
    page = bucket.root or bucket.offset // size
    start = page * size if bucket.root else bucket.offset
    data = database.source.read(start, min((page + 1) * size, database.size) - start, page)
    # In a leaf each value follows its key.
    at = data.find(key + value)
    return place._replace(page=page, offset=start + at + len(key) if at >= 0 else start)

"""What killed runs left of containers of nerdctl: folders named by an id, which only the former records name.

nerdctl never lists its folders to find such ones: ``nerdctl rm`` takes the path from the record (pkg/cmd/container/
remove.go RemoveContainer, v2.3.5). A folder without a record may also belong to a container that is being made, or to
another containerd at the same address. So a folder is taken only if a killed run deleted its record.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from bbolt_reader import BoltError, Database
from drydock.evidence.containerd.database_file import File
from drydock.evidence.containerd.metadata import read_metadata
from drydock.evidence.containerd.nerdctl import is_nerdctls, read_nerdctl
from drydock.evidence.containerd.store import Held
from drydock.evidence.files.sizes import Measure
from drydock.model.container_drops import LetGo
from drydock.model.errors import ActionFailed
from drydock.model.names import RawPath, Ref
from drydock.model.records import Container
from drydock.model.text import unshown
from drydock.reclaim.edit import EditStatus, edit_status, former
from drydock.reclaim.journal import Entry, Journal
from drydock.reclaim.state_dir import find_unfinished, places_with


def read_let_go(held: Held, state: RawPath | None, measure: Measure) -> list[LetGo]:
    """What is left of containers of nerdctl whose records killed runs deleted.

    Args:
        held: the root.
        state: the state directory that the user chose.
        measure: counts allocated blocks.
    """
    file = held.metadata
    if file is None or file.database is None:
        return []
    found: list[LetGo] = []
    for journal in find_unfinished(held.root.path, places_with(state)):
        found += left_of(journal, held, file, file.database, measure)
    return list({each.record.ref: each for each in found}.values())


def left_of(journal: Journal, held: Held, file: File, database: Database, measure: Measure) -> list[LetGo]:
    """The same of one killed run, by meta.db as it is now."""
    records: dict[Ref, Container] = {}
    for entry in journal.entries:
        if entry.do == "edit" and entry.path == file.path:
            records |= {record.ref: record for record in _before(entry, file, database) if is_nerdctls(record)}
    if not records:
        return []
    there = {record.id for record in read_metadata(database, file.path).containers}
    gone = [record for record in records.values() if record.id not in there]
    files = read_nerdctl(held.root, gone, measure)
    left = (LetGo(record, files[record.namespace, record.id]) for record in gone)
    return [each for each in left if each.files.doubt is None]


def _before(entry: Entry, file: File, database: Database) -> Iterator[Container]:
    """The containers that meta.db recorded before an edit; none if it was not made, or if that is not known."""
    stands = EditStatus.MOVED
    with suppress(ActionFailed):
        stands = edit_status(file.fd, file.path, entry.fields)
    if stands is EditStatus.FORMER:
        return
    with suppress(BoltError, ActionFailed):
        if stands is EditStatus.EDITED:
            yield from read_metadata(former(database, entry.fields), file.path).containers
            return
        with Database.open(unshown(str(entry.fields.get("backup", "")))) as copy:
            yield from read_metadata(copy, file.path).containers

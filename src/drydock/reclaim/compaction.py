"""Compacting the databases of a root that are mostly free pages, as the last step of a run (docs/surgery.md).

meta.db, each metadata.db, and the cache records and the history of BuildKit. Afterwards no run can be undone that
edited one of them, so runs that can be undone are looked for first.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import Final

from drydock.evidence.buildkit.records import build_databases, find_buildkits
from drydock.evidence.containerd.database_file import find_free
from drydock.evidence.containerd.store import Held
from drydock.evidence.host.locks import hold
from drydock.model.errors import ActionFailed, DrydockError, EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.plans import Compaction, CompactionOutcome, Status
from drydock.model.progress import Progress, counter
from drydock.model.roots import Root
from drydock.reclaim.edit import compact_database
from drydock.reclaim.journal_writer import JournalWriter

_BLOCK: Final = 512


def find_compactions(held: Held) -> tuple[Compaction, ...]:
    """Find the databases of a root that are large, sound, and more than half free pages.

    Raises:
        Refused: an engine has one of BuildKit's.
    """
    free = {file.path: file.free for file in held.files() if file.is_sound}
    for path in _build_databases(held.root):
        with suppress(EvidenceUnreadable):
            free[path] = find_free(path)
    return tuple(Compaction(path, *sizes) for path, sizes in free.items() if sizes is not None)


def _build_databases(root: Root) -> list[RawPath]:
    found: list[RawPath] = []
    for each in (of for buildkits in find_buildkits(root) for of in buildkits):
        with suppress(OSError):
            found += build_databases(each)
    return list(dict.fromkeys(found))


def run_compaction(
    planned: Compaction, held: Held, journal: JournalWriter, progress: Progress | None
) -> CompactionOutcome:
    """Compact one database, written to the journal before it is begun.

    Args:
        planned: the database.
        held: the root, whose databases are locked as by a writer.
        journal: of the run.
        progress: told how many pages are moved.
    """
    path = planned.path
    before = after = planned.size
    try:
        with ExitStack() as stack:
            file = held.find(path)
            fd = stack.enter_context(hold(path, exclusive=True)).fd if file is None else file.fd
            found = os.fstat(fd)
            before = after = found.st_size
            number = journal.intend_compaction(path, before)
            try:
                done = compact_database(fd, path, lambda _, __: True, counter(progress, "pages moved"))
            except ActionFailed as error:
                with suppress(ActionFailed):
                    journal.end(number, Status.FAILED, detail=str(error))
                raise
            now = os.fstat(fd)
            after, freed = now.st_size, max(0, found.st_blocks - now.st_blocks) * _BLOCK
            assert done is not None, "it was agreed to"
            with suppress(ActionFailed):
                journal.end(number, Status.DONE, freed, f"{before} bytes before, {after} bytes after")
            return CompactionOutcome(path, Status.DONE, before, after, freed)
    except DrydockError as error:
        return CompactionOutcome(path, Status.FAILED, before, after, detail=str(error))

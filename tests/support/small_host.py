"""A small root made of records, that runs clean and undo in this process."""

import copy
import os

from fuzz.stores import META_DB, METADATA, METADATA_DB, NOW, ROWS, SEQUENCES, digest, lay_out
from tests.support import boltwriter

import drydock
from bbolt_reader import Database
from drydock.model.names import RawPath, UnixNano

BLOBS = "io.containerd.content.v1.content/blobs/sha256"


class Host:
    """A small root that runs clean, each with a state directory of its own."""

    def __init__(self, folder):
        self.folder, self.root = folder, folder / "root"
        self.root.mkdir()
        lay_out(self.root)
        self.metadata, self.rows = copy.deepcopy(METADATA), copy.deepcopy(ROWS)
        self.rows_path = METADATA_DB

    def write(self):
        """Write the databases."""
        boltwriter.write(self.root / META_DB, self.metadata)
        boltwriter.write(self.root / self.rows_path, self.rows, sequences=SEQUENCES)

    def clean(self, run, agree=lambda _: True, *, aside=True, policy=None):
        """Clean as the run of this name; what it did, None where nothing was to be done."""
        state, quarantine = (self.folder / f"{run}-{name}" for name in ("state", "aside"))
        for path in (state, quarantine):
            path.mkdir(mode=0o700, exist_ok=True)
        runs = drydock.clean(
            RawPath(os.fsencode(self.root)),
            agree=agree,
            policy=policy,
            now=UnixNano(NOW + 10**9),  # the lease of the pull has expired
            state=RawPath(os.fsencode(state)),
            quarantine=RawPath(os.fsencode(quarantine)) if aside else None,
        )
        return next(iter(runs), None)

    def undo(self, run):
        """Undo the run of this name; what that did."""
        return drydock.undo(RawPath(os.fsencode(self.journal(run))))

    def journal(self, run):
        """Its journal; the first one, where other runs had the same state directory."""
        return min(self.folder.glob(f"{run}-state/*/journal.jsonl"))

    def seen(self):
        """What the two databases have."""
        found = []
        for path in (META_DB, self.rows_path):
            with Database.open(os.fsencode(self.root / path)) as database:
                found.append(plain(database.root))
        return found


def blob_of(host, number):
    """The file of a blob."""
    return host.root / BLOBS / digest(number).decode().partition(":")[2]


def unlink(host, *numbers):
    """Take blobs away that nothing holds, so that only snapshots are let go of with their data."""
    for number in numbers:
        blob_of(host, number).unlink()


def plain(bucket):
    """A bucket as nested dicts."""
    return {key: value if isinstance(value, bytes) else plain(value) for key, value in bucket.items()}

"""Crash-safe changes to a bbolt file in place, and whole new files. Knows nothing of containerd.

See docs/surgery.md and docs/salvage.md.
"""

from bbolt_surgery.assemble import Assembly, Choice, assemble
from bbolt_surgery.changes import Deletion, Insertion, NewBucket, Receipt, RootHeader
from bbolt_surgery.compact import Compaction, Use, compact
from bbolt_surgery.edit import change, restore, settle, trust
from bbolt_surgery.errors import Damaged, Moved, NotCommitted, NotWritten, SurgeryError, Uncertain, Unfit
from bbolt_surgery.write import write_new

__all__ = [
    "Assembly",
    "Choice",
    "Compaction",
    "Damaged",
    "Deletion",
    "Insertion",
    "Moved",
    "NewBucket",
    "NotCommitted",
    "NotWritten",
    "Receipt",
    "RootHeader",
    "SurgeryError",
    "Uncertain",
    "Unfit",
    "Use",
    "assemble",
    "change",
    "compact",
    "restore",
    "settle",
    "trust",
    "write_new",
]

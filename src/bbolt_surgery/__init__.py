"""Crash-safe deletions, in place, in a bbolt file, and whole new files. Knows nothing of containerd.

See docs/surgery.md and docs/salvage.md.
"""

from bbolt_surgery.assemble import Assembly, Choice, NewBucket, assemble
from bbolt_surgery.deletion import Deletion, Receipt, Root
from bbolt_surgery.edit import delete, restore, trust
from bbolt_surgery.errors import Damaged, Moved, NotCommitted, NotWritten, SurgeryError, Uncertain
from bbolt_surgery.write import write_new

__all__ = [
    "Assembly",
    "Choice",
    "Damaged",
    "Deletion",
    "Moved",
    "NewBucket",
    "NotCommitted",
    "NotWritten",
    "Receipt",
    "Root",
    "SurgeryError",
    "Uncertain",
    "assemble",
    "delete",
    "restore",
    "trust",
    "write_new",
]

"""One crash-safe deletion, in place, in a bbolt file. Knows nothing of containerd; see docs/surgery.md."""

from bbolt_surgery.deletion import Deletion, Receipt, Root
from bbolt_surgery.edit import delete, restore
from bbolt_surgery.errors import Damaged, Moved, NotCommitted, SurgeryError, Uncertain

__all__ = [
    "Damaged",
    "Deletion",
    "Moved",
    "NotCommitted",
    "Receipt",
    "Root",
    "SurgeryError",
    "Uncertain",
    "delete",
    "restore",
]

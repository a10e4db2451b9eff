"""Read-only access to bbolt files: bytes to pages to buckets. Knows nothing of containerd.

There are two readers. ``Database`` is the fast one, made with ``struct``. ``DeclaredDatabase`` is made only of the
declarations in layout.py, which construct compiles; ``compare`` reads a file with both. The names that need construct
are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bbolt_reader.bucket import Bucket, Leaf
from bbolt_reader.database import Database
from bbolt_reader.errors import BoltError, Corrupt, NotBolt, Truncated, Unreadable
from bbolt_reader.meta import Meta
from bbolt_reader.page import Page
from bbolt_reader.shape import Form
from bbolt_reader.verify import Damage, verify

if TYPE_CHECKING:
    from bbolt_reader.checking import check
    from bbolt_reader.comparison import Difference, compare
    from bbolt_reader.declared import DeclaredBucket, DeclaredDatabase
    from bbolt_reader.dissection import Dissection, Field, dissect

__all__ = [
    "BoltError",
    "Bucket",
    "Corrupt",
    "Damage",
    "Database",
    "DeclaredBucket",
    "DeclaredDatabase",
    "Difference",
    "Dissection",
    "Field",
    "Form",
    "Leaf",
    "Meta",
    "NotBolt",
    "Page",
    "Truncated",
    "Unreadable",
    "check",
    "compare",
    "dissect",
    "verify",
]

_ON_DEMAND = {
    "checking": ("check",),
    "comparison": ("Difference", "compare"),
    "declared": ("DeclaredBucket", "DeclaredDatabase"),
    "dissection": ("Dissection", "Field", "dissect"),
}


def __getattr__(name: str) -> object:
    for module, names in _ON_DEMAND.items():
        if name in names:
            found: object = getattr(import_module(f"bbolt_reader.{module}"), name)
            return found
    raise AttributeError(f"module 'bbolt_reader' has no attribute {name!r}")

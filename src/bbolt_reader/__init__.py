"""Read-only access to bbolt files: bytes to pages to buckets. Knows nothing of containerd."""

from bbolt_reader.bucket import Bucket
from bbolt_reader.database import Database
from bbolt_reader.errors import BoltError, Corrupt, NotBolt, Truncated, Unreadable
from bbolt_reader.meta import Meta
from bbolt_reader.page import Page
from bbolt_reader.verify import Damage, verify

__all__ = [
    "BoltError",
    "Bucket",
    "Corrupt",
    "Damage",
    "Database",
    "Meta",
    "NotBolt",
    "Page",
    "Truncated",
    "Unreadable",
    "verify",
]

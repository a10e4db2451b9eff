"""The bbolt file format on one page, as construct declarations.

A file is a row of pages. Page ``p`` starts at byte ``p * page_size``, with a page header; one with ``overflow`` n takes
n + 1 places. Pages 0 and 1 hold the two metas. Integers are little-endian. Source: etcd-io/bbolt, page.go, bucket.go
and db.go of v1.3.6 (internal/common of v1.4), which have the same layout since boltdb 1.0.

construct compiles these declarations in parsing.py: `drydock bolt`, salvage and the second reading of ``verify`` decode
every page by them. Importing construct takes longer than reading most files, so the reader of a scan uses packed.py,
which has the same formats in ``struct``; a test compares the two.
"""

from __future__ import annotations

import struct

from construct import Array, Int16ul, Int32ul, Int64ul, Struct, this

PAGE_HEADER = Struct(
    "id" / Int64ul,  # its own position
    "flags" / Int16ul,  # exactly one of the PAGE_ flags
    "count" / Int16ul,  # elements that follow; a freelist of 0xFFFF or more has its count in front of its ids
    "overflow" / Int32ul,
)
"""Starts every page, and the page inside an inline bucket (id and overflow are 0 there)."""

BRANCH_ELEMENT = Struct(
    "pos" / Int32ul,  # of the key, from the start of this element
    "ksize" / Int32ul,
    "pgid" / Int64ul,  # the child; its keys are at least this key, and below the next element's
)
"""A branch page has ``count`` of them behind its header, then their keys."""

LEAF_ELEMENT = Struct(
    "flags" / Int32ul,  # LEAF_BUCKET or nothing
    "pos" / Int32ul,  # of the key, from the start of this element; the value follows the key
    "ksize" / Int32ul,
    "vsize" / Int32ul,
)
"""A leaf page has ``count`` of them behind its header, then keys and values."""

BUCKET_HEADER = Struct(
    "root" / Int64ul,  # 0: inline, a leaf page follows in the same value
    "sequence" / Int64ul,
)
"""Starts the value of a leaf element that is a bucket."""

META = Struct(
    "magic" / Int32ul,
    "version" / Int32ul,
    "page_size" / Int32ul,
    "flags" / Int32ul,
    "root" / Int64ul,  # root and sequence: the header of the root bucket
    "sequence" / Int64ul,
    "freelist" / Int64ul,  # its page, or NO_FREELIST
    "high_water" / Int64ul,  # the first page id that was never used
    "txid" / Int64ul,
    "checksum" / Int64ul,  # FNV-1a, 64 bits, of all before it
)
"""Follows the header of pages 0 and 1."""

FREE_PAGE = Struct("id" / Int64ul)
"""A freelist page has ``count`` of them."""

BRANCH_ELEMENTS = Array(this.count, BRANCH_ELEMENT)
LEAF_ELEMENTS = Array(this.count, LEAF_ELEMENT)
FREE_PAGES = Array(this.count, FREE_PAGE)
"""The part of a page behind its header, by the page's flags; ``count`` is in the header."""


def packed(declaration: Struct) -> struct.Struct:
    """The ``struct`` of the same fields, which packed.py must have.

    Raises:
        TypeError: the declaration has a field that is no fixed-size integer.
    """
    codes = []
    for field in declaration.subcons:
        code = getattr(field.subcon, "fmtstr", "")
        if not code.startswith("<"):
            raise TypeError(f"{field.name}: not a little-endian integer")
        codes.append(code[1:])
    return struct.Struct("<" + "".join(codes))

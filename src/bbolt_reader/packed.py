"""The ``struct`` twins of layout.py's declarations, written out: making them of construct takes longer than a scan.

layout.py says what each field means, and a test compares every format here with ``layout.packed`` of its declaration.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

PAGE_HEADER: Final = Struct("<QHHL")
BRANCH_ELEMENT: Final = Struct("<LLQ")
LEAF_ELEMENT: Final = Struct("<LLLL")
BUCKET_HEADER: Final = Struct("<QQ")
META: Final = Struct("<LLLLQQQQQQ")
FREE_PAGE: Final = Struct("<Q")

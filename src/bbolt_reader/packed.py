"""The ``struct`` twins of the declarations in layout.py.

They are written out, because importing construct takes longer than a scan. layout.py explains each field, and a test
compares every format here with ``layout.packed`` of its declaration.
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

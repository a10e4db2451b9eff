"""The names of labels that containerd's GC follows.

Source: containerd core/metadata/gc.go startGCContext (v1.6 to v2.4). Plugins add words of their own after
``gc.ref.``; containerd itself has the plugins ``stream`` and ``mount``.
"""

from __future__ import annotations

import re
from functools import lru_cache

_PREFIX = b"containerd.io/gc."
CONTENT_LABEL = _PREFIX + b"ref.content."
"""The beginning of labels that a pull gives to a blob for the blobs that it names."""
_KNOWN = re.compile(
    rb"containerd\.io/gc\.(?:"
    rb"root.*"
    rb"|expire|flat|cond\.value-usedat"
    rb"|ref\.(?:content|image|stream|mount)(?:[./].*)?"
    rb"|bref\.(?:container|content|image)(?:[./].*)?"
    rb"|b?ref\.snapshot\.[^/].*"
    rb"|cond\.snapshot[./]+[^./].*"
    rb")\Z",
    re.DOTALL,
)
_CONDITION = _PREFIX + b"cond.snapshot"
_NEAR = 2


@lru_cache(1024)
def may_be_a_gc_label(name: bytes) -> bool:
    """Whether the GC may follow a label that drydock does not know.

    Such a label begins as the GC's labels do but is none of them, or its beginning has up to two other bytes.
    """
    if name.startswith(_PREFIX):
        return _KNOWN.match(name) is None
    return len(name) > len(_PREFIX) and _differing(name, _PREFIX) <= _NEAR


def is_condition_of_nothing(name: bytes, value: bytes) -> bool:
    """Whether a label is a condition whose value does not name the snapshot that it is about."""
    return name.startswith(_CONDITION) and b"|" not in value


def _differing(name: bytes, prefix: bytes) -> int:
    return sum(one != other for one, other in zip(name, prefix, strict=False))

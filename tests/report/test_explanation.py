"""Explanations as text and as documents."""

import json

from tests.support.documents import parsed
from tests.support.values import NOW

from drydock.model.explanations import Explanation
from drydock.model.names import RawPath
from drydock.model.times import show_time
from drydock.report.explanation import explanation_document, explanation_lines

HELD = Explanation(
    RawPath(b"/store/\x1b[2J"), "blob sha256:ab", "live", (("path", "blobs/ab"),),
    (("image x (namespace moby): an image", "holds blob sha256:cd (namespace moby), its target", "holds it"),),
    "", ("blob sha256:ef (namespace moby), its target",), 3, 73728,
)  # fmt: skip
FREE = Explanation(RawPath(b"/store"), "lease l (namespace moby)", "temporary lease", (), (), "", (), 0, 1)
NOTHING = Explanation(RawPath(b"/store"), "image x", "root", (), (), "no record names it", ())


def test_the_text():
    """Root, size in units and in full, facts, the chain step below step, what it refers to and how many more."""
    assert list(explanation_lines(HELD)) == [
        "blob sha256:ab: live",
        "  root: /store/\\x1b[2J",
        "  size: 72.0 KiB (73728 bytes)",
        "  path: blobs/ab",
        "  held by:",
        "    image x (namespace moby): an image",
        "      holds blob sha256:cd (namespace moby), its target",
        "        holds it",
        "  refers to:",
        "    blob sha256:ef (namespace moby), its target",
        "    and 3 more",
    ]
    assert list(explanation_lines(FREE))[2] == "  only it holds: 1 B (1 byte)"
    assert list(explanation_lines(NOTHING)) == [
        "image x: GC root",
        "  root: /store",
        "  held by nothing: no record names it",
    ]


def test_the_document():
    """The same as data: bytes as a number, chains as lists."""
    document = parsed(explanation_document([HELD, NOTHING._replace(unread="meta.db: page 3")], NOW))
    assert (document["schema"], document["now"]) == ("drydock.explain/1", show_time(NOW))
    held, nothing = document["explanations"]
    assert (held["bytes"], held["facts"], held["more"]) == (73728, {"path": "blobs/ab"}, 3)
    assert (held["unread"], nothing["unread"]) == ("", "meta.db: page 3")
    assert held["chains"] == [list(HELD.chains[0])]
    assert (nothing["bytes"], nothing["nothing"], nothing["chains"]) == (None, "no record names it", [])
    assert json.loads(json.dumps(document)) == document

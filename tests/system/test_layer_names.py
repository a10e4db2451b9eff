"""Hostile names in a classic layer store: every output shows them escaped, and none leads out of the data root."""

import os

import pytest
from tests.support.classic_root import ClassicRoot, hexed
from tests.support.documents import run

ODD = b"\x1b[2J\xff\n<b>"


@pytest.fixture
def root(tmp_path):
    """Such names wherever somebody may have put one: directories, links, records, images, files of records."""
    made = ClassicRoot(tmp_path / "docker")
    made.layer("base")
    made.an_image("shop\x1b[2J:1", "base")
    made.container("web", "base")
    odd = os.fsencode(made.data)
    for folder in (b"overlay2", b"image/overlay2/layerdb/sha256", b"image/overlay2/layerdb/mounts", b"plugins"):
        os.makedirs(os.path.join(odd, folder, ODD))
    os.symlink(b"../" + ODD + b"/diff", os.path.join(odd, b"overlay2/l", b"O" * 26))
    os.symlink(b"/etc", os.path.join(odd, b"overlay2/l", ODD))
    os.symlink(b"/etc", os.path.join(odd, b"overlay2", b"e" * 64))
    os.symlink(b"../../../../../../../../etc/diff", os.path.join(odd, b"overlay2/l", b"P" * 26))
    record = os.path.join(odd, b"image/overlay2/layerdb/sha256", b"0" * 64)
    os.mkdir(record)
    for name, value in ((b"cache-id", b"../../etc"), (b"diff", ODD), (b"parent", ODD), (b"size", b"9" * 5000)):
        with open(os.path.join(record, name), "wb") as file:
            file.write(value)
    directory = made.overlay / hexed("written web")
    (directory / "lower").write_bytes(b"l/../../../../etc:" + ODD + b":l/" + b"P" * 26)
    (directory / "link").write_bytes(b"../" + ODD)
    return made


@pytest.mark.parametrize(
    "command",
    [
        *(("scan", "--format", form) for form in ("table", "tree", "json", "jsonl", "csv", "markdown", "prometheus")),
        *(("ls", kind, "--format", form) for kind in ("layers", "images", "containers") for form in ("table", "json")),
        ("explain", "web"),
        ("verify", "--unpacked=content"),
        ("clean", "--end-leases", "ownerless"),
    ],
    ids=" ".join,
)
def test_names_are_escaped(root, command, tmp_path):
    """No control character and no byte that is no text reaches a terminal or a document."""
    state = ("--state", tmp_path / "state") if command[0] == "verify" else ()
    said = run(*command, *state, root.data)
    assert "\x1b" not in said
    assert "etc/passwd" not in said
    assert said.isprintable() or all(each.isprintable() or each in "\n\t" for each in said)


def test_what_leads_elsewhere_is_never_free(root):
    """Entries that dockerd does not make are foreign; nothing outside the data root is an object."""
    said = run("clean", "--end-leases", "ownerless", root.data)
    assert "/etc" not in said.replace("overlay2/l", "")
    assert "eeeeeeee" not in said or "kept" in said

"""Layers read as trees: what containerd's own applying makes of the same tar, and nothing hostile gets through."""

import gzip
import io
import tarfile

import pytest

from drydock.recover.decoder import Unreadable
from drydock.recover.layer_blob import Type, read_layer


def _tar(*entries):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, extra in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            data = extra if isinstance(extra, bytes) else b""
            info.size = len(data)
            if isinstance(extra, str):
                info.linkname = extra
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _read(raw, **options):
    return read_layer(_Raw(raw), content=True, stop=options.get("stop", lambda: False))


class _Raw(io.RawIOBase):
    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)


FILE, DIR, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def test_compressed_or_not_it_is_the_same():
    """Plain, gzip, and gzip of several members."""
    plain = _tar(("etc", DIR, None), ("etc/passwd", FILE, b"root"))
    for raw in (plain, gzip.compress(plain), gzip.compress(plain[:700]) + gzip.compress(plain[700:])):
        tree = _read(raw)
        assert tree.children[b"etc"].children[b"passwd"].size == 4


def test_the_last_word_on_a_path_counts():
    """A file that is replaced by a directory, and a directory by a file, which takes its contents with it."""
    tree = _read(_tar(("a", FILE, b"x"), ("a", DIR, None), ("b", DIR, None), ("b/c", FILE, b"x"), ("b", FILE, b"yy")))
    assert tree.children[b"a"].type is Type.DIRECTORY
    assert (tree.children[b"b"].size, tree.children[b"b"].children) == (2, {})


def test_whiteouts_and_opaque_directories():
    """A whiteout stands for what it removes; an opaque mark is its directory's; AUFS' own files are nothing."""
    tree = _read(_tar(("d/.wh.gone", FILE, b""), ("d/.wh..wh..opq", FILE, b""), ("d/.wh..wh.plnk/1", FILE, b"x")))
    folder = tree.children[b"d"]
    assert folder.is_opaque
    assert folder.children[b"gone"].type is Type.WHITEOUT
    assert set(folder.children) == {b"gone"}


def test_a_path_through_a_link_of_the_layer_lies_behind_it():
    """``lib/x`` with ``lib`` a link to ``usr/lib`` is usr/lib/x; absolute and climbing links stay inside."""
    tree = _read(
        _tar(
            ("lib", LINK, "usr/lib"),
            ("lib/x", FILE, b"1"),
            ("abs", LINK, "/usr"),
            ("abs/y", FILE, b"22"),
            ("up", LINK, "../../../usr"),
            ("up/z", FILE, b"333"),
        )
    )
    usr = tree.children[b"usr"]
    assert usr.children[b"lib"].children[b"x"].size == 1
    assert (usr.children[b"y"].size, usr.children[b"z"].size) == (2, 3)


@pytest.mark.parametrize("name", [".wh.", "d/.wh..", ".wh..."])
def test_whiteouts_of_nothing(name):
    """What they would remove is the folder itself, or what is above it: no layer that can be compared."""
    with pytest.raises(Unreadable, match="names nothing"):
        _read(_tar(("d", DIR, None), (name, FILE, b"")))


def test_names_do_not_leave_the_tree():
    """``..`` and leading slashes are cut off, as containerd does."""
    tree = _read(_tar(("/../../etc/x", FILE, b"1"), ("./y", FILE, b"2")))
    assert set(tree.children) == {b"etc", b"y"}


def test_a_hard_link_is_the_same_entry():
    """One entry under two names."""
    tree = _read(_tar(("a", FILE, b"x"), ("d/b", HARD, "a")))
    assert tree.children[b"a"] is tree.children[b"d"].children[b"b"]


def test_links_in_circles_are_refused():
    """A path behind a loop of links ends in an error and not in a loop."""
    with pytest.raises(Unreadable):
        _read(_tar(("a", LINK, "b"), ("b", LINK, "a"), ("a/x", FILE, b"1")))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x" * 5000,
        gzip.compress(b"x" * 5000, mtime=0)[:20],
        b"\x1f\x8b" + b"\xff" * 600,
        _tar(("a", FILE, b"x" * 2000))[:900],
    ],
    ids=["empty", "text", "cut", "senseless", "cut tar"],
)
def test_what_is_no_layer_is_unreadable(raw):
    """Cut, empty and senseless files."""
    with pytest.raises(Unreadable):
        _read(raw)


def test_a_header_of_gigabytes_is_not_read():
    """A long-name header that claims 4 GiB is refused before it is read."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    with pytest.raises(Unreadable, match="longer"):
        _read(info.tobuf(format=tarfile.GNU_FORMAT) + b"\0" * 20000)


def test_it_stops_when_told():
    """Asked at each read, in the middle of one entry too."""
    asked = iter([False, False, True])
    assert _read(_tar(("a", FILE, bytes(8 << 20))), stop=lambda: next(asked)) is None


@pytest.mark.parametrize("kind", ["names", "attributes", "keys", "global", "links", "folders", "holes"])
def test_what_takes_memory_is_bounded(kind, monkeypatch):
    """Long names, attributes, paths of many folders, a map of holes: refused before they take more than is given.

    So are attributes of the whole archive, which grow without an entry that is kept, and long ways over links.
    """
    from drydock.recover import layer_blob

    monkeypatch.setattr(layer_blob, "_MOST_BYTES", 1 << 16)
    monkeypatch.setattr(layer_blob, "_MOST", 1000)
    monkeypatch.setattr(layer_blob, "_MOST_HEADERS", 4 << 20)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(5):
            info = tarfile.TarInfo(f"{number}")
            data = b""
            if kind == "names":
                info.name += "n" * 20_000
            elif kind == "attributes":
                info.pax_headers = {"SCHILY.xattr.user.long": "x" * 20_000}
            elif kind == "keys":
                info.pax_headers = {"SCHILY.xattr.user." + "k" * 20_000: ""}
            elif kind == "global":
                info.name, tar.pax_headers = f".wh.{number}", {f"{number}": "x" * 20_000}
                buffer.write(tar.tarinfo.create_pax_global_header(tar.pax_headers))
            elif kind == "links" and not number:
                info.type, info.linkname = LINK, "./" * 10_000
            elif kind == "links":
                info.name = f"0/{number}"
            elif kind == "folders":
                info.name += "/a" * 400
            else:
                info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x"}
                data = b"9999999\n" + b"0\n" * (8 << 20)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(Unreadable, match=r"more than|longer"):
        _read(buffer.getvalue())

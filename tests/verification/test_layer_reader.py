"""Layers read into trees: as containerd unpacks the same tar, and safe against hostile ones."""

import gzip
import hashlib
import io
import subprocess
import tarfile
from contextlib import closing

import pytest
from fuzz.layer import summed
from tests.support.layer_trees import Raw, read_nested

from drydock.verification import layer_reader
from drydock.verification.decompression import UnreadableLayer
from drydock.verification.layer_reader import read_layer
from drydock.verification.layer_tree import EntryType, LayerTree


def _tar(*entries):
    """Make a tar: name, type, target or bytes, and other fields of each entry."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, extra, *fields in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            for each in fields:
                for field, value in each.items():
                    setattr(info, field, value)
            data = extra if isinstance(extra, bytes) else b""
            info.size = len(data)
            if isinstance(extra, str):
                info.linkname = extra
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _read(raw, **options):
    return read_nested(raw, **options)


FILE, DIR, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def test_compressed_or_not_it_is_the_same():
    """A plain tar, gzip, and gzip of several members give the same tree."""
    plain = _tar(("etc", DIR, None), ("etc/passwd", FILE, b"root"))
    for raw in (plain, gzip.compress(plain), gzip.compress(plain[:700]) + gzip.compress(plain[700:])):
        tree = _read(raw)
        assert tree.children[b"etc"].children[b"passwd"].size == 4


def test_the_last_word_on_a_path_counts():
    """A directory replaces a file, and a file replaces a directory with all its entries."""
    tree = _read(_tar(("a", FILE, b"x"), ("a", DIR, None), ("b", DIR, None), ("b/c", FILE, b"x"), ("b", FILE, b"yy")))
    assert tree.children[b"a"].type is EntryType.DIRECTORY
    assert (tree.children[b"b"].size, tree.children[b"b"].children) == (2, {})


def test_whiteouts_and_opaque_directories():
    """A whiteout has the name that it removes, an opaque mark its directory; files of AUFS are skipped."""
    tree = _read(_tar(("d/.wh.gone", FILE, b""), ("d/.wh..wh..opq", FILE, b""), ("d/.wh..wh.plnk/1", FILE, b"x")))
    folder = tree.children[b"d"]
    assert folder.is_opaque
    assert folder.children[b"gone"].type is EntryType.WHITEOUT
    assert set(folder.children) == {b"gone"}


def test_a_path_through_a_link_of_the_layer_lies_behind_it():
    """With a link ``lib`` to ``usr/lib``, ``lib/x`` is ``usr/lib/x``; absolute and climbing links stay inside."""
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
    """A whiteout of the directory itself or of its parent makes a layer unreadable."""
    with pytest.raises(UnreadableLayer, match="without a name"):
        _read(_tar(("d", DIR, None), (name, FILE, b"")))


def test_names_do_not_leave_the_tree():
    """``..`` and leading slashes are removed, as in containerd."""
    tree = _read(_tar(("/../../etc/x", FILE, b"1"), ("./y", FILE, b"2")))
    assert set(tree.children) == {b"etc", b"y"}


def test_a_hard_link_is_the_same_entry():
    """Both names have the same entry."""
    tree = _read(_tar(("a", FILE, b"x"), ("d/b", HARD, "a")))
    assert tree.children[b"a"] is tree.children[b"d"].children[b"b"]


def _attributes(**values):
    return {"pax_headers": {f"SCHILY.xattr.{name.replace('__', '.')}": value for name, value in values.items()}}


def test_what_is_said_of_the_top_is_ignored():
    """An entry for the root directory is ignored, as in containerd: that directory is the engine's."""
    for name in ("./", ".", "/", "a/.."):
        tree = _read(_tar((name, DIR, None, {"mode": 0o500, "uid": 7}), ("f", FILE, b"")))
        assert (tree.mode, tree.uid, set(tree.children)) == (None, 0, {b"f"})


def test_a_hard_link_changes_what_it_links_to():
    """Owner, mode and attributes of its header replace those of the file; a change of the owner drops a capability."""
    before = _attributes(security__capability="old", user__one="1", user__two="2")
    for after, capability in ((_attributes(user__two="3"), None), (_attributes(security__capability="new"), b"new")):
        tree = _read(_tar(
            ("a", FILE, b"x", {"mode": 0o755}, before), ("b", HARD, "a", {"mode": 0o600, "uid": 7, "gid": 8}, after)
        ))  # fmt: skip
        file = tree.children[b"a"]
        assert (file.mode, file.uid, file.gid, file.size) == (0o600, 7, 8, 1)
        assert file.xattrs.get(b"security.capability") == capability
        assert (file.xattrs[b"user.one"], file.xattrs[b"user.two"]) == (b"1", b"2" if capability else b"3")


def test_a_hard_link_to_a_link_leaves_its_target():
    """Only the owner of the link changes."""
    tree = _read(_tar(("a", LINK, "there"), ("b", HARD, "a", {"uid": 7})))
    assert (tree.children[b"b"].target, tree.children[b"a"].uid) == (b"there", 7)


def test_a_hard_link_to_what_the_layer_has_not():
    """The target may be in a lower layer; the former entry of the name is gone."""
    assert _read(_tar(("b", FILE, b"x"), ("b", HARD, "a"))).children == {}


@pytest.mark.parametrize("kind", [FILE, DIR, LINK, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_attributes_that_are_not_set(kind):
    """Attributes ``trusted.*``, kinds that Linux does not have, ``user.*`` on links and devices, ACLs on links."""
    given = _attributes(
        trusted__a="", com__apple__b="", security__c="c", user__d="d", system__posix_acl_access="e", system__nfs4_acl=""
    )
    expected = {b"security.c": b"c"}
    expected |= {b"user.d": b"d"} if kind in (FILE, DIR) else {}
    expected |= {b"system.posix_acl_access": b"e"} if kind != LINK else {}
    assert _read(_tar(("x", kind, "there" if kind == LINK else None, given))).children[b"x"].xattrs == expected


def test_a_directory_that_comes_twice_has_the_attributes_of_both():
    """The second entry removes no attribute."""
    tree = _read(_tar(("d", DIR, None, _attributes(user__a="1")), ("d", DIR, None, _attributes(user__b="2"))))
    assert tree.children[b"d"].xattrs == {b"user.a": b"1", b"user.b": b"2"}


def test_nothing_of_a_global_header_is_taken():
    """Go applies none of its records; containerd makes its parent directory, and removes what has its name or path."""
    said = {"uid": "1234", "SCHILY.xattr.user.a": "1", "GNU.sparse.size": "7"}
    header = tarfile.TarInfo.create_pax_global_header(said)
    assert header[:14] == b"././@PaxHeader"
    named = bytearray(header)
    named[:100] = b"tmp/GlobalHead".ljust(100, b"\0")
    before = _tar(("tmp/GlobalHead", FILE, b"x"))[:1024]
    tree = _read(before + summed(named) + header + _tar(("f", FILE, b"x")))
    assert (set(tree.children), tree.children[b"tmp"].children) == ({b"tmp", b"f"}, {})
    file = tree.children[b"f"]
    assert (file.uid, file.size, file.xattrs) == (0, 1, {})
    by_path = tarfile.TarInfo.create_pax_global_header({"path": "tmp/GlobalHead"})
    tree = _read(before + by_path + _tar(("f", FILE, b"x")))
    assert (set(tree.children), tree.children[b"tmp"].children) == ({b"tmp", b"f"}, {})


def test_records_that_say_nothing():
    """An empty record leaves the field of the header, as in Go; an empty attribute is set."""
    plain = tarfile.TarInfo("f")
    plain.size, plain.uid = 1, 7
    empty = dict.fromkeys(("path", "linkpath", "size", "uid", "gid", "SCHILY.xattr.user.note"), "")
    raw = tarfile.TarInfo.create_pax_global_header(empty)
    raw = summed(raw[:156] + tarfile.XHDTYPE + raw[157:]) + plain.tobuf(tarfile.USTAR_FORMAT) + b"x".ljust(512, b"\0")
    file = _read(raw).children[b"f"]
    assert (file.size, file.uid, file.xattrs) == (1, 7, {b"user.note": b""})


def test_of_several_extended_headers_in_a_row_the_last_counts():
    """Only the last of them applies, as in Go."""
    raw = _tar(("f", FILE, b"x", _attributes(user__a="1", user__b="2")))[:1024]
    raw += _tar(("f", FILE, b"x", _attributes(user__b="3")))
    assert _read(raw).children[b"f"].xattrs == {b"user.b": b"3"}


@pytest.mark.parametrize(
    "raw", [b"", gzip.compress(b"", mtime=0), bytes(512), bytes(1024)], ids=["empty", "gzip", "one block", "two blocks"]
)
def test_a_layer_of_nothing(raw):
    """A blob without bytes is a layer without entries, as in Go and containerd."""
    tree = _read(raw)
    assert (tree.type, tree.children) == (EntryType.DIRECTORY, {})


def test_links_in_circles_are_refused():
    """A path through a loop of links is an error."""
    with pytest.raises(UnreadableLayer):
        _read(_tar(("a", LINK, "b"), ("b", LINK, "a"), ("a/x", FILE, b"1")))


@pytest.mark.parametrize(
    "raw",
    [
        b"x" * 5000,
        gzip.compress(b"x" * 5000, mtime=0)[:20],
        b"\x1f\x8b" + b"\xff" * 600,
        _tar(("a", FILE, b"x" * 2000))[:900],
    ],
    ids=["text", "cut", "senseless", "cut tar"],
)
def test_what_is_no_layer_is_unreadable(raw):
    """Truncated and random files are unreadable."""
    with pytest.raises(UnreadableLayer):
        _read(raw)


def test_a_header_of_gigabytes_is_not_read():
    """A long-name header that claims 4 GiB is refused before it is read."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    with pytest.raises(UnreadableLayer, match="longer"):
        _read(info.tobuf(format=tarfile.GNU_FORMAT) + b"\0" * 20000)


def test_it_stops_when_told():
    """It stops at the next read, also in the middle of an entry."""
    asked = iter([False, False, True])
    assert _read(_tar(("a", FILE, bytes(8 << 20))), stop=lambda: next(asked)) is None


def _patient():
    """A stop after more calls than any of these tests needs: an endless loop ends, and gives None."""
    turns = iter(range(1000))
    return lambda: next(turns, None) is None


def _header(name, size, **more):
    """An entry without its data, with any number as its size."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.pax_headers = more
    form = tarfile.PAX_FORMAT if more else tarfile.GNU_FORMAT
    return info.tobuf(format=form)


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("name", ["file", ".wh.gone"])
@pytest.mark.parametrize("size", [1000, 1 << 40, 1 << 80])
def test_an_entry_that_goes_on_behind_the_end(name, size, content):
    """Whatever size a header has, reading stops at the end of the archive."""
    raw = _header(name, size) + b"x" * 900
    with pytest.raises(UnreadableLayer, match="cannot be read"):
        _read(raw, content=content, stop=_patient())


@pytest.mark.parametrize(
    "before", ["-9223372036854775808,9223372036854775808,", "0,1,-4611686018427387904,4611686018427387904,"]
)
def test_a_map_that_leads_behind_the_end(before):
    """Parts of a file with holes that lie after the end of the archive."""
    count = str(before.count(",") // 2 + 1)
    sparse = {"GNU.sparse.numblocks": count, "GNU.sparse.map": before + "0,5", "GNU.sparse.size": "5"}
    raw = _header("file", 512, **sparse) + b"x" * 1024
    with pytest.raises(UnreadableLayer):
        _read(raw, stop=_patient())


def test_a_map_that_is_cut_off():
    """The layer ends after a header whose map continues."""
    raw = bytearray(_header("file", 0)[:512])
    raw[156:157], raw[482] = tarfile.GNUTYPE_SPARSE, 1
    with pytest.raises(UnreadableLayer):
        _read(summed(raw))


def test_holes_of_any_length():
    """A hole takes no room in a layer, so 1 KiB could take years to hash."""
    size = 1 << 62
    raw = _header(
        "file", 0, **{"GNU.sparse.numblocks": "1", "GNU.sparse.map": f"{size},0", "GNU.sparse.size": str(size)}
    ) + bytes(1024)
    with pytest.raises(UnreadableLayer, match="holes"):
        _read(raw)


def test_it_stops_within_a_hole():
    """It stops within a hole, for which nothing is read."""
    size = 1 << 33
    raw = _header(
        "file", 0, **{"GNU.sparse.numblocks": "1", "GNU.sparse.map": f"{size},0", "GNU.sparse.size": str(size)}
    ) + bytes(1024)
    asked = iter([False] * 10)
    assert _read(raw, stop=lambda: next(asked, True)) is None


@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
def test_files_with_holes(form, tmp_path):
    """Files with holes by GNU tar have their full size, and the digest includes the holes."""
    with (tmp_path / "file").open("wb") as file:
        for at in (100_000, 400_000):
            file.seek(at)
            file.write(b"x" * 5000)
        file.truncate(1_000_000)
    words = ["--format=gnu"] if form == "gnu" else ["--format=posix", f"--sparse-version={form}"]
    call = ["tar", "--sparse", *words, "-C", tmp_path, "-cf", "-", "file"]
    raw = subprocess.run(call, capture_output=True, check=True).stdout
    assert len(raw) < 100_000
    found = _read(raw).children[b"file"]
    whole = (tmp_path / "file").read_bytes()
    assert (found.size, found.sha256) == (len(whole), hashlib.sha256(whole).digest())


def _many(kind):
    """Make a layer of very long entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(5):
            info = tarfile.TarInfo(f"{number}")
            data = b""
            if kind == "attributes":
                info.pax_headers = {"SCHILY.xattr.user.long": "x" * (3 << 20)}
            elif kind == "links" and not number:
                info.type, info.linkname = LINK, "./" * 10_000
            elif kind == "links":
                info.name = f"0/{number}/x"
            elif kind == "folders":
                info.name += "/a" * 4000
            else:
                info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x"}
                data = b"9999999\n" + b"0\n" * (8 << 20)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "why"), [("attributes", "longer"), ("links", "too many links"), ("folders", "longer"), ("holes", "longer")]
)
def test_what_one_entry_takes_is_bounded(kind, why, monkeypatch):
    """Too long attributes, paths, maps of holes and chains of links are refused, and not kept in memory."""
    monkeypatch.setattr(layer_reader, "_MOST_FOLLOWED", 1 << 14)
    with pytest.raises(UnreadableLayer, match=why):
        _read(_many(kind))


def test_a_global_header_of_megabytes_is_refused():
    """One of megabytes is refused; any number of short ones is read."""
    header = tarfile.TarInfo.create_pax_global_header({"comment": "x"})
    assert _read(header * 3000).children == {}
    with pytest.raises(UnreadableLayer, match="longer"):
        _read(tarfile.TarInfo.create_pax_global_header({"comment": "x" * (2 << 20)}))


def test_the_blob_is_read_little_by_little():
    """The blob is read in small steps, also if it unpacks to far more, as progress counts its bytes."""
    raw = gzip.compress(_tar(*((f"{number:05}", FILE, b"") for number in range(20_000))), compresslevel=1, mtime=0)
    steps = []

    class Steps(Raw):
        def readinto(self, buffer):
            steps.append(super().readinto(buffer))
            return steps[-1]

    with closing(LayerTree([])) as tree:
        assert read_layer(Steps(raw), tree, content=False, stop=lambda: False)
        assert tree.count == 20_000
    assert max(steps) < len(raw) // 2

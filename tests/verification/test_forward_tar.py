"""Archives read as Go's archive/tar reads them: containerd unpacks layers with it."""

import gzip
import hashlib
import io
import random
import subprocess
import tarfile
from pathlib import Path

import pytest
from fuzz.layer import summed
from tests.support import gotar
from tests.support.captures import captures

from drydock.verification.decompression import LayerStream, UnreadableLayer
from drydock.verification.forward_tar import GLOBAL, TarReader
from fuzz import layer

needs_go = pytest.mark.skipif(bool(gotar.why_not()), reason=gotar.why_not() or "Go is there")

DATA = bytes(range(256)) * 20_000


def _read(source):
    """Every entry with the digest of its data, and whether the archive ended well."""
    entries = []
    reader = TarReader(source)
    try:
        while (entry := reader.next()) is not None:
            digest = hashlib.sha256()
            for chunk in reader.data(entry):
                digest.update(chunk)
            entries.append((entry, digest.digest()))
    except UnreadableLayer as error:
        return entries, str(error)
    return entries, ""


def _same_as_go(raw):
    """Compare what is read, up to the first error, with what Go reads; give Go's list."""
    listed = gotar.list_tar(raw)
    entries, error = _read(io.BytesIO(raw).read)
    found = [
        {
            "name": entry.name, "kind": entry.kind, "link": entry.target, "mode": entry.mode, "uid": entry.uid,
            "gid": entry.gid, "size": entry.size, "major": entry.device[0], "minor": entry.device[1],
            "records": dict(entry.records), "sha256": digest,
        }
        for entry, digest in entries
    ]  # fmt: skip
    expected = [{key: value for key, value in entry.items() if key != "mtime"} for entry in listed.entries]
    for entry in expected:
        # Nothing of a global header counts but its name.
        entry["records"] = {} if entry["kind"] == GLOBAL else entry["records"]
    assert found == expected
    assert bool(error) == bool(listed.error), (error, listed.error)
    assert not error or error.isprintable()
    return listed


def _tar(members, form):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _in_parts(raw, sizes):
    """A source that gives less than it is asked for, as a pipe does."""
    stream, parts = io.BytesIO(raw), iter(sizes)
    return lambda size: stream.read(min(size, next(parts, size)))


def _next(reader):
    entry = reader.next()
    assert entry is not None
    return entry


def test_what_is_read_is_what_there_is():
    """Across what the source gives at once, an entry that is not read too; and nothing after the end."""
    raw = _tar((("one", DATA), ("skipped", DATA[:-3]), ("two", DATA[5:])), tarfile.PAX_FORMAT)
    for sizes in ([1, 511, 3], [700] * 2000, [len(raw)]):
        reader = TarReader(_in_parts(raw, sizes))
        assert b"".join(reader.data(_next(reader))) == DATA
        assert _next(reader).name == b"skipped"
        chunks = list(reader.data(_next(reader)))
        assert b"".join(chunks) == DATA[5:]
        assert max(map(len, chunks)) <= 1 << 20
        assert reader.next() is None


def test_an_end_that_comes_early():
    """In as many reads as there is data, however much a header says there is."""
    info = tarfile.TarInfo("file")
    info.size = 1 << 40
    raw, asked = info.tobuf(tarfile.GNU_FORMAT) + b"x" * 700, []

    def source(size):
        asked.append(size)
        return raw[:600] if len(asked) == 1 else raw[600:] if len(asked) == 2 else b""

    for consume in (lambda reader, entry: list(reader.data(entry)), lambda reader, _: reader.next()):
        asked.clear()
        reader = TarReader(source)
        entry = _next(reader)
        with pytest.raises(UnreadableLayer, match="ends within an entry"):
            consume(reader, entry)
        assert len(asked) == 3


OCTAL, BINARY = b"15302035613\0", b"\x80" + bytes(7) + b"\x6a\x17\x3b\x8b"
PREFIXES = [
    (b"ustar\x0000", b"usr/share", True),
    (b"ustar\x0000", OCTAL, True),
    # As tar --format=gnu --listed-incremental writes them.
    (b"ustar  \0", OCTAL + OCTAL, False),
    (b"ustar  \0", bytes(12) + OCTAL, False),
    (b"ustar  \0", BINARY + BINARY, False),
    (b"ustar  \0", b"\xff" * 24, False),
    # As Go wrote them before 1.8; but not with other letters.
    (b"ustar  \0", b"usr/share", True),
    (b"ustar  \0", OCTAL[:11] + b"/usr/share", True),
    (b"ustar  \0", "usr/é".encode(), False),
    (b"ustar  \0", b"\x90" + bytes(11), False),
    (bytes(8), b"usr/share", False),
]


def _header(**fields):
    """A plain header with fields overwritten, and a right sum."""
    places = {"name": 0, "mode": 100, "uid": 108, "size": 124, "mtime": 136, "kind": 156, "link": 157, "magic": 257,
              "major": 329, "prefix": 345, "atime": 476, "trailer": 508}  # fmt: skip
    raw = bytearray(tarfile.TarInfo("file").tobuf(tarfile.USTAR_FORMAT))
    for field, value in fields.items():
        raw[places[field] : places[field] + len(value)] = value
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


@pytest.mark.parametrize(("magic", "prefix", "is_read"), PREFIXES)
@pytest.mark.parametrize("name", [b"app.conf", b"d/"])
def test_the_name_is_that_which_go_reads(magic, prefix, is_read, name):
    """A prefix where the format has one, and not the times of a GNU header."""
    raw = _header(name=name.ljust(100, b"\0"), magic=magic, prefix=prefix.ljust(155, b"\0"))
    ((entry, _),), error = _read(io.BytesIO(raw).read)
    assert not error
    assert entry.name == (prefix.partition(b"\0")[0] + b"/" + name if is_read else name)
    if not gotar.why_not():
        _same_as_go(raw)


def _pax(*records, kind=b"x"):
    """An extended header of records that are written as they come."""
    body = b"".join(records)
    head = _header(name=b"pax".ljust(100, b"\0"), kind=kind, size=b"%011o\0" % len(body))
    return head + body + bytes(-len(body) % 512)


def _record(key, value):
    length = len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length + len(b"%d" % (length + len(b"%d" % length))), key, value)


def _long(kind, data):
    return _header(kind=kind, size=b"%011o\0" % len(data)) + data + bytes(-len(data) % 512)


SPARSE = (_record(b"GNU.sparse.major", b"1"), _record(b"GNU.sparse.minor", b"0"))
OLD = (_record(b"GNU.sparse.size", b"9"), _record(b"GNU.sparse.numblocks", b"1"))
FILE = _header(size=b"%011o\0" % 4) + b"data".ljust(512, b"\0")
SIGNED = bytearray(_header(name=b"\xff\xfe"))
SIGNED[148:156] = b"%06o\0 " % (sum(SIGNED[:148] + b" " * 8 + SIGNED[156:]) - 2 * 256)
STAR = {"magic": b"ustar\x0000", "trailer": b"tar\0"}
HOLES = b"1\n5\n4\n".ljust(512, b"\0") + b"data".ljust(512, b"\0")
ODD = {
    "nothing": b"",
    "a block of zeros": bytes(512),
    "a block of zeros and half a block": bytes(700),
    "zeros between entries": FILE + bytes(512) + FILE,
    "garbage after the end": FILE + bytes(1024) + b"x" * 5000,
    "garbage after an entry": FILE + b"x" * 512,
    "half a header": FILE + FILE[:100],
    "no padding at the end": FILE[: 512 + 4],
    "some padding at the end": FILE[: 512 + 100],
    "a wrong sum": FILE[:20] + b"x" + FILE[21:],
    "a sum of signed bytes": bytes(SIGNED),
    "no magic": _header(magic=bytes(8), major=b"no device"[:8]),
    "a directory by its name alone": _header(name=b"d/", kind=b"\0", size=b"%011o\0" % 4),
    "a directory by its long name alone": _pax(_record(b"path", b"d/")) + _header(kind=b"\0"),
    "a link with a size": _header(kind=b"2", link=b"there", size=b"%011o\0" % 4) + FILE,
    "an unknown type with data": _header(kind=b"Z", size=b"%011o\0" % 4) + b"data".ljust(512, b"\0") + FILE,
    "spaces in numbers": _header(mode=b"   644 \0", uid=b"  12\0   ", size=b"          0 "),
    "no number": _header(mode=b"0000648\0"),
    "letters behind a number": _header(uid=b"12\0x   y"),
    "a time that is no number": _header(mtime=b"yesterday..."),
    "a device that is no number": _header(major=b"x" * 8),
    "a negative size": _header(size=b"\xff" * 12),
    "a negative owner": _header(uid=b"\xff" * 8),
    "a number of 64 bits": _header(size=b"\x80\0\0\0" + b"\xff" * 8),
    "a large owner": _header(uid=b"\x80\0\0\1\2\3\4\5"),
    "star": _header(**STAR, prefix=b"p" * 131, atime=b"%011o\0" % 7),
    "star with a wrong time": _header(**STAR, atime=b"yesterday"),
    "a long name over a path": _pax(_record(b"path", b"pax")) + _long(b"L", b"gnu\0more") + FILE,
    "a long link": _long(b"K", b"target") + _header(kind=b"1"),
    "an empty long name": _long(b"L", b"\0") + FILE,
    "a long name cut off": _long(b"L", b"n" * 2000)[:1200],
    "a long name without a file": _long(b"L", b"name"),
    "two long names": _long(b"L", b"one") + _long(b"L", b"two") + FILE,
    "two extended headers": _pax(_record(b"uid", b"7")) + _pax(_record(b"gid", b"8")) + FILE,
    "an extended header without an entry": _pax(_record(b"uid", b"7")),
    "a global header": _pax(_record(b"uid", b"7"), kind=b"g") + FILE,
    "a global header with a path": _pax(_record(b"path", b"else"), kind=b"g") + FILE,
    "a global header between": _pax(_record(b"uid", b"7")) + _pax(kind=b"g") + FILE,
    "empty records": _pax(_record(b"path", b""), _record(b"size", b""), _record(b"SCHILY.xattr.a", b"")) + FILE,
    "a record twice": _pax(_record(b"path", b"one"), _record(b"path", b"two")) + FILE,
    "numbers with a sign": _pax(_record(b"uid", b"+7"), _record(b"gid", b"-8")) + FILE,
    "a number with underscores": _pax(_record(b"uid", b"1_000")) + FILE,
    "a number with blanks": _pax(_record(b"uid", b" 7")) + FILE,
    "a number of 65 bits": _pax(_record(b"uid", b"%d" % (1 << 63))) + FILE,
    "a size over the header's": _pax(_record(b"size", b"3")) + FILE,
    "a negative size in a record": _pax(_record(b"size", b"-3")) + FILE,
    "times": _pax(_record(b"mtime", b"-5.25"), _record(b"atime", b"7."), _record(b"ctime", b"1.1234567890123")) + FILE,
    "a time with letters": _pax(_record(b"mtime", b"5.2x")) + FILE,
    "a time with two dots": _pax(_record(b"mtime", b"5.2.3")) + FILE,
    "a time without seconds": _pax(_record(b"mtime", b".5")) + FILE,
    "a record that is too long": _pax(b"99 uid=7\n") + FILE,
    "a record that is too short": _pax(b"4 a\n") + FILE,
    "a record without a blank": _pax(b"8uid=7\n") + FILE,
    "a record without a key": _pax(b"5 =a\n") + FILE,
    "a record without a line's end": _pax(b"8 uid=77") + FILE,
    "a record without a value": _pax(b"6 uid\n") + FILE,
    "a record whose length has a sign": _pax(b"+9 uid=7\n") + FILE,
    "a NUL in a path": _pax(_record(b"path", b"a\0b")) + FILE,
    "a NUL in an attribute": _pax(_record(b"SCHILY.xattr.user.a", b"\0\xff=")) + FILE,
    "a NUL in a key": _pax(_record(b"SCHILY.\0", b"a")) + FILE,
    "holes": _pax(*SPARSE, _record(b"GNU.sparse.name", b"h"), _record(b"GNU.sparse.realsize", b"20"))
    + _header(size=b"%011o\0" % 516) + HOLES,
    "holes beyond the file": _pax(*SPARSE, _record(b"GNU.sparse.realsize", b"8")) + _header(size=b"%011o\0" % 516)
    + HOLES,
    "holes with more data": _pax(*SPARSE, _record(b"GNU.sparse.realsize", b"20")) + _header(size=b"%011o\0" % 600)
    + HOLES,
    "holes with less data": _pax(*SPARSE, _record(b"GNU.sparse.realsize", b"20")) + _header(size=b"%011o\0" % 514)
    + HOLES,
    "holes of a link": _pax(*OLD, _record(b"GNU.sparse.map", b"0,0")) + _header(kind=b"2"),
    "holes of an unknown version": _pax(_record(b"GNU.sparse.major", b"2"), *OLD) + FILE,
    "a map in a record": _pax(*OLD, _record(b"GNU.sparse.map", b"5,4")) + FILE,
    "a map that is longer than it says": _pax(*OLD, _record(b"GNU.sparse.map", b"0,1,5,3")) + FILE,
    "a map that overlaps": _pax(OLD[0], _record(b"GNU.sparse.numblocks", b"2"), _record(b"GNU.sparse.map", b"0,3,2,1"))
    + FILE,
    "a map without its length": _pax(OLD[0], _record(b"GNU.sparse.map", b"5,4")) + FILE,
    "a map in many records": _pax(*OLD, _record(b"GNU.sparse.offset", b"5"), _record(b"GNU.sparse.numbytes", b"4"))
    + FILE,
    "a map out of order": _pax(*OLD, _record(b"GNU.sparse.numbytes", b"4"), _record(b"GNU.sparse.offset", b"5")) + FILE,
    "an empty map": _pax(_record(b"GNU.sparse.major", b"0"), _record(b"GNU.sparse.minor", b"1"),
                         _record(b"GNU.sparse.size", b"9"), _record(b"GNU.sparse.numblocks", b"0")) + _header(),
    "a map in the data that is cut off": _pax(*SPARSE) + _header(size=b"%011o\0" % 512) + b"9\n1\n".ljust(512, b"\0"),
    "a map in the data without lines": _pax(*SPARSE) + _header(size=b"%011o\0" % 1024) + bytes(1024),
    "a map in the data of a negative length": _pax(*SPARSE) + _header(size=b"%011o\0" % 512) + b"-1\n".ljust(512),
}  # fmt: skip


@needs_go
@pytest.mark.parametrize("name", ODD)
def test_odd_archives(name):
    """What Go takes is read as Go reads it, and what Go refuses is refused."""
    _same_as_go(ODD[name])


def test_odd_archives_are_taken_and_refused():
    """The list above has both kinds, many of each."""
    errors = [bool(_read(io.BytesIO(raw).read)[1]) for raw in ODD.values()]
    assert min(sum(errors), len(errors) - sum(errors)) > 30


@needs_go
def test_maps_in_headers():
    """GNU's old format: four parts in the header, more in blocks that follow, by GNU tar and by hand."""
    raw = next(seed for seed in layer.seeds() if seed[156:157] == b"S")
    (entry,) = _same_as_go(raw).entries
    assert (entry["size"], entry["kind"]) == (4000, b"S")
    for at, value in ((482, 1), (386, 0), (257, 0), (483, 0x80), (398, 0x39)):
        changed = bytearray(raw)
        changed[at] = value
        _same_as_go(summed(bytes(changed)))


@needs_go
@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0", "v7", "oldgnu", "ustar"])
def test_archives_of_gnu_tar(form, tmp_path):
    """Each of its formats, with long names, links and a file of fifty holes."""
    (tmp_path / "tree" / ("n" * 90)).mkdir(parents=True)
    (tmp_path / "tree/link").symlink_to("t" * 90)
    (tmp_path / "tree/hard").hardlink_to(tmp_path / "tree/link")
    if form not in ("v7", "ustar"):
        (tmp_path / "tree" / ("n" * 200)).write_bytes(b"long")
        (tmp_path / "tree/far").symlink_to("t" * 300)
    with (tmp_path / "tree/sparse").open("wb") as file:
        for number in range(50):
            file.seek(number * 100_000)
            file.write(b"x" * 5000)
        file.truncate(6_000_000)
    words = ["--format=posix", f"--sparse-version={form}"] if form[0].isdigit() else [f"--format={form}"]
    sparse = [] if form in ("v7", "ustar") else ["--sparse"]
    call = ["tar", *sparse, *words, "-C", tmp_path, "-cf", "-", "tree"]
    listed = _same_as_go(subprocess.run(call, capture_output=True, check=True).stdout)
    assert not listed.error
    assert len(listed.entries) == (5 if form in ("v7", "ustar") else 7)


@needs_go
def test_what_fuzzers_kept():
    """Every seed and every kept input of the fuzzer of layers, without its compression."""
    kept = [path.read_bytes() for path in sorted(Path(layer.__file__).with_name("corpus").joinpath("layer").iterdir())]
    count = 0
    for raw in (*layer.seeds(), *kept):
        try:
            stream, parts = LayerStream(io.BufferedReader(io.BytesIO(raw)), lambda: False), []
            while part := stream.read(1 << 20):
                parts.append(part)
        except UnreadableLayer:
            continue
        plain = b"".join(parts)
        if all(entry.size <= gotar.HASHED for entry, _ in _heads(plain)):
            _same_as_go(plain)
            count += 1
    assert count > 40


def _heads(raw):
    """The entries without their data, which may be holes of any length."""
    reader, found = TarReader(io.BytesIO(raw).read), []
    try:
        while (entry := reader.next()) is not None:
            found.append((entry, b""))
    except UnreadableLayer:
        pass
    return found


@needs_go
@pytest.mark.parametrize("seed", range(4))
def test_archives_changed_at_random(seed):
    """A few bytes of the odd archives exchanged, with right sums: read as Go reads it, or refused as Go refuses it."""
    rng = random.Random(seed)
    texts = [b"\0", b" ", b"7", b"8", b"=", b"\n", b",", b"-", b"\xff", b"\x80", b"x", b"g", b"L", b"S", b"0"]
    archives = [raw for raw in ODD.values() if len(raw) >= 512]
    for _ in range(60):
        raw = bytearray(rng.choice(archives) + rng.choice(archives))
        for _ in range(rng.randint(1, 3)):
            raw[rng.choice((rng.randrange(len(raw)), rng.randrange(100, 500)))] = rng.choice(texts)[0]
        changed = summed(bytes(raw))
        if all(entry.size <= gotar.HASHED for entry, _ in _heads(changed)):
            _same_as_go(changed)


@needs_go
@pytest.mark.slow
@pytest.mark.parametrize("capture", captures(), ids=lambda capture: capture.name)
def test_layers_of_captures(capture):
    """Every layer that a real engine pulled, as Go reads it; of a blob that was cut, as far as it goes."""
    packed = subprocess.run(["zstd", "-dc", capture.archive], capture_output=True, check=True).stdout
    errors = []
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for member in tar:
            if "/blobs/sha256/" not in member.name or not member.isreg():
                continue
            file = tar.extractfile(member)
            assert file is not None
            blob = file.read()
            if blob.startswith(b"\x1f\x8b"):
                try:
                    blob = gzip.decompress(blob)
                except (OSError, EOFError):
                    continue
            if blob[257:262] == b"ustar":
                errors.append(_same_as_go(blob).error)
    assert errors
    assert any(errors) == ("damaged" in capture.name)

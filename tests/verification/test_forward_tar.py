"""The stream that tarfile reads: every byte once, in order, and an end that is one; and the names in its headers."""

import io
import tarfile

import pytest

from drydock.verification.forward_tar import Forward, Header

DATA = bytes(range(256)) * 20_000


def _in_parts(sizes):
    """A source that gives less than it is asked for, as a pipe does."""
    stream, parts = io.BytesIO(DATA), iter(sizes)
    return Forward(lambda size: stream.read(min(size, next(parts, size))))


def test_what_is_read_is_what_there_is():
    """Across what the source gives at once; where it is after each, and nothing at the end."""
    stream = _in_parts([1, 511, 3])
    assert [stream.read(size) for size in (512, 0, 3_000_000)] == [DATA[:512], b"", DATA[512:3_000_512]]
    assert stream.tell() == 3_000_512
    assert stream.read(len(DATA)) == DATA[3_000_512:]
    assert (stream.read(1), stream.tell()) == (b"", len(DATA))


def test_going_on():
    """To any byte ahead; to the end at most, in as many reads as there is data; never back."""
    stream = _in_parts([700])
    assert (stream.seek(2_000_000), stream.read(4)) == (2_000_000, DATA[2_000_000:2_000_004])
    assert stream.seek(2_000_004) == 2_000_004
    with pytest.raises(tarfile.StreamError):
        stream.seek(5)
    asked = []
    stream = Forward(lambda size: asked.append(size) or (b"x" if len(asked) < 4 else b""))
    assert (stream.seek(1 << 90), len(asked) < 10) == (3, True)


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


@pytest.mark.parametrize(("magic", "prefix", "is_read"), PREFIXES)
@pytest.mark.parametrize("name", [b"app.conf", b"d/"])
def test_the_name_is_that_which_go_reads(magic, prefix, is_read, name):
    """Tried with archive/tar of Go 1.19: a prefix where the format has one, and not the times of a GNU header."""
    raw = bytearray(tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT))
    raw[:100], raw[257:265], raw[345:500] = name.ljust(100, b"\0"), magic, prefix.ljust(155, b"\0")
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    header = Header.frombuf(bytes(raw), "utf-8", "surrogateescape")
    expected = prefix.partition(b"\0")[0] + b"/" + name if is_read else name
    assert header.name.rstrip("/") == expected.decode().rstrip("/")

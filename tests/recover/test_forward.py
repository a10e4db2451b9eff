"""The stream that tarfile reads: every byte once, in order, and an end that is one."""

import io
import tarfile

import pytest

from drydock.recover.forward import Forward

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

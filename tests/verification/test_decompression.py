"""Decompression of layers: the output of the zstd command, damaged frames, and frames that unpack to very much."""

import gzip
import io
import os
import subprocess
import sys

import pytest

from drydock.verification import decompression
from drydock.verification.decompression import LayerStream, NoDecoder, ReadStopped, UnreadableLayer

PLAIN = b"".join(b"%d %d\n" % (number, number**3) for number in range(50_000))
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"aside!!"


def _zstd(data, *options):
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, capture_output=True, check=True).stdout


def _plain(raw, stop=lambda: False):
    return LayerStream(io.BufferedReader(io.BytesIO(raw)), stop)


def _all(raw):
    plain, parts = _plain(raw), []
    while part := plain.read(1 << 16):
        parts.append(part)
    return b"".join(parts)


FORMS = {
    "plain": lambda: PLAIN,
    "gzip": lambda: gzip.compress(PLAIN),
    "zstd": lambda: _zstd(PLAIN),
    "without a checksum": lambda: _zstd(PLAIN, "-19", "--no-check"),
    "the largest window": lambda: _zstd(PLAIN, "--ultra", "-22", "--long=27"),
    "two frames": lambda: _zstd(PLAIN[:1000]) + _zstd(PLAIN[1000:]),
    "frames to skip": lambda: SKIPPABLE + _zstd(PLAIN[:1000]) + SKIPPABLE + _zstd(PLAIN[1000:]) + SKIPPABLE,
}


@pytest.mark.parametrize("form", FORMS)
def test_what_other_programs_compressed(form):
    """Each form gives the same bytes; zstd:chunked keeps its table in skippable frames."""
    assert _all(FORMS[form]()) == PLAIN


def _header(data, **fields):
    """Change a frame's header: ``size`` is that of the content, ``window`` the window descriptor."""
    raw = bytearray(data)
    if "size" in fields:
        assert raw[4] & 0xE0 == 0xA0, "a single segment of four bytes of size"
        raw[5:9] = fields["size"].to_bytes(4, "little")
    if "window" in fields:
        assert not raw[4] & 0x20
        raw[5] = fields["window"]
    return bytes(raw)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-1],
        lambda raw: raw[:3],
        lambda raw: raw[:9],
        lambda raw: raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 0xFF]) + raw[len(raw) // 2 + 1 :],
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw: raw + b"no frame",
        lambda raw: _header(raw, size=len(PLAIN) + 1),
        lambda raw: _header(raw, size=len(PLAIN) - 1),
    ],
    ids=["half", "last byte", "magic", "header", "flipped", "checksum", "followed", "longer", "shorter"],
)
def test_damaged_frames(damage, tmp_path):
    """A truncated or changed frame, one followed by other bytes, or with a wrong size, is unreadable."""
    (tmp_path / "plain").write_bytes(PLAIN)
    raw = damage(_zstd(b"", "--single-thread", tmp_path / "plain"))
    if len(raw) < 4:
        assert _all(raw) == raw
        return
    with pytest.raises(UnreadableLayer) as caught:
        _all(raw)
    assert not isinstance(caught.value, NoDecoder)


def test_windows_larger_than_is_given():
    """A frame that needs too much memory is not decoded, and not called damaged: zstd itself decodes it."""
    with pytest.raises(NoDecoder, match="window of 512 MiB"):
        _all(_zstd(PLAIN, "--ultra", "-22", "--long=29"))
    frame = _zstd(PLAIN)
    with pytest.raises(NoDecoder, match="MiB"):
        _all(_header(frame, window=0xFF))
    single = b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + bytes(8)
    with pytest.raises(NoDecoder, match="window of 1048576 MiB"):
        _all(single)


@pytest.mark.slow
def test_a_bomb_takes_little_memory(tmp_path):
    """1 GiB of zeros in 33 KiB of zstd are read in a process with 300 MiB of address space."""
    bomb = tmp_path / "bomb"
    subprocess.run(f"head -c 1G /dev/zero | zstd -q --long=27 -o {bomb}", shell=True, check=True)
    assert bomb.stat().st_size < 1 << 20
    script = (
        "import io, resource, sys\n"
        "from drydock.verification.decompression import LayerStream\n"
        "plain = LayerStream(io.BufferedReader(io.FileIO(sys.argv[1])), lambda: False)\n"
        "first = plain.read(1 << 20)\n"
        "base = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (base + (300 << 20),) * 2)\n"
        "count = len(first)\n"
        "while part := plain.read(1 << 20):\n"
        "    count += len(part)\n"
        "print(count)\n"
    )
    said = subprocess.run([sys.executable, "-c", script, bomb], capture_output=True, check=True, text=True)
    assert int(said.stdout) == 1 << 30


def test_a_bomb_can_be_stopped(tmp_path):
    """A stop ends it at the next read, however much is left."""
    asked = []
    plain = _plain(_zstd(bytes(64 << 20)), stop=lambda: asked.append(1) or len(asked) > 3)
    with pytest.raises(ReadStopped):
        sum(len(plain.read(1 << 16)) for _ in range(1000))
    assert len(asked) == 4


def test_without_the_library(monkeypatch):
    """Without a decoder for zstd the error names the extra to install, and its class differs from that of damage."""
    package = "compression" if sys.version_info >= (3, 14) else "backports"
    monkeypatch.setitem(sys.modules, f"{package}.zstd", None)
    if package in sys.modules:
        # Imported already, it is found there.
        monkeypatch.delattr(sys.modules[package], "zstd", raising=False)
    with pytest.raises(NoDecoder, match="no module that reads it") as found:
        _all(_zstd(PLAIN))
    assert found.value.remedy == "pip install 'containerd-drydock[zstd]'"
    assert _all(gzip.compress(PLAIN)) == PLAIN


def test_random_bytes_after_the_magic():
    """Any bytes after the magic give one of the two errors."""
    for _ in range(200):
        with pytest.raises(UnreadableLayer):
            _all(decompression._ZSTD + os.urandom(200))

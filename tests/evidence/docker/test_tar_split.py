"""The tar of a classic layer is made again byte for byte, or it is said what is wrong."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
import zlib
from pathlib import Path

import pytest

from drydock.evidence.docker.tar_split import LayerTar, UnusableTarSplit
from drydock.model.data import Fingerprint
from drydock.model.layer_store import LayerRecord
from drydock.model.names import Digest, RawPath

CHAIN = Digest(b"sha256:" + b"c" * 64)
RECORD = RawPath(b"image/overlay2/layerdb/sha256/" + b"c" * 64)
LAYER = LayerRecord(CHAIN, RECORD, Fingerprint(0, 0, 0, 0, 0, 0), 0, b"cache", CHAIN, None, 0, True)
FILES = {
    b"etc/": None,
    b"etc/passwd": b"root:x:0:0\n",
    b"./srv/b\xff": os.urandom(3000),
    b"empty": b"",
    b"usr/lib/" + b"long" * 60: b"x" * 512,
}


def _tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for name, data in FILES.items():
            member = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            member.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            member.size = len(data or b"")
            archive.addfile(member, io.BytesIO(data or b""))
        link = tarfile.TarInfo("hard")
        link.type, link.linkname = tarfile.LNKTYPE, "etc/passwd"
        archive.addfile(link)
    return made.getvalue()


def _split(raw: bytes) -> list[dict]:
    """The lines that tar-split writes: bytes of the tar, with a line for each file in place of the file's bytes."""
    lines: list[dict] = []

    def segment(data: bytes) -> None:
        lines.append({"type": 2, "payload": base64.b64encode(data).decode(), "position": len(lines)})

    at = 0
    with tarfile.open(fileobj=io.BytesIO(raw), errors="surrogateescape") as archive:
        for member in archive:
            segment(raw[at : member.offset_data])
            name = member.name.encode("utf-8", "surrogateescape")
            data = raw[member.offset_data : member.offset_data + member.size]
            named = {"name_raw": base64.b64encode(name).decode()} if b"\xff" in name else {"name": name.decode()}
            check = base64.b64encode(zlib.crc32(data).to_bytes(8, "big")).decode()
            size = {"size": member.size} if member.size else {}
            lines.append({"type": 1, **named, **size, "payload": check, "position": len(lines)})
            at = member.offset_data + member.size
    segment(raw[at:])
    return lines


@pytest.fixture
def layer(tmp_path):
    """A data root with the layer, and the tar that it was made of."""
    raw = _tar()
    diff = tmp_path / "overlay2/cache/diff"
    for name, data in FILES.items():
        path = Path(os.fsdecode(os.path.join(os.fsencode(diff), name)))
        if data is None:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    _write(tmp_path, _split(raw))
    return tmp_path, raw


def _write(data: Path, lines: list[dict]) -> None:
    (data / os.fsdecode(RECORD)).mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (data / os.fsdecode(RECORD) / "tar-split.json.gz").write_bytes(gzip.compress(text))


def _read(data: Path, record: LayerRecord = LAYER) -> bytes:
    tar = LayerTar(RawPath(os.fsencode(data)), record)
    made = b"".join(tar.chunks())
    assert len(made) == tar.size
    return made


def test_the_tar_is_made_again(layer):
    """With names that are not UTF-8, long ones, empty files, folders and hard links: every byte is the same."""
    data, raw = layer
    assert _read(data) == raw


def _shorten(data: Path) -> None:
    (data / "overlay2/cache/diff/etc/passwd").write_bytes(b"root")


def _lengthen(data: Path) -> None:
    (data / "overlay2/cache/diff/etc/passwd").write_bytes(b"root" * 100)


def _link_outside(data: Path) -> None:
    (data / "etc").mkdir()
    (data / "etc/passwd").write_bytes(FILES[b"etc/passwd"])
    (data / "overlay2/cache/diff/etc/passwd").unlink()
    (data / "overlay2/cache/diff/etc").rmdir()
    (data / "overlay2/cache/diff/etc").symlink_to(data / "etc")


def _replace_by_link(data: Path) -> None:
    (data / "outside").write_bytes(FILES[b"etc/passwd"])
    (data / "overlay2/cache/diff/etc/passwd").unlink()
    (data / "overlay2/cache/diff/etc/passwd").symlink_to(data / "outside")


def _cut(data: Path) -> None:
    path = data / os.fsdecode(RECORD) / "tar-split.json.gz"
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: (data / "overlay2/cache/diff/etc/passwd").unlink(), "etc/passwd: No such file or directory"),
        (_shorten, "etc/passwd: it is 7 bytes too short"),
        (_lengthen, "etc/passwd: it is longer than the 11 bytes of the layer"),
        (_link_outside, "etc/passwd: "),
        (_replace_by_link, "etc/passwd: not a regular file"),
        (lambda data: (data / "overlay2/cache").rename(data / "gone"), "its directory: No such file or directory"),
        (lambda data: (data / os.fsdecode(RECORD) / "tar-split.json.gz").unlink(), "No such file or directory"),
        (_cut, "tar-split.json.gz: it is damaged"),
        (lambda data: _write(data, [{"type": 3, "payload": ""}]), "it is damaged"),
        (lambda data: _write(data, [{"type": 1, "name": "a", "size": -1}]), "it is damaged"),
        (lambda data: _write(data, [{"type": 2, "payload": "!"}]), "it is damaged"),
        (lambda data: _write(data, [[]]), "it is damaged"),
        (lambda data: _write(data, [{"type": 1, "name": "a\0b", "size": 1}]), "no file can have this name"),
    ],
)
def test_what_is_wrong_is_said(layer, spoil, said):
    """Nothing outside of the layer is read, and no tar that lacks something is made."""
    data, _ = layer
    spoil(data)
    with pytest.raises(UnusableTarSplit) as error:
        _read(data)
    assert said in str(error.value)


def test_a_name_leads_nowhere_else(layer):
    """A name that climbs out of the layer is one in the layer, as Go joins it to the directory."""
    data, _ = layer
    (data / "overlay2/secret").write_bytes(b"secret")
    _write(data, [{"type": 1, "name": "../../secret", "size": 6, "payload": ""}])
    with pytest.raises(UnusableTarSplit, match="secret: No such file"):
        _read(data)


def test_a_layer_without_directory(layer):
    """Its record does not name one."""
    data, _ = layer
    with pytest.raises(UnusableTarSplit, match="the name of its directory"):
        _read(data, LAYER._replace(cache_id=None))

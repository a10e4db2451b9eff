"""The checksum of a layer of the classic store, from a tar-split that is written here from a tar of Python's own."""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest
from tests.support.classic_root import ClassicRoot, hexed

from drydock.evidence.docker.layer_store import read_layer_store
from drydock.verification.layer_checksums import LayerComparison, compare_layer

FILES = {"etc/passwd": b"root\n", "usr/bin/tool": b"\x7fELF" * 5000, "odd \xff name": b"x" * 513, "empty": b""}


@pytest.fixture
def root(tmp_path):
    """A layer whose files, record and tar-split fit together."""
    made = ClassicRoot(tmp_path / "docker")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT, encoding="latin-1") as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(link)
    made.tar = tar.getvalue()
    diff = hashlib.sha256(made.tar).hexdigest()
    directory = hexed("unpacked")
    made.directory(directory, files=())
    for name, content in FILES.items():
        path = os.path.join(os.fsencode(made.overlay / directory / "diff"), name.encode("latin-1"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    made.diff = made.overlay / directory / "diff"
    made.record = made.layerdb / "sha256" / diff
    made.record.mkdir()
    for name, value in (("cache-id", directory), ("diff", "sha256:" + diff), ("size", "20000")):
        (made.record / name).write_text(value)
    lines = [json.dumps(each) for each in _split(made.tar)]
    (made.record / "tar-split.json.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return made


def _split(tar):
    """What is not a file's contents, and the names of the files (vbatts/tar-split, tar/storage/entry.go)."""
    at = 0
    with tarfile.open(fileobj=io.BytesIO(tar), encoding="latin-1") as archive:
        for number, member in enumerate(archive):
            yield _segment(tar[at : member.offset_data])
            raw = member.name.encode("latin-1")
            entry = {"type": 1, "size": member.size, "payload": "AAAAAAAAAAA=", "position": number}
            if raw.isascii():
                entry["name"] = member.name
            else:
                entry["name_raw"] = base64.b64encode(raw).decode()
            yield entry
            at = member.offset_data + member.size
    yield _segment(tar[at:])


def _segment(payload):
    return {"type": 2, "payload": base64.b64encode(payload).decode(), "position": 0}


def _compare(root, *, content=True):
    store = read_layer_store(os.fsencode(root.data), {})
    (layer,) = store.layers.values()
    return compare_layer(store, layer, content=content, stop=lambda: False)


def test_files_that_give_the_diff_id(root):
    """The tar is put together again, to the byte."""
    assert _compare(root) is LayerComparison.SAME
    assert _compare(root, content=False) is LayerComparison.SAME


def test_a_byte_that_changed(root):
    """Only the contents tell: the size is the same."""
    (root.diff / "etc/passwd").write_bytes(b"toor\n")
    assert _compare(root).code.value == "layer-differs"
    assert _compare(root, content=False) is LayerComparison.SAME


@pytest.mark.parametrize("content", [True, False])
def test_files_that_are_not_what_they_were(root, content):
    """Missing, empty, or something else: each is named."""
    (root.diff / "etc/passwd").unlink()
    (root.diff / "usr/bin/tool").write_bytes(b"")
    odd = os.path.join(os.fsencode(root.diff), b"odd \xff name")
    os.unlink(odd)
    os.mkfifo(odd)
    message = _compare(root, content=content).message
    assert "etc/passwd is missing" in message
    assert "usr/bin/tool has 0 bytes instead of 20000" in message
    assert "odd \\xff name is not a regular file" in message


def test_no_link_is_followed(root, tmp_path):
    """A folder that is a link, and a name with dots: what lies elsewhere is not read."""
    (tmp_path / "passwd").write_bytes(b"root\n")
    (root.diff / "etc/passwd").unlink()
    (root.diff / "etc").rmdir()
    (root.diff / "etc").symlink_to(tmp_path)
    assert "etc/passwd cannot be read" in _compare(root).message
    lines = [json.dumps({"type": 1, "name": "../../../../passwd", "size": 5})]
    (root.record / "tar-split.json.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    assert "leads nowhere" in _compare(root).message


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-20],
        lambda raw: raw[:40] + bytes(20) + raw[60:],
        lambda _: b"{}",
        lambda _: gzip.compress(b"[1]\n"),
        lambda _: gzip.compress(b'{"type":1,"name":"a","size":-1}\n'),
        lambda _: gzip.compress(b'{"type":2,"payload":"!"}\n'),
    ],
)
def test_a_tar_split_that_cannot_be_read(root, damage):
    """It is a blind spot, not a difference."""
    file = root.record / "tar-split.json.gz"
    file.write_bytes(damage(file.read_bytes()))
    assert _compare(root).code.value == "layer-not-compared"

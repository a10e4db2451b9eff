"""Snapshots that are as containerd unpacks their layer, whatever the layer says: no difference is seen."""

import errno
import os
import tarfile

import pytest
from tests.engines.images import Blob, Image
from tests.support.adoptable import NOW
from tests.support.documents import run
from tests.support.unpacked import lay_out_unpacked

TAR = "application/vnd.oci.image.layer.v1.tar"


def _one(tmp_path, name="file", kind=tarfile.REGTYPE, **fields):
    """A layer with one entry."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    with tarfile.open(tmp_path / "made.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    return (tmp_path / "made.tar").read_bytes()


def _verify(tmp_path, raw, unpack, status=0):
    root = lay_out_unpacked(tmp_path / "root", Image((Blob(TAR, raw),)), unpack=unpack)
    return run("verify", "--unpacked", "--now", NOW, "--state", tmp_path / "state", root, status=status)


def _touch(layer, folder):
    (folder / "file").touch(0o644)
    (folder / "file").chmod(0o644)


def test_the_top_is_not_the_layer_s(tmp_path):
    """Owner and mode of an entry ``./`` are not those of ``fs/``, and are not looked for there."""
    raw = _one(tmp_path, "./", tarfile.DIRTYPE, mode=0o500, uid=1000, gid=1000)
    assert "1 looked at" in _verify(tmp_path, raw, lambda *_: None)


def test_a_layer_without_bytes(tmp_path):
    """It is compared with a folder that has to be empty."""
    assert "1 looked at" in _verify(tmp_path, b"", lambda *_: None)
    assert "is not in the layer" in _verify(tmp_path / "other", b"", _touch, status=2)


@pytest.mark.root
@pytest.mark.parametrize(("number", "status"), [(errno.ENOTSUP, 0), (None, 2)])
def test_attributes_where_the_file_system_has_none(number, status, tmp_path, monkeypatch):
    """Containerd ignores that it cannot set them; where it could, they are missed."""
    raw = _one(tmp_path, pax_headers={"SCHILY.xattr.user.note": "x"})

    def refuse(path, *, follow_symlinks):
        raise OSError(number, os.strerror(number))

    if number is not None:
        monkeypatch.setattr(os, "listxattr", refuse)
    assert ("user.note differs" in _verify(tmp_path, raw, _touch, status=status)) is bool(status)

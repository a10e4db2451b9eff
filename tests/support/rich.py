"""An image whose layers hold everything that a layer can hold, compressed: their digests are not the diff ids."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import subprocess
import tarfile
from dataclasses import dataclass

from tests.engines.images import Blob, Image, busybox_layer, noise

GZIP = "gzip"
ZSTD = "zstd"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_OTHER = bytes.fromhex("0100000200200000000000000000000000000000")
_ACLS = (
    ((1, 7, 0), (4, 7, 0), (32, 7, 0)),
    ((1, 6, 0), (2, 7, 1000), (4, 4, 0), (16, 7, 0), (32, 4, 0)),
    ((1, 6, 0), (4, 7, 0), (16, 7, 0), (32, 4, 0)),
)  # fmt: skip
"""Of the owner, user 1000, the group, the mask and others: one that a mode says as well, and two that none says."""
_CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


@dataclass(frozen=True, slots=True)
class Rich(Image):
    """An image that knows what its layers are without their compression."""

    diff_ids: tuple[str, ...] = ()

    @property
    def config(self) -> Blob:
        """The config, with the digests of what is unpacked."""
        made = json.loads(Image.config.__get__(self).data)
        made["rootfs"]["diff_ids"] = list(self.diff_ids)
        return Blob(_CONFIG, json.dumps(made).encode())


def rich(form: str) -> Rich:
    """busybox, a layer of everything, and one that removes and replaces some of it, compressed by ``form``."""
    tars = [busybox_layer().data, _layer(upper=False), _layer(upper=True)]
    layers = [Blob(f"application/vnd.oci.image.layer.v1.tar+{form}", compress(raw, form)) for raw in tars]
    return Rich(tuple(layers), diff_ids=tuple("sha256:" + hashlib.sha256(raw).hexdigest() for raw in tars))


def compress(raw: bytes, form: str) -> bytes:
    """What gzip, or zstd's own command, makes of it."""
    if form == GZIP:
        return gzip.compress(raw, mtime=0)
    return subprocess.run(["zstd", "-q", "-c"], input=raw, capture_output=True, check=True).stdout


def _odd(tar: tarfile.TarFile) -> None:
    """What containerd ignores of a layer, and what comes to more than one entry."""
    _entry(tar, "./", tarfile.DIRTYPE, mode=0o500, uid=1000, gid=1000)
    assert tar.fileobj is not None
    tar.fileobj.write(tarfile.TarInfo.create_pax_global_header({"uid": "1234", "SCHILY.xattr.user.all": "none"}))
    for name in ("odd/one", "odd/able"):
        _entry(tar, name, data=b"x", mode=0o4755, pax_headers={
            "SCHILY.xattr.security.capability": _CAPABILITY.decode("utf-8", "surrogateescape"),
            "SCHILY.xattr.user.note": "kept",
        })  # fmt: skip
        more = (
            {} if name == "odd/one" else {"SCHILY.xattr.security.capability": _OTHER.decode("utf-8", "surrogateescape")}
        )
        _entry(tar, f"{name} too", tarfile.LNKTYPE, linkname=name, mode=0o640, uid=7, gid=8, pax_headers=more)
    _entry(tar, "odd/link", tarfile.SYMTYPE, linkname="x", pax_headers={"SCHILY.xattr.user.note": "never set"})
    _entry(tar, "odd/link too", tarfile.LNKTYPE, linkname="odd/link", uid=7, gid=8)
    _entry(tar, "odd/pipe", tarfile.FIFOTYPE, pax_headers={"SCHILY.xattr.user.note": "never set"})
    _entry(tar, "odd/folder", tarfile.DIRTYPE, mode=0o755, pax_headers={"SCHILY.xattr.user.note": "set"})
    _entry(tar, "odd/folder", tarfile.DIRTYPE, mode=0o700, pax_headers={"SCHILY.xattr.user.other": "set"})
    for number, value in enumerate(_ACLS):
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in value)
        records = {
            "SCHILY.xattr.system.posix_acl_access": acl.decode("utf-8", "surrogateescape"),
            "SCHILY.xattr.trusted.note": "never set",
            "SCHILY.xattr.com.apple.provenance": "never set",
        }
        _entry(tar, f"odd/list {number}", data=b"x", mode=0o640, pax_headers=records)


def _entry(tar: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object) -> None:
    """Add one."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(data), 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))


def _layer(*, upper: bool) -> bytes:
    """A tar with everything a layer can hold; ``upper`` removes and replaces what the lower one has."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        if not upper:
            _entry(tar, "all/", tarfile.DIRTYPE, mode=0o755)
            _entry(tar, "all/file", data=noise(1, 3), mode=0o4711, uid=1000, gid=77777)
            _entry(tar, "all/gone", data=b"x")
            _entry(tar, "all/folder/below", data=b"x")
            _entry(tar, "hidden/one", data=b"1")
            _entry(tar, "hidden/two", data=b"2")
            _entry(tar, "usr/lib/", tarfile.DIRTYPE, mode=0o1777)
            _entry(tar, "lib", tarfile.SYMTYPE, linkname="usr/lib")
            _entry(tar, "lib/behind", data=b"behind a link")
            _entry(tar, "all/empty")
            _entry(tar, "all/dev", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
            _entry(tar, "all/disk", tarfile.BLKTYPE, devmajor=7, devminor=250)
            _entry(tar, "all/pipe", tarfile.FIFOTYPE, mode=0o600)
            _entry(tar, "all/second", tarfile.LNKTYPE, linkname="all/file", mode=0o4711, uid=1000, gid=77777)
            _entry(tar, "all/cap", data=b"cap", pax_headers={
                "SCHILY.xattr.security.capability": _CAPABILITY.decode("utf-8", "surrogateescape"),
                "SCHILY.xattr.user.note": "kept",
            })  # fmt: skip
            _entry(tar, "all/\u00fcmlaut \u202e name", data=b"x")
            _entry(tar, "all/" + "n" * 200, data=b"x")
            _entry(tar, "twice", data=b"first")
            _entry(tar, "twice", data=b"second time", mode=0o600)
            _entry(tar, "./dotted/./path", data=b"x")
            _odd(tar)
        else:
            _entry(tar, "all/.wh.gone")
            _entry(tar, "all/.wh.folder")
            _entry(tar, "hidden/.wh..wh..opq")
            _entry(tar, "hidden/three", data=b"3")
            _entry(tar, "all/file", data=noise(2, 2), mode=0o600)
            _entry(tar, "all/dangling", tarfile.SYMTYPE, linkname="/no/where")
    return buffer.getvalue()

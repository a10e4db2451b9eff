"""A file tree with every kind of entry, and exports of layers compared with a mount of them."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from tests.support.mounted import Layers, facts, unpack_tar

from drydock.evidence.containerd.overlay_xattrs import KERNEL, OverlayFormat
from drydock.evidence.containerd.snapshot_layers import Stack
from drydock.export.container import write_tree
from drydock.export.new_file import ExportFile
from drydock.model.exports import Exported
from drydock.model.names import RawPath

LATE, EARLY = 1_700_000_000_123_456_789, -1_500_000_000


def stack(layers: Layers, overlay_format: OverlayFormat = KERNEL) -> Stack:
    """The stack that the rows of these layers give."""
    numbers = [str(number) for number in range(layers.count, 0, -1)]
    parts = tuple((b"snapshots", number.encode(), b"fs") for number in numbers)
    return Stack(RawPath(os.fsencode(layers.path)), parts, tuple(numbers), overlay_format)


def export(layers: Layers, target: Path, overlay_format: OverlayFormat = KERNEL) -> Exported:
    """Export and unpack; give the result of the export."""
    exported = Exported(RawPath(b"/"), "x")
    archive = target.with_suffix(".tar")
    with archive.open("wb") as file:
        exported.count = write_tree(stack(layers, overlay_format), ExportFile(file, "x"), exported)
    unpack_tar(archive, target)
    return exported


def same_as_mount(layers: Layers, tmp_path: Path, overlay_format: OverlayFormat = KERNEL) -> Exported:
    """Export, compare with a mount, and give the result of the export."""
    exported = export(layers, tmp_path / "out", overlay_format)
    with layers.mounted() as point:
        wanted = facts(point)
    found = facts(tmp_path / "out")
    differing = {
        path: (found[0].get(path), wanted[0].get(path))
        for path in found[0].keys() | wanted[0].keys()
        if found[0].get(path) != wanted[0].get(path)
    }
    assert not differing, differing
    assert found[1] == wanted[1], (found[1], wanted[1])
    assert exported.count == len(wanted[0])
    return exported


def fill(top: Path) -> None:
    """Fill a base layer with every kind of entry."""
    for folder in ("etc", "deep/er/est", "gone/in", "again/in", "moved/in/it", "folder/in", "kept"):
        (top / folder).mkdir(parents=True)
        (top / folder / "file").write_bytes(folder.encode() * 3)
    (top / "etc/tool").write_bytes(b"#!" + bytes(range(256)))
    (top / "etc/tool").chmod(0o6755)
    os.chown(top / "etc/tool", 3_000_000, 12)
    (top / "etc/tool").chmod(0o6755)
    for name in ("one", "two", "three"):
        if name == "one":
            (top / "kept/one").write_bytes(b"linked")
        else:
            os.link(top / "kept/one", top / "kept" / name)
    os.symlink("/etc/passwd", top / "kept/link")
    os.link(top / "kept/link", top / "kept/link2", follow_symlinks=False)
    os.symlink("loop", top / "loop")
    os.symlink("x" * 4000, top / "long")
    os.mknod(top / "null", 0o020666, os.makedev(1, 3))
    os.mknod(top / "disk", 0o060600, os.makedev(259, 70_000))
    os.mkfifo(top / "pipe", 0o640)
    (top / "empty").touch()
    (top / "plain").write_bytes(b"plain" * 1000)
    os.setxattr(top / "plain", "user.note", b"a=b\n\0\xff")
    os.setxattr(top / "plain", "user.na=me%", b"x")
    os.setxattr(top / "plain", "trusted.mine", b"mine")
    os.setxattr(top / "kept", "security.other", b"on a folder")
    os.setxattr(top / "etc/tool", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    for name in (b"\xff\xfe not text", b"-rf", b"new\nline", b"\x1b[31mred", "größer".encode(), b"n" * 255):
        os.close(os.open(os.path.join(os.fsencode(top), name), os.O_CREAT | os.O_WRONLY, 0o600))
    _fill_edges(top)
    with (top / "sparse").open("wb") as file:
        for at in (0, 5_000_000, 20_000_000):
            file.seek(at)
            file.write(b"island")
        file.truncate(30_000_001)
    with (top / "hole").open("wb") as file:
        file.truncate(1_000_000)
    os.utime(top / "plain", ns=(LATE, LATE))
    os.utime(top / "empty", ns=(EARLY, EARLY))
    os.utime(top / "kept/link", ns=(LATE, LATE), follow_symlinks=False)
    folder = os.open(top, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/socket")  # a path of a socket has at most 107 bytes
    os.close(folder)


def _fill_edges(top: Path) -> None:
    """Add what a plain tar header has no room for: numbers, names and attributes at their limits."""
    root = os.fsencode(top)
    odd = b"\xfe\xff-" + b"n" * 252
    os.makedirs(os.path.join(root, b"edge", odd, b"\x80"))
    deep = os.path.join(root, b"edge", odd, b"\x80", b"file")
    Path(os.fsdecode(deep)).write_bytes(b"below names that are no text")
    os.link(deep, os.path.join(root, b"edge", b"\xc3\x28"))
    os.symlink(b"\xff" * 300, os.path.join(root, b"edge", b"to no text"))
    os.symlink("t" * 4095, top / "edge/longest")
    os.symlink("t" * 100, top / "edge/hundred")
    (top / "edge" / ("m" * 100)).mkdir()
    (top / "edge/uid").touch()
    os.chown(top / "edge/uid", 2**32 - 2, 2**32 - 2)
    os.chown(top / "edge/longest", 2_097_152, 2_097_151, follow_symlinks=False)
    for name, seconds in (("past", -(2**31)), ("future", 2**33 + 7), ("before", -1)):
        (top / "edge" / name).touch()
        os.utime(top / "edge" / name, ns=(0, seconds * 10**9 + 1))
    os.mknod(top / "edge/node", 0o020600, os.makedev(4095, 2**20 - 1))
    (top / "edge/attributes").touch()
    os.setxattr(top / "edge/attributes", "user.empty", b"")
    os.setxattr(top / "edge/attributes", "user.zero", b"\0")
    os.setxattr(top / "edge/attributes", "user.\u00fc", b"\xff")
    os.setxattr(top / "edge/attributes", b"user.\xff", b"its name is not UTF-8")
    os.setxattr(top / "edge/attributes", "user." + "n" * 250, b"v" * 2000)
    for name in ("longest", "node"):
        os.setxattr(top / "edge" / name, "trusted.mine", b"of no file", follow_symlinks=False)
    # An ACL of one user, as setfacl writes it (linux/posix_acl_xattr.h).
    entries = ((1, 6, 2**32 - 1), (2, 4, 1234), (4, 4, 2**32 - 1), (16, 6, 2**32 - 1), (32, 0, 2**32 - 1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)
    os.setxattr(top / "edge/attributes", "system.posix_acl_access", acl)
    os.setxattr(top / "edge", "system.posix_acl_default", acl)
    (top / "edge" / "sticky").mkdir()
    (top / "edge/sticky").chmod(0o7777)

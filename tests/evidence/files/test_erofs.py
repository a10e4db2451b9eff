"""EROFS images read without the kernel: equal to its mount, and safe against hostile images."""

import gzip
import io
import os
import random
import stat
import struct
import subprocess
import tarfile
import time
from contextlib import suppress

import pytest
from tests.export.test_changes import walked
from tests.support.erofs_images import FROM_DIRECTORY, FROM_TAR, TAR_INDEX, image_mounted, make_image
from tests.support.exported import fill
from tests.support.mounted import Layers, facts, mount, unpack_tar
from tests.support.rich import rich

from drydock.evidence.containerd.snapshot_layers import Stack
from drydock.evidence.files.erofs import ErofsImage, Unusable
from drydock.export.changes import find_changes
from drydock.export.container import write_tree
from drydock.export.new_file import ExportFile
from drydock.model.errors import EvidenceUnreadable
from drydock.model.exports import Exported
from drydock.model.names import RawPath

# An engine's suite has what makes the images; no engine runs.
pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.xdist_group("erofs")]


def _ours(path):
    """All entries of an image, by path."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        image = ErofsImage(descriptor)
        found = {b".": _told(image, image.inode(image.root))}
        pending = [(b"", image.inode(image.root))]
        while pending:
            before, directory = pending.pop()
            for name, number in image.names(directory):
                inode = image.find(directory, name)
                assert inode.nid == number
                found[before + name] = _told(image, inode)
                if stat.S_ISDIR(inode.mode):
                    pending.append((before + name + b"/", inode))
        return found
    finally:
        os.close(descriptor)


def _told(image, inode):
    info, data = image.stat(inode), b""
    if stat.S_ISREG(inode.mode):
        for start, length in image.segments(inode):
            assert 0 <= start <= start + length <= inode.size
        data = image.read(inode, inode.size, 0)
    elif stat.S_ISLNK(inode.mode):
        data = image.target(inode)
    return _facts(info, image.xattrs(inode), data)


def _facts(info, xattrs, data):
    is_folder = stat.S_ISDIR(info.st_mode)
    return (
        info.st_mode, info.st_uid, info.st_gid, 0 if is_folder else info.st_size, info.st_mtime_ns, info.st_rdev,
        info.st_nlink, info.st_ino, xattrs, data,
    )  # fmt: skip


def _kernels(top):
    found = {b".": _kernel(os.fsencode(top))}
    pending = [b""]
    while pending:
        before = pending.pop()
        for name in os.listdir(os.path.join(os.fsencode(top), before)):
            path = os.path.join(os.fsencode(top), before, name)
            found[before + name] = _kernel(path)
            if stat.S_ISDIR(os.lstat(path).st_mode):
                pending.append(before + name + b"/")
    return found


def _kernel(path):
    info, data = os.lstat(path), b""
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            data = file.read()
    elif stat.S_ISLNK(info.st_mode):
        data = os.readlink(path)
    names = os.listxattr(path, follow_symlinks=False)
    return _facts(info, {os.fsencode(name): os.getxattr(path, name, follow_symlinks=False) for name in names}, data)


@pytest.mark.parametrize(
    "options",
    [FROM_DIRECTORY, (), ("-Eforce-inode-extended", "-T0"), ("--chunksize=4096",),
     ("--chunksize=8192", "-Eforce-chunk-indexes"), ("-b512",), ("-x1",), ("-x-1",)],
    ids=" ".join,
)  # fmt: skip
def test_a_directory_of_everything(options, tmp_path):
    """Names, types, modes, owners, times, links, devices, attributes, contents and inode numbers equal the mount's."""
    tree, image = tmp_path / "tree", tmp_path / "image"
    tree.mkdir()
    fill(tree)
    for number in range(2000):
        (tree / "kept" / f"one of many {number}").touch()
    make_image(image, tree, options)
    with image_mounted(image, tmp_path / "point") as point:
        wanted = _kernels(point)
    found = _ours(image)
    assert found.keys() == wanted.keys()
    assert {path: told for path, told in found.items() if told != wanted[path]} == {}


def _tar_of_everything(tmp_path):
    (tmp_path / "tree").mkdir()
    fill(tmp_path / "tree")
    command = ["tar", "--format=posix", "--xattrs", "--xattrs-include=*", "-C", tmp_path / "tree", "-cf", "-", "."]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.parametrize("options", [FROM_TAR, TAR_INDEX], ids=["converted", "index"])
@pytest.mark.parametrize("layer", ["base", "upper"])
def test_layers_as_containerd_converts_them(options, layer, tmp_path):
    """A layer of everything, with whiteouts and opaque directories; for an index, the tar behind it has the data."""
    image = tmp_path / "image"
    raw = _tar_of_everything(tmp_path) if layer == "base" else gzip.decompress(rich("gzip").layers[2].data)
    make_image(image, raw, options)
    with image_mounted(image, tmp_path / "point") as point:
        wanted = _kernels(point)
    found = _ours(image)
    assert len(found) > 5
    assert {path: told for path, told in found.items() if told != wanted.get(path)} == {}
    assert found.keys() == wanted.keys()


def test_a_hole(tmp_path):
    """A file in chunks with holes: the holes are known, and read as zeros."""
    tree, path = tmp_path / "tree", tmp_path / "image"
    tree.mkdir()
    with (tree / "sparse").open("wb") as file:
        for at in (0, 5_000_000):
            file.seek(at)
            file.write(b"island")
        file.truncate(9_000_000)
    make_image(path, tree, ("--chunksize=4096",))
    descriptor = os.open(path, os.O_RDONLY)
    image = ErofsImage(descriptor)
    inode = image.find(image.inode(image.root), b"sparse")
    assert sum(length for _, length in image.segments(inode)) < 20_000
    assert image.read(inode, 9_000_000, 0) == (tree / "sparse").read_bytes()
    os.close(descriptor)


def _stack(path, *parts):
    names = tuple(parts[number][1].decode() for number in range(len(parts)))
    return Stack(RawPath(os.fsencode(path)), parts, names, is_erofs=True)


def _layered(tmp_path):
    """Two layers as images and a writable one above them, written through a mount of all."""
    layers = Layers(tmp_path / "layers")
    with layers.new() as top:
        fill(top)
    with layers.new() as top:
        (top / "etc/tool").unlink()
        (top / "again/in/file").unlink()
        (top / "moved/in").rename(top / "moved/out")
        (top / "plain").write_bytes(b"other")
        (top / "new").write_bytes(b"new" * 5000)
    for number in (1, 2):
        make_image(tmp_path / f"layers/snapshots/{number}/layer.erofs", layers._layer(number))
    return [
        image_mounted(tmp_path / f"layers/snapshots/{number}/layer.erofs", tmp_path / f"m{number}") for number in (2, 1)
    ]


def test_a_container_on_images(tmp_path):
    """Export and changes equal an overlay of the kernel's mounts of the same images."""
    second, first = _layered(tmp_path)
    upper = tmp_path / "layers/snapshots/3"
    (upper / "fs").mkdir(parents=True)
    (upper / "work").mkdir()
    numbers = (b"snapshots", b"3", b"fs"), (b"snapshots", b"2", b"layer.erofs"), (b"snapshots", b"1", b"layer.erofs")
    new, old = _stack(tmp_path / "layers", *numbers), _stack(tmp_path / "layers", *numbers[1:])
    exported = Exported(RawPath(b"/"), "x")
    with first as below, second as above:
        options = "index=off,redirect_dir=on,metacopy=on"
        with mount(f"lowerdir={above}:{below},upperdir={upper}/fs,workdir={upper}/work,{options}", tmp_path) as point:
            (point / "written").write_bytes(b"by the container")
            (point / "kept/one").chmod(0o600)
            (point / "deep").rename(point / "deeper")
            (point / "new").unlink()
        with (tmp_path / "out.tar").open("wb") as file:
            exported.count = write_tree(new, ExportFile(file, "x"), exported)
        unpack_tar(tmp_path / "out.tar", tmp_path / "out")
        lowers = f"lowerdir={upper}/fs:{above}:{below},index=off,redirect_dir=follow,metacopy=on"
        with (
            mount(lowers, tmp_path) as shown,
            mount(f"lowerdir={above}:{below},redirect_dir=follow,metacopy=on", tmp_path) as before,
        ):
            wanted = facts(shown)
            changed = walked(str(shown), str(before))
    found = facts(tmp_path / "out")
    assert {path: told for path, told in found[0].items() if told != wanted[0].get(path)} == {}
    assert found == wanted
    assert exported.damage == []
    notes = []
    assert sorted(
        f"{each.kind.value} {os.fsdecode(each.path)}" for each in find_changes(new, old, notes.append)
    ) == sorted(changed)
    assert notes == []


def test_what_is_not_understood(tmp_path):
    """A compressed image, one with other features, a truncated one, and no image are refused, each with the reason."""
    tree, path = tmp_path / "tree", tmp_path / "image"
    tree.mkdir()
    (tree / "file").write_bytes(b"compressible" * 9000)
    make_image(path, tree, ("-zlz4",))
    assert "compressed" in _refusal(path)
    make_image(path, tree)
    whole = path.read_bytes()
    path.write_bytes(whole[: 1024 + 80] + struct.pack("<I", 0x80) + whole[1024 + 84 :])
    assert "features that are not supported" in _refusal(path)
    path.write_bytes(whole[:1100])
    assert "too short" in _refusal(path)
    path.write_bytes(bytes(5000))
    assert "no EROFS image" in _refusal(path)


def _refusal(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(Unusable) as caught:
            ErofsImage(descriptor)
    finally:
        os.close(descriptor)
    return str(caught.value)


def test_directories_in_circles(tmp_path):
    """A directory with a second name, such as its own parent, is damage at that name; the rest is exported."""
    tree, path = tmp_path / "snapshots/1/tree", tmp_path / "snapshots/1/layer.erofs"
    (tree / "outer/inner").mkdir(parents=True)
    (tree / "outer/inner/file").write_bytes(b"x")
    (tree / "zz").write_bytes(b"last")
    make_image(path, tree)
    raw = bytearray(path.read_bytes())
    descriptor = os.open(path, os.O_RDONLY)
    image = ErofsImage(descriptor)
    outer = image.find(image.inode(image.root), b"outer")
    inner = image.find(outer, b"inner")
    os.close(descriptor)
    at = raw.find(struct.pack("<Q", inner.nid), outer.data_at)
    raw[at : at + 8] = struct.pack("<Q", outer.nid)
    path.write_bytes(raw)
    exported = Exported(RawPath(b"/"), "x")
    stack = _stack(tmp_path, (b"snapshots", b"1", b"layer.erofs"))
    out = io.BytesIO()
    write_tree(stack, out, exported)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert tar.getnames() == [".", "./zz", "./outer"]
    assert any("several names" in note for note in exported.damage)


def test_sizes_that_lead_out_of_the_image(tmp_path):
    """A file with a size of exabytes is left out with a note, and no zeros are written for it."""
    tree, path = tmp_path / "snapshots/1/tree", tmp_path / "snapshots/1/layer.erofs"
    tree.mkdir(parents=True)
    (tree / "file").write_bytes(b"x" * 5000)
    make_image(path, tree, (*FROM_DIRECTORY, "-Eforce-inode-extended"))
    raw = bytearray(path.read_bytes())
    descriptor = os.open(path, os.O_RDONLY)
    image = ErofsImage(descriptor)
    inode = image.find(image.inode(image.root), b"file")
    os.close(descriptor)
    raw[inode.xattrs_at - 64 + 8 : inode.xattrs_at - 64 + 16] = struct.pack("<Q", 1 << 60)
    path.write_bytes(raw)
    exported = Exported(RawPath(b"/"), "x")
    out = io.BytesIO()
    write_tree(_stack(tmp_path, (b"snapshots", b"1", b"layer.erofs")), out, exported)
    assert len(out.getvalue()) <= 20 * 512
    assert any("/file: " in note and "outside" in note for note in exported.damage)


@pytest.mark.parametrize("options", [(), ("--chunksize=4096",), FROM_TAR, TAR_INDEX], ids=str)
def test_noise(options, tmp_path):
    """Any changed bytes of an image give entries or one of the two errors, in little time."""
    tree, path = tmp_path / "snapshots/1/tree", tmp_path / "snapshots/1/layer.erofs"
    tree.mkdir(parents=True)
    for folder in ("a", "b/c"):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "file").write_bytes(folder.encode() * 3000)
        os.setxattr(tree / folder / "file", "user.note", b"x" * 50)
    os.symlink("a/file", tree / "link")
    source = tree
    if options in (FROM_TAR, TAR_INDEX):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.add(tree, ".")
        source = buffer.getvalue()
    make_image(path, source, options)
    whole = path.read_bytes()
    rng = random.Random(7)
    stack = _stack(tmp_path, (b"snapshots", b"1", b"layer.erofs"))
    for _ in range(400):
        raw = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3, 20))):
            at = rng.randrange(1024, min(len(raw), 8192))
            raw[at] = rng.choice((0, 0xFF, rng.randrange(256), raw[at] ^ 1 << rng.randrange(8)))
        path.write_bytes(raw)
        out = io.BytesIO()
        with suppress(EvidenceUnreadable):
            write_tree(stack, out, Exported(RawPath(b"/"), "x"))
        assert len(out.getvalue()) < 1 << 24


def _linear(count, form):
    """Make an image whose root has ``count`` names with equal inodes, and room after them."""
    block, entries = 4096, 4096 // 20
    blocks = -(-count // entries)
    first = 2 + blocks
    nids = [number * 2 for number in range(count)]
    meta = b"".join(form(number) for number in range(count))
    names = [b"%08d" % number for number in range(count)]
    data = bytearray()
    for at in range(0, count, entries):
        some = range(at, min(at + entries, count))
        table = b"".join(struct.pack("<QHBB", nids[n], 12 * len(some) + 8 * (n - at), 1, 0) for n in some)
        data += (table + b"".join(names[n] for n in some)).ljust(block, b"\0")
    root = struct.pack("<HHHHIIIIHHI", 0, 0, 0o040755, 2, len(data), 0, 2, 0, 0, 0, 0)
    meta += root.ljust(64, b"\0")
    superblock = struct.pack(
        "<IIIBBHQQIIII16s16sIHHHBBIQ",
        0xE0F5E1E2, 0, 0, 12, 0, count * 2, 0, 0, 0, first, first, first, b"", b"", 4, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    return bytes(1024) + superblock.ljust(block * 2 - 1024, b"\0") + data + meta


@pytest.mark.parametrize("what", ["chunks", "attributes"])
def test_parts_that_lie_on_each_other(what, tmp_path):
    """Many inodes whose tables all cover the rest of the image are damage, found before all tables are read."""
    count = 8000

    def form(number):
        if what == "chunks":
            room = (count - number) * 64
            head = struct.pack("<HHHHIIIIHHI", 4 << 1, 0, 0o100644, 1, room // 4 * 4096, 0, 0, 0, 0, 0, 0)
            return head + b"\xff" * 32
        words = min(0xFFFF, (count - number) * 16 - 32)
        head = struct.pack("<HHHHIIIIHHI", 0, max(words, 0), 0o100644, 1, 0, 0, 0, 0, 0, 0, 0)
        return head + struct.pack("<IB7x", 0, 0) + (struct.pack("<BBH", 0, 1, 0) * 5)

    path = tmp_path / "image"
    path.write_bytes(_linear(count, form))
    descriptor = os.open(path, os.O_RDONLY)
    began = time.process_time()
    try:
        found = [each for each in ErofsImage(descriptor).damage(lambda: time.process_time() - began > 30) if each]
    finally:
        os.close(descriptor)
    assert time.process_time() - began < 10
    assert any(f"{what} of inode" in reason and "overlap other parts" in reason for _, reason in found)

"""Snapshots that containerd unpacked differ from their layers in nothing, whatever the layers have."""

import errno
import io
import json
import os
import subprocess
import sys
import tarfile
from contextlib import suppress

import pytest
import xattr
from fuzz.layer import summed
from tests.engines.images import Blob, Image
from tests.support.adoptable import NOW
from tests.support.documents import run
from tests.support.erofs_images import FROM_TAR, make_image
from tests.support.layer_trees import read_nested
from tests.support.peaks import run_measured
from tests.support.unpacked import extract, lay_out_unpacked

from drydock import verify
from drydock.verification import layer_tree
from drydock.verification.decompression import NotCompared

TAR = "application/vnd.oci.image.layer.v1.tar"


def _one(tmp_path, name="file", kind=tarfile.REGTYPE, **fields):
    """Make a layer with one entry."""
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
    """Owner and mode of an entry ``./`` are not compared with those of ``fs/``."""
    raw = _one(tmp_path, "./", tarfile.DIRTYPE, mode=0o500, uid=1000, gid=1000)
    assert "1 checked" in _verify(tmp_path, raw, lambda *_: None)


def test_a_layer_without_bytes(tmp_path):
    """An empty layer is compared with a directory that must be empty."""
    assert "1 checked" in _verify(tmp_path, b"", lambda *_: None)
    assert "is not in the layer" in _verify(tmp_path / "other", b"", _touch, status=2)


@pytest.mark.root
@pytest.mark.parametrize(("number", "status"), [(errno.ENOTSUP, 0), (None, 2)])
def test_attributes_where_the_file_system_has_none(number, status, tmp_path, monkeypatch):
    """Missing attributes are a difference, unless the file system does not support any, which containerd ignores."""
    raw = _one(tmp_path, pax_headers={"SCHILY.xattr.user.note": "x"})

    def refuse(path, *, nofollow):
        raise OSError(number, os.strerror(number))

    if number is not None:
        monkeypatch.setattr(xattr, "list", refuse)
    assert ("user.note differs" in _verify(tmp_path, raw, _touch, status=status)) is bool(status)


def _erofs(tmp_path, layer_file):
    """Make a root with one layer that is unpacked into erofs."""
    image = Image((Blob(TAR, _wide(300, data=b"x" * 50)),))
    return lay_out_unpacked(
        tmp_path / "root",
        image,
        pulled=image.blobs,
        unpack=lambda _, folder: layer_file(folder.parent / "layer.erofs"),
        snapshotter="erofs",
    )


def _look(root, tmp_path, status):
    return run("verify", "--unpacked", "--now", NOW, "--state", tmp_path / "state", root, status=status)


@pytest.mark.engine
def test_images_of_erofs_are_not_compared_with_layers(tmp_path):
    """An intact image counts as not comparable, and so does a compressed one."""
    for name, options in (("plain", FROM_TAR), ("compressed", ("-zlz4", *FROM_TAR[:2]))):
        (tmp_path / name).mkdir()
        root = _erofs(
            tmp_path / name, lambda path, options=options: make_image(path, _wide(300, data=b"x" * 50), options)
        )
        said = _look(root, tmp_path / name, 0)
        assert "unpacked layers: 0 checked, 1 without a layer to compare with" in said


@pytest.mark.engine
@pytest.mark.parametrize("damage", ["zeros", "cut", "entries"])
def test_damaged_images_of_erofs(damage, tmp_path):
    """An image of zeros, a truncated one, and one with noise in place of inodes are damage, and repair drops them."""

    def spoil(path):
        make_image(path, _wide(300, data=b"x" * 50), FROM_TAR)
        raw = bytearray(path.read_bytes())
        if damage == "zeros":
            raw = bytearray(len(raw))
        elif damage == "cut":
            raw[len(raw) // 2 :] = b""
        else:
            raw[1152:4096] = b"\xa5" * 2944
        path.write_bytes(raw)

    root = _erofs(tmp_path, spoil)
    said = _look(root, tmp_path, 2)
    assert "snapshot-differs" in said
    assert "its layer.erofs is damaged: " in said
    mended = run("repair", "--apply", "--yes", "--now", NOW, "--state", tmp_path / "state", root, status=0)
    assert "example.org/shop:1" in mended.partition("unpacked again by the engine")[2]
    assert not list((root / "io.containerd.snapshotter.v1.erofs/snapshots").iterdir())


def _wide(count, *, name="f{:06}", data=b""):
    """Make a layer of one directory with many files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(count):
            info = tarfile.TarInfo("wide/" + name.format(number))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


def _extract_but_one(layer, folder):
    extract(layer, folder)
    (folder / "wide/f001234").unlink()
    (folder / "wide/more").touch()


def test_a_large_layer_goes_on_in_a_file(tmp_path, monkeypatch):
    """A layer too large for memory is compared as well, and leaves nothing in the state directory."""
    monkeypatch.setattr(layer_tree, "_IN_MEMORY", 1 << 14)
    monkeypatch.setattr(layer_tree, "_CHECKED", 1 << 14)
    monkeypatch.setattr(layer_tree, "_SCHEMA", layer_tree._SCHEMA.replace(f"-{layer_tree._CACHE_KIB}", "-8"))
    seen = set()
    put = layer_tree.LayerTree._run

    def look(tree, *words):
        put(tree, *words)
        for number in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                seen.add(os.readlink(f"/proc/self/fd/{number}"))

    monkeypatch.setattr(layer_tree.LayerTree, "_run", look)
    said = _verify(tmp_path, _wide(3000), _extract_but_one, status=2)
    assert "in 2 of its entries" in said
    assert "wide/f001234: is missing" in said
    assert "wide/more: is not in the layer" in said
    (file,) = [each for each in seen if each.startswith(f"{tmp_path}/state/") and "jsonl" not in each]
    assert file.endswith(" (deleted)")
    assert {each.suffix for each in (tmp_path / "state").iterdir()} <= {".jsonl"}


def test_a_place_that_is_someone_else_s_is_passed_over(tmp_path, monkeypatch):
    """The next directory with room is taken; if there is none, the error names each with its reason."""
    monkeypatch.setattr(layer_tree, "_IN_MEMORY", 1 << 14)
    monkeypatch.setattr(layer_tree, "_CHECKED", 1 << 14)
    open_to_all, good = tmp_path / "open", tmp_path / "good"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    places = [os.fsencode(open_to_all), os.fsencode(good)]
    monkeypatch.setattr(layer_tree, "_free", lambda place: (1 << 30) + (place == places[0]))
    assert len(read_nested(_wide(3000), places=places).children[b"wide"].children) == 3000
    assert good.exists()
    with pytest.raises(NotCompared, match="open: it belongs to, or can be written by, someone else"):
        read_nested(_wide(3000), places=places[:1])


def test_where_nothing_has_room(tmp_path, monkeypatch):
    """The finding names the layer that was not compared, and what to do; the status is 8."""
    monkeypatch.setattr(layer_tree, "_IN_MEMORY", 1 << 14)
    monkeypatch.setattr(layer_tree, "_CHECKED", 1 << 14)
    monkeypatch.setattr(layer_tree, "_free", lambda _place: 1 << 15)
    said = _verify(tmp_path, _wide(3000), extract, status=8)
    assert "no directory has room" in said
    assert "--state DIR" in said


def _links(count, length):
    """Make a layer of one directory with links to very long targets."""
    info = tarfile.TarInfo("wide/f000000")
    info.type, info.linkname = tarfile.SYMTYPE, "t" * length
    made = info.tobuf(tarfile.PAX_FORMAT)
    before, header = made[:-512], bytearray(made[-512:])
    parts = []
    for number in range(count):
        header[:12] = b"wide/f%06d" % number
        parts += [before, summed(header)]
    return b"".join(parts)


@pytest.mark.slow
def test_memory_is_bounded(tmp_path):
    """120 MB of links, all of them missing, are counted in about that much memory."""
    count = 60_000
    root = lay_out_unpacked(
        tmp_path / "root", Image((Blob(TAR, _links(count, 2000)),)), unpack=lambda _, folder: (folder / "wide").mkdir()
    )
    measured = run_measured("verify", "--unpacked", "--now", NOW, "--state", tmp_path / "state", root)
    assert measured.status == 2, measured
    assert f"in {count} of its entries" in measured.output
    assert measured.peak < 130 << 20


def test_progress_within_one_layer(tmp_path):
    """Progress comes in many steps, which add up to the bytes of the layer."""
    raw = _wide(3000, data=b"x" * 700)
    root = lay_out_unpacked(tmp_path / "root", Image((Blob(TAR, raw),)), unpack=extract)
    steps = []
    verify(
        os.fsencode(root), unpacked=True, state=os.fsencode(tmp_path / "state"),
        progress=lambda what, done, _=None: steps.append((what, done)),
    )  # fmt: skip
    done = [done for what, done in steps if what == "bytes of unpacked layers"]
    assert sum(done) == len(raw)
    assert len(done) > 5
    assert max(done) < len(raw) * 2 // 3


def test_a_layer_that_nothing_here_decodes(tmp_path, monkeypatch):
    """The finding names the layer and what to install, and the status is 8."""
    for package in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, f"{package}.zstd", None)
        if package in sys.modules:
            monkeypatch.delattr(sys.modules[package], "zstd", raising=False)
    raw = subprocess.run(["zstd", "-q", "-c"], input=_wide(10), capture_output=True, check=True).stdout
    said = _verify(tmp_path, raw, lambda *_: None, status=8)
    assert f"was not compared with layer {Blob(TAR, raw).digest}" in said
    assert "not-compared: snapshot " in said
    assert "what to do: pip install 'containerd-drydock[zstd]'" in said
    assert "1 without a layer to compare with" in said


class _Liar(Image):
    """An image whose config names the layers of another image."""

    @property
    def config(self):
        said = json.loads(super().config.data)
        said["rootfs"]["diff_ids"] = [blob.digest for blob in TOLD]
        return Blob(super().config.media_type, json.dumps(said).encode())


TOLD = (Blob(TAR, _wide(3, data=b"base")), Blob(TAR, _wide(3, data=b"own", name="g{}")))


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_layer_of_an_image_that_lies_refutes_nothing(tmp_path, wrong):
    """A layer that its config does not describe differs from an intact snapshot, which is not damage."""
    layers = list(TOLD)
    layers[wrong] = Blob(TAR, _wide(4, data=b"other"))
    liar = _Liar(tuple(layers))
    root = lay_out_unpacked(
        tmp_path / "root", Image(TOLD), more=[liar], names={b"example.org/zz:1": liar.manifest}, pulled=liar.blobs
    )
    said = _look(root, tmp_path, 8)
    assert "the layer does not unpack to what its image says" in said
    assert "snapshot-differs" not in said

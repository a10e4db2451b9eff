"""Layers written at random through real mounts: files and changes equal those of mounts."""

import contextlib
import os
import random
import shutil

import pytest
from tests.export.test_changes import changes, walked
from tests.support.exported import export
from tests.support.mounted import FuseLayers, Layers, facts

from drydock.evidence.containerd.overlay_xattrs import FUSE

pytestmark = [pytest.mark.root, pytest.mark.slow]

NAMES = "abcdef"


def _path(rng, top):
    return top.joinpath(*rng.choices(NAMES, k=rng.randint(1, 4)))


def _step(rng, top):
    """One random action of a program, if it is possible."""
    path, other = _path(rng, top), _path(rng, top)
    what = rng.randrange(12)
    if what < 3:
        path.mkdir(parents=True, exist_ok=True)
    elif what < 5:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_fifo():
            return  # it would wait for a reader
        path.write_bytes(rng.randbytes(rng.randint(0, 5000)))
    elif what == 5:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    elif what < 8:
        path.rename(other)
    elif what == 8:
        path.chmod(rng.choice((0o700, 0o644, 0o4755)))
    elif what == 9:
        os.link(path, other)
    elif what == 10:
        rng.choice((lambda: os.symlink("a/b", path), lambda: os.mkfifo(path)))()
    else:
        os.setxattr(path, rng.choice(("user.x", "trusted.y")), rng.randbytes(9))


@pytest.mark.parametrize("seed", range(12))
def test_random_layers(seed, tmp_path):
    """With redirects and metacopies (even seeds), or with neither (odd seeds)."""
    rng = random.Random(seed)
    options = "index=off,redirect_dir=on,metacopy=on" if seed % 2 == 0 else "index=off"
    layers = Layers(tmp_path / "layers", options)
    for _ in range(rng.randint(2, 6)):
        with layers.new() as top:
            for _ in range(60):
                with contextlib.suppress(OSError):
                    _step(rng, top)
    exported = export(layers, tmp_path / "out")
    below = Layers(layers.path, options)
    below.count = layers.count - 1
    with layers.mounted() as new, below.mounted() as old:
        found, wanted = facts(tmp_path / "out"), facts(new)
        assert sorted(changes(layers)) == sorted(walked(str(new), str(old)))
    assert found == wanted
    assert not exported.damage
    assert exported.count == len(wanted[0])


@pytest.mark.parametrize("seed", range(6))
def test_random_layers_of_fuse_overlayfs(seed, tmp_path):
    """As above, with real mounts of fuse-overlayfs."""
    rng = random.Random(seed)
    layers = FuseLayers(tmp_path / "layers")
    for _ in range(rng.randint(2, 6)):
        with layers.new() as top:
            for _ in range(60):
                with contextlib.suppress(OSError):
                    _step(rng, top)
    exported = export(layers, tmp_path / "out", FUSE)
    with layers.mounted() as point:
        wanted = facts(point)
    assert facts(tmp_path / "out") == wanted
    assert not exported.damage
    assert exported.count == len(wanted[0])

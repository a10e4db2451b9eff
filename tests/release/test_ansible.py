"""The Ansible role with the one file: copied to a host as it is, which then needs no drydock of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.release.conftest import NAME
from tests.support.ansible import player
from tests.support.captures import Capture, capture
from tests.support.program import ARCH
from tests.support.trees import tree

pytestmark = [pytest.mark.root, pytest.mark.slow]

PLANTED = "containerd-1.6-planted-orphans"


def test_the_one_file_is_copied(native_program: Path, unpacked_anew: Callable[[Capture], Path], tmp_path: Path) -> None:
    """Each host gets the file of its architecture, is scanned and cleaned by it; two files for one are refused."""
    of = capture(PLANTED)
    root = unpacked_anew(of) / of.root
    dist, work = tmp_path / "dist", tmp_path / "work"
    dist.mkdir()
    work.mkdir()
    (dist / NAME).symlink_to(native_program)
    for other in (f"{NAME}.tar.gz", f"{NAME}.oci.tar", NAME.replace(ARCH, "riscv64")):
        (dist / other).write_text("another's")
    play = player(work, {"only": root}, drydock_dist=str(dist))
    before = tree(root)
    recap, reports, _ = play()
    assert recap["only"]["failed"] == 0
    assert (work / "home/drydock").read_bytes() == native_program.read_bytes()
    assert not (work / "home/venv").exists()
    (scanned,) = json.loads((reports / "only.json").read_text())["roots"]
    assert scanned["reclaimable"]["bytes"] > 0
    assert tree(root) == before
    play(drydock_clean=True)
    again, _, _ = play()
    assert again["only"]["changed"] <= 1  # the document
    (scanned,) = json.loads((reports / "only.json").read_text())["roots"]
    assert scanned["reclaimable"]["bytes"] == 0
    (dist / NAME.replace("drydock-", "drydock-9")).write_text("a newer one")
    assert "has 2 files for" in play(status=2)[2]
    assert "set drydock_dist or drydock_wheels, not both" in play(status=2, drydock_wheels=str(dist))[2]

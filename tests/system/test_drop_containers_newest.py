"""``clean --drop container=ID` of a container of the CRI plugin`: as ``crictl rm``."""

import json
import subprocess

import pytest
from tests.engines.cri import Cri
from tests.engines.listing import listed, names, on_disk
from tests.engines.nerdctl import Nerdctl
from tests.support.documents import run
from tests.support.newest import ROOT, Newest, told

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]
FOLDERS = "io.containerd.grpc.v1.cri/containers"


def test_it_takes_what_crictl_removes(tmp_path):
    """The same records, data and folders stay, and both engines list the same; nerdctl's container stays."""
    newest = Newest("overlayfs", tmp_path)
    with newest.copy(tmp_path / "host") as removed:
        with newest.engine(removed, tmp_path / "first", collect=True) as engine:
            rows = json.loads(Cri(engine)("ps", "--all", "--output", "json"))["containers"]
            (name,) = Nerdctl(engine)("ps", "--all", "--format", "{{.Names}}").splitlines()[:1]
            engine.collect("default")
        made = next(each for each in rows if each["state"] == "CONTAINER_EXITED")
        dropped = tmp_path / "dropped"
        subprocess.run(["cp", "-a", removed, dropped], check=True)
        with newest.engine(removed, tmp_path / "removes", collect=True) as engine:
            before = names(listed(engine))
            Cri(engine)("rm", made["id"])
            engine.collect("default")
            as_removed = told(engine), names(listed(engine))
        words = ("clean", "--now", newest.clock, "--accept-loss", "all", "--state", tmp_path)
        said = run(*words, "--drop", f"container={name}", dropped)
        assert f"container {name} stays: nerdctl keeps its name" in said
        run(*words, "--drop", f"container={made['id']}", "--apply", "--yes", dropped, status=0)
        assert not (dropped / ROOT / FOLDERS / made["id"]).exists()
        with newest.engine(dropped, tmp_path / "goes-on", collect=True) as engine:
            engine.collect("default")
            assert (told(engine), names(listed(engine))) == as_removed
        assert as_removed[1] != before
        assert set(on_disk(dropped / ROOT)) <= set(on_disk(removed / ROOT))
        assert _folders(dropped) == _folders(removed)


def _folders(host):
    return {path.name for path in (host / ROOT / FOLDERS).iterdir()}

"""``clean --drop container=NAME`` of the CRI plugin's containers and nerdctl's: as ``crictl rm`` and ``nerdctl rm``."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from tests.engines.cri import Cri
from tests.engines.listing import listed, names, on_disk
from tests.engines.nerdctl import Nerdctl
from tests.support.captures import capture, unpack
from tests.support.documents import run
from tests.support.faults import run_counted
from tests.support.newest import ROOT, Newest, told
from tests.support.roots import databases, dumps
from tests.support.trees import tree

from drydock.reclaim import knife

pytestmark = [pytest.mark.root]
FOLDERS = "io.containerd.grpc.v1.cri/containers"
NERDCTL = "var/lib/nerdctl"
NAME = "containerd-2.4-overlayfs"
ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
"""Whether kills are tried all along the run; ./run prove does that."""


@pytest.mark.engine
@pytest.mark.slow
def test_it_takes_what_the_engines_remove(tmp_path):
    """The same records, data, folders and names stay, both engines list the same, and the name is free again."""
    newest = Newest("overlayfs", tmp_path)
    with newest.copy(tmp_path / "host") as removed:
        with newest.engine(removed, tmp_path / "first", collect=True) as engine:
            rows = json.loads(Cri(engine)("ps", "--all", "--output", "json"))["containers"]
            engine.collect("default")
        made = next(each for each in rows if each["state"] == "CONTAINER_EXITED")
        dropped = tmp_path / "dropped"
        subprocess.run(["cp", "-a", removed, dropped], check=True)
        with newest.engine(removed, tmp_path / "removes", collect=True) as engine:
            before = names(listed(engine))
            Cri(engine)("rm", made["id"])
            Nerdctl(engine)("rm", "web")
            engine.collect("default")
            as_removed = told(engine), names(listed(engine))
        words = ("clean", "--now", newest.clock, "--accept-loss", "all", "--state", tmp_path)
        drops = ("--drop", f"container={made['id']}", "--drop", "container=web")
        run(*words, *drops, "--apply", "--yes", dropped, status=0)
        assert not (dropped / ROOT / FOLDERS / made["id"]).exists()
        assert _nerdctls(dropped) == _nerdctls(removed)
        with newest.engine(dropped, tmp_path / "goes-on", collect=True) as engine:
            engine.collect("default")
            assert (told(engine), names(listed(engine))) == as_removed
            assert set(on_disk(dropped / ROOT)) <= set(on_disk(removed / ROOT))
            _make_again(Nerdctl(engine))
        assert as_removed[1] != before
        assert _folders(dropped) == _folders(removed)


def _make_again(nerdctl):
    image = nerdctl("ps", "--all", "--format", "{{.Image}}").splitlines()[0]
    assert nerdctl("run", "--name", "web", *nerdctl.apart, image, "/bin/busybox", "echo", "again") == "again"


def _folders(host):
    return {path.name for path in (host / ROOT / FOLDERS).iterdir()}


def _nerdctls(host):
    """What nerdctl keeps, without its log of file system operations and its locks."""
    paths = {path.relative_to(host / NERDCTL) for path in (host / NERDCTL).rglob("*")}
    return {str(path) for path in paths if path.parts[0] != "filesystem-ops" and "lock" not in path.name}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The capture, without what nothing references."""
    host = unpack(capture(NAME), tmp_path_factory.mktemp("kept"))
    run("clean", "--now", capture(NAME).taken_at, "--apply", "--yes", "--state", host, host, status=0)
    yield host
    shutil.rmtree(host)


def command(host, *options, name="web"):
    """The words that drop a container of nerdctl."""
    return ("clean", "--now", capture(NAME).taken_at, "--drop", f"container={name}", "--accept-loss", "all",
            "--apply", "--yes", "--state", host / "state", *options, host)  # fmt: skip


def everything(host):
    """All data below ``var/lib`` but the databases, and these as Go dumps them."""
    passed = {os.fsencode(path.relative_to(host / "var/lib")) for path in databases(host / ROOT)}
    whole = {
        name: (mode, uid, gid, None if what is None else size, what)
        for name, (mode, uid, gid, size, _, what, _) in tree(host / "var/lib", times=False).items()
        if name not in passed
    }
    return whole, dumps(host / ROOT)


def copied(kept, to):
    """A copy of the capture."""
    subprocess.run(["cp", "-a", kept, to], check=True)
    (to / "state").mkdir()
    return to


def test_undo_brings_nerdctls_container_back(kept, tmp_path):
    """After a drop to quarantine, the same tree and the same dumps; before, its loss is listed with its bytes."""
    host = copied(kept, tmp_path / "host")
    (host / "apart").mkdir()
    was = everything(host)
    said = run("clean", "--now", capture(NAME).taken_at, "--drop", "container=web", host)
    assert "WOULD BE LOST: what container" in said
    assert "drydock export container" in said
    run(*command(host, "--quarantine", host / "apart"), status=0)
    now = everything(host)
    gone = {name for name in was[0].keys() - now[0].keys() if name.startswith(b"nerdctl/")}
    assert {name.split(b"/")[2] for name in gone} == {b"containers", b"etchosts", b"names"}
    (journal,) = (host / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert everything(host) == was


@pytest.mark.parametrize("part", [each / 20 for each in range(1, 20)] if ALL else [0.3, 0.7, 0.9])
def test_a_kill_never_leaves_a_name_without_a_container(part, kept, tmp_path):
    """The name goes before the record; the same command again takes the rest, and what is left is said until then."""
    host = copied(kept, tmp_path / "whole")
    ended = run_counted(*command(host))
    assert (ended.signal, ended.status) == (0, 0), ended.output
    after = everything(host)
    host = copied(kept, tmp_path / "killed")
    assert run_counted(*command(host), kill_after=int(len(ended.calls) * part)).signal == signal.SIGKILL
    left = everything(host)
    assert {path: left[0].get(path) for path in after[0]} == after[0]
    (ident,) = (path.read_text() for path in (kept / NERDCTL).glob("*/names/default/web"))
    record = f"{b'containers'.hex()}/{ident.encode().hex()}"
    assert record not in str(after[1])
    is_recorded = record in str(left[1])
    assert is_recorded or not list((host / NERDCTL).glob("*/names/default/web"))
    has_folder = bool(list((host / NERDCTL).glob(f"*/containers/default/{ident}")))
    assert has_folder or not is_recorded
    if has_folder:
        # Another clean takes what no record names, but not what only the choice of the container covers.
        run("clean", "--now", capture(NAME).taken_at, "--apply", "--yes", "--state", host / "state", host, status=0)
        assert "was stopped before its end" in run("scan", "--state", host / "state", host) or is_recorded
        run(*command(host), status=0)
        assert everything(host) == after
    assert "was stopped before its end" not in run("scan", "--state", host / "state", host)


def test_a_name_that_stays_keeps_its_container(kept, tmp_path, monkeypatch):
    """The record and the folders are not tried then, and each says why in the same words, once."""
    host = copied(kept, tmp_path / "host")
    was = everything(host)
    unlink = knife.unlink

    def refuse(name, *, dir_fd):
        if name == b"web":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(knife, "unlink", refuse)
    said = run(*command(host), status=4)
    assert everything(host) == was
    reasons = re.findall(r"not tried: (.*?)(?:\). Backup: .*)?\n", said)
    assert len(reasons) == said.count("not tried") > 2
    assert {each[8:] for each in reasons} == {"/names/default/web: Operation not permitted"}


def forge(host, how):
    """Change what nerdctl keeps of ``web`` into what it never makes."""
    (store,) = (path.parent for path in (host / NERDCTL).glob("*/names"))
    ident = (store / "names/default/web").read_text()
    state = store / "containers/default" / ident
    if how == "link":
        state.rename(host / "elsewhere")
        state.symlink_to(host / "elsewhere")
    elif how == "writable":
        state.parent.chmod(0o777)
    elif how == "owner":
        os.chown(state, 1000, 1000)
    else:
        state.rename(state.with_name("other"))


@pytest.mark.parametrize("how", ["link", "writable", "owner", "missing"])
def test_a_state_folder_that_is_not_nerdctls_keeps_the_container(how, kept, tmp_path):
    """A link, a folder that others own or may write to, and none: the container stays with the reason, whole."""
    host = copied(kept, tmp_path / "host")
    forge(host, how)
    was = everything(host)
    assert "container web stays: " in run(*command(host))
    assert everything(host) == was

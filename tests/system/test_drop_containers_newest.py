"""``clean --drop container=NAME`` of Kubernetes' containers and pods and of nerdctl's, as their own commands do."""

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
from tests.support import gobbolt, surgery
from tests.support.captures import capture, unpack
from tests.support.documents import run
from tests.support.faults import run_counted
from tests.support.newest import ROOT, Newest, told
from tests.support.records import METADATA
from tests.support.roots import databases, dumps
from tests.support.trees import tree

from bbolt_reader import Database
from bbolt_surgery import Deletion, Insertion
from drydock.reclaim import knife

pytestmark = [pytest.mark.root]
FOLDERS = ("io.containerd.grpc.v1.cri/containers", "io.containerd.grpc.v1.cri/sandboxes")
NERDCTL = "var/lib/nerdctl"
NAME = "containerd-2.4-overlayfs"
ALL = "DRYDOCK_TEST_EVERY_KILL" in os.environ
"""Whether kills are tried all along the run; ./run prove does that."""


@pytest.mark.engine
@pytest.mark.slow
def test_it_takes_what_the_engines_remove(tmp_path):
    """The same records, data, folders and names stay, both engines list the same, and the names are free again.

    A container of a pod that stays, one of nerdctl, and a pod with its container.
    """
    newest = Newest("overlayfs", tmp_path)
    with newest.copy(tmp_path / "host") as removed:
        with newest.engine(removed, tmp_path / "first", collect=True) as engine:
            cri = Cri(engine)
            rows = json.loads(cri("ps", "--all", "--output", "json"))["containers"]
            pod = cri.pod("second")
            inside = cri.container(pod, "inside", rows[0]["image"]["image"], "sleep", "1000000")
            cri.start(inside)
            cri("stopp", pod)
            engine.collect("default")
        made = next(each for each in rows if each["state"] == "CONTAINER_EXITED")
        dropped = tmp_path / "dropped"
        subprocess.run(["cp", "-a", removed, dropped], check=True)
        with newest.engine(removed, tmp_path / "removes", collect=True) as engine:
            before = names(listed(engine))
            Cri(engine)("rm", made["id"])
            Cri(engine)("rmp", pod)
            Nerdctl(engine)("rm", "web")
            engine.collect("default")
            as_removed = told(engine), names(listed(engine))
        words = ("clean", "--now", newest.clock, "--accept-loss", "all", "--state", tmp_path)
        drops = [word for name in (made["id"], "web", inside, pod) for word in ("--drop", f"container={name}")]
        run(*words, *drops, "--apply", "--yes", dropped, status=0)
        assert not _folders(dropped) & {made["id"], inside, pod}
        assert _nerdctls(dropped) == _nerdctls(removed)
        assert _records(dropped) == _records(removed)
        with newest.engine(dropped, tmp_path / "goes-on", collect=True) as engine:
            engine.collect("default")
            assert (told(engine), names(listed(engine))) == as_removed
            assert set(on_disk(dropped / ROOT)) <= set(on_disk(removed / ROOT))
            _make_again(Nerdctl(engine))
            again = Cri(engine).pod("second")
            assert again in Cri(engine)("pods", "--quiet", "--no-trunc", "--name", "second", "--state", "Ready")
        assert as_removed[1] != before
        assert _folders(dropped) - {again} == _folders(removed)


def _records(host):
    """The path of each record in meta.db, as Go reads it."""
    lines = (line.split(" ") for line in gobbolt.dump(host / ROOT / METADATA).splitlines())
    return {path for kind, path, *_ in lines if kind == "bucket"}


def _make_again(nerdctl):
    image = nerdctl("ps", "--all", "--format", "{{.Image}}").splitlines()[0]
    assert nerdctl("run", "--name", "web", *nerdctl.apart, image, "/bin/busybox", "echo", "again") == "again"


def _folders(host):
    return {path.name for part in FOLDERS for path in (host / ROOT / part).iterdir()}


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


def pod_of(host):
    """The ids of the only pod: of its sandbox, and of its containers."""
    containers, (sandbox,) = ([path.name for path in (host / ROOT / part).iterdir()] for part in FOLDERS)
    return sandbox, sorted(containers)


def drop_pod(host, *options):
    """The words that drop that pod with its containers."""
    sandbox, containers = pod_of(host)
    return command(host, *options, name=",container=".join([*containers, sandbox]))


def test_undo_brings_a_pod_back(kept, tmp_path):
    """Its sandbox alone stays, because its containers do; with them it goes, and all comes back from quarantine."""
    host = copied(kept, tmp_path / "host")
    (host / "apart").mkdir()
    sandbox, containers = pod_of(host)
    was = everything(host)
    assert f"whose container {containers[0]} stays" in run(*command(host, name=sandbox))
    assert everything(host) == was
    run(*drop_pod(host, "--quarantine", host / "apart"), status=0)
    now = everything(host)
    assert sandbox.encode().hex() not in str(now[1])
    gone = {name.split(b"/")[2] for name in was[0].keys() - now[0].keys() if b".cri/" in name}
    assert gone == {b"sandboxes", b"containers"}
    (journal,) = (host / "state").glob("*/journal.jsonl")
    run("undo", journal, status=0)
    assert everything(host) == was


@pytest.mark.parametrize("part", [each / 20 for each in range(1, 20)] if ALL else [0.5])
def test_a_kill_of_a_pods_drop_leaves_folders_at_most(part, kept, tmp_path):
    """All of a pod is recorded, or nothing; folders without a record go when the CRI plugin starts (restart.go)."""
    host = copied(kept, tmp_path / "whole")
    sandbox, containers = pod_of(host)
    words = drop_pod(host)
    ended = run_counted(*words)
    assert (ended.signal, ended.status) == (0, 0), ended.output
    after = everything(host)
    host = copied(kept, tmp_path / "killed")
    words = drop_pod(host)
    assert run_counted(*words, kill_after=int(len(ended.calls) * part)).signal == signal.SIGKILL
    left = everything(host)
    assert {path: left[0].get(path) for path in after[0]} == after[0]
    record = b"containers".hex() + "/"
    recorded = {each for each in (sandbox, *containers) if record + each.encode().hex() in str(left[1])}
    assert recorded in ({sandbox, *containers}, set())
    again = ("clean", "--now", capture(NAME).taken_at, "--apply", "--yes", "--state", host / "state", host)
    run(*(words if recorded else again), status=0)
    done = everything(host)
    assert done[1] == after[1]
    assert all(b".cri/" in path for path in done[0].keys() - after[0].keys())


def test_a_network_of_its_own_is_named(kept, tmp_path):
    """The files by which host-local reserves the addresses of the pod that goes, and of no other."""
    host = copied(kept, tmp_path / "host")
    sandbox, _ = pod_of(host)
    networks = host / "var/lib/cni/networks/cbr0"
    networks.mkdir(parents=True)
    for address, name in (("10.1.0.2", "f" * 64), ("10.1.0.3", sandbox)):
        (networks / address).write_text(f"{name}\r\neth0")
    with_network(host, sandbox)
    said = run(*(word for word in drop_pod(host) if word not in ("--apply", "--yes")), status=1)
    assert f"; its network stays reserved, freed by: rm {networks}/10.1.0.3\n" in said
    assert "10.1.0.2" not in said


def with_network(host, sandbox):
    """Have the CRI plugin's record of a pod be that of one with a network of its own."""
    path = host / ROOT / METADATA
    bucket = (b"v1", b"k8s.io", b"containers", sandbox.encode(), b"extensions")
    key = b"io.cri-containerd.sandbox.metadata"
    with Database.open(path) as database:
        found = database.root
        for part in bucket:
            found = found.bucket(part)
        value = found.get(key)
    made = value.replace(b'"network":2', b'"network":0').replace(b'"NetNSPath":""', b'"NetNSPath":"/var/run/netns/x"')
    kind, _, document = made.partition(b"{")
    # The length before the JSON, as a varint of two bytes.
    size = len(document) + 1
    kind = kind[:-2] + bytes([size & 0x7F | 0x80, size >> 7])
    surgery.edit(path, [Deletion(bucket, key)], [Insertion(bucket, key, kind + b"{" + document)])


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

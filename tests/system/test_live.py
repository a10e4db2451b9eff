"""``scan --live`` beside a real containerd: what ctr lists, no lock, no socket, no change, an engine that goes on."""

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.engines.containerd import Containerd
from tests.engines.images import Image, layer, noise, write_archive
from tests.engines.listing import listed, names
from tests.engines.sandbox import Sandbox
from tests.support.captures import capture
from tests.support.documents import recorded, run
from tests.support.trees import tree

pytestmark = [pytest.mark.root, pytest.mark.engine]
NAMESPACES = "containerd-1.6-namespaces"
KINDS = ("content", "ingests", "snapshots")


@pytest.fixture
def running(unpacked_anew, tmp_path):
    """A containerd at work on a capture, and its root."""
    of = capture(NAMESPACES)
    root = unpacked_anew(of) / of.root
    work = tmp_path / "work"
    work.mkdir()
    with Sandbox(work) as sandbox, Containerd(sandbox, root, collect=False) as engine:
        yield engine, root


def live(root, *options):
    """The document of a live scan, which finds no damage and can read everything."""
    document = json.loads(run("scan", "--live", "--format", "json", *options, root))
    (found,) = document["roots"]
    assert found["live"] is True
    assert found["complete"] is True
    return found


def said(engine):
    """What ctr lists of the kinds that have states."""
    return {
        namespace: {kind: found[kind] for kind in KINDS if found[kind]}
        for namespace, found in names(listed(engine)).items()
    }


def test_it_says_what_ctr_says(running):
    """Object by object, in every namespace; and without ``--live`` it is refused."""
    engine, root = running
    found = {space: kinds for space, kinds in said(engine).items() if kinds}
    assert {space: {**kinds} for space, kinds in recorded(live(root)).items()} == found
    assert run("scan", root, status=32) == ""
    for command in ("plan", "clean"):
        run(command, "--live", root, status=16)
    run("apply", "--live", root / "plan", status=16)


def test_other_commands_look_beside_it_too(running):
    """What ls, pulls and explain say is what they say once the engine has stopped; without --live they are refused."""
    engine, root = running
    asked = (("ls", "images"), ("ls", "leases"), ("ls", "snapshots"), ("pulls",), ("explain", "snapshots/1"))
    forms = [(*words, "--format", "json", root) for words in asked]
    for words in forms:
        assert run(*words, status=32) == ""
    beside = [undated(run(*words, "--live", status=0)) for words in forms]
    engine.stop()
    assert beside == [undated(run(*words, status=0)) for words in forms]


def undated(text):
    """A document without the time that it was made."""
    return {name: value for name, value in json.loads(text).items() if name != "now"}


@pytest.mark.parametrize("form", ["table", "tree", "json", "jsonl", "csv", "markdown", "html"])
def test_every_format_says_so(running, form):
    """That it was live; with the engine stopped none does."""
    engine, root = running
    word = {"csv": ",true,\n", "json": '"live": true', "jsonl": '"live":true'}.get(
        form, "live: read beside a running engine"
    )
    assert word in run("scan", "--live", "--format", form, root)
    engine.stop()
    assert word not in run("scan", "--format", form, root)


def test_it_changes_nothing_and_takes_no_lock(running):
    """Not a byte nor an access time; no flock and no connection is made."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    _, root = running
    before = tree(root)
    command = [sys.executable, "-m", "drydock", "scan", "--live", "--format", "json", str(root)]
    traced = ["strace", "-f", "-y", "-qq", "-e", "trace=flock,connect,fcntl", "-e", "signal=none", *command]
    done = subprocess.run(traced, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1, 2, 3), done.stderr
    # What drydock locks of its own, its journals, does not lie there.
    calls = [
        line
        for line in done.stderr.splitlines()
        if "connect(" in line or (str(root) in line and ("flock(" in line or "SETLK" in line))
    ]
    assert calls == []
    assert tree(root) == before


def test_an_engine_at_work_is_neither_disturbed_nor_misjudged(running, tmp_path):
    """While images come and go, no look finds damage or anything new to free; afterwards all asked for is there."""
    engine, root = running
    quiet = live(root)
    places = []
    for number in range(12):
        image = Image((layer({"a": noise(number, 40)}), layer({"b": noise(number + 100, 40)})))
        places.append(tmp_path / f"{number}.tar")
        write_archive(places[-1], {f"example.org/image:{number}": image})
    failed, ended = [], threading.Event()

    def work():
        try:
            for number, place in enumerate(places):
                engine.ctr(
                    "images", "import", "--snapshotter", "native", "-", namespace="busy", stdin=place.read_bytes()
                )
                if number % 2:
                    engine.ctr("images", "rm", "--sync", f"example.org/image:{number}", namespace="busy")
        except RuntimeError as error:
            failed.append(error)
        finally:
            ended.set()

    worker = threading.Thread(target=work)
    worker.start()
    looks = []
    while not ended.is_set():
        looks.append(live(root, "--verify", "digest"))
    worker.join()
    assert failed == []
    assert len(looks) > 1
    expected = {state: quiet["totals"][state]["count"] for state in ("orphaned", "missing", "corrupt", "foreign")}
    for look in looks:
        assert {state: look["totals"][state]["count"] for state in expected} == expected
        assert [each for each in look["findings"] if each["severity"] == "damage"] == [
            each for each in quiet["findings"] if each["severity"] == "damage"
        ]
    kept = {f"example.org/image:{number}" for number in range(0, 12, 2)}
    assert kept <= {row["name"] for row in listed(engine)["busy"]["images"]}
    assert recorded(live(root))["busy"]["content"] == said(engine)["busy"]["content"]
    assert Path(root).is_dir()

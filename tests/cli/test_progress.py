"""The bar: drawn for what takes long, and gone where something else is printed."""

import io
import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from benchmarks import root as large
from tests.support import large_image
from tests.support.captures import capture
from tests.support.fleets import host_document
from tests.support.terminal import bars, on_terminal

from drydock.cli import progress

# One worker's: the stores are built once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("progress")]

_BAR = re.compile(r"\w.*: +\d+%\|.*\| [\d.]+[kMG]?/[\d.]+[kMG]? \[\d\d:\d\d<(\d\d:\d\d|\?), +[\d.?]+[kMG]?B?/s\]")
"""What is done, how much of how much, the time it took, the time to go, and the rate."""
_STORE = large.Size(30_000, 8, 40_000, 512, 700)
_MANY = large.Size(90_000, 8, 800, 16, 700)
_IMAGE = 3 << 28


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of 30,000 blobs, and 40,000 files in 8 layers that one lease holds."""
    return large.built(tmp_path_factory.mktemp("large"), _STORE)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A store of so many blobs that no command reads them within half a second."""
    return large.built(tmp_path_factory.mktemp("many"), _MANY)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A store with an image of 768 MiB."""
    top = tmp_path_factory.mktemp("image") / "root"
    large_image.build(top, _IMAGE, int(time.time()) - 3600)
    return top


@pytest.fixture
def copy(store, tmp_path):
    """A store that may be changed."""
    subprocess.run(["cp", "-a", store, tmp_path / "root"], check=True)
    return tmp_path / "root"


def drawn(*arguments, columns=120, status=(0,)):
    """The bars that a command drew, once all is well with the screen."""
    text, code = bars(*arguments, columns=columns)
    assert code in status, text
    lines = text.split("\r")
    # Gone at the end, and never wider than the screen, where it would wrap and stay.
    assert "%|" not in lines[-1]
    assert max(map(len, lines[:-1])) < columns
    found = [line for line in lines if _BAR.match(line)]
    assert found, text
    return found


@pytest.mark.parametrize("columns", [80, 200])
def test_scan_draws_a_bar(many, columns):
    """With what there is in all, at the width of the screen."""
    assert any(len(line) > columns - 20 for line in drawn("scan", many, columns=columns))


@pytest.mark.parametrize(
    "words", [["plan"], ["clean"], ["pulls"], ["ls", "content"], ["explain", "docker.io/library/image:0"]], ids=" ".join
)
def test_each_command_that_reads_a_store_draws_a_bar(words, many):
    """Whatever it reads the store for."""
    drawn(*words, many, status=(0, 2))


@pytest.mark.parametrize(
    "words", [["scan", "--measure", "disk"], ["scan", "--live"], ["verify"], ["repair"]], ids=" ".join
)
def test_each_command_that_reads_more_draws_a_bar(words, store, tmp_path):
    """Of a store that is read at once without that."""
    state = ["--state", tmp_path] if words[0] in ("verify", "repair") else []
    lines = drawn(*words, store, *state, status=(0, 2))
    assert (words[0] in ("verify", "repair")) == any("blobs looked at" in line for line in lines)


@pytest.mark.parametrize(
    "words", [["scan", "--verify", "digest"], ["verify", "--data"], ["repair", "--data"]], ids=" ".join
)
def test_bytes_are_counted_in_bytes(words, image, tmp_path):
    """What hashes says how many bytes of how many."""
    state = [] if words[0] == "scan" else ["--state", tmp_path]
    assert any("bytes hashed" in line and "/768M" in line for line in drawn(*words, image, *state))


def test_export_image_tells_the_bytes_it_writes(image):
    """Of how many, which is known beforehand."""
    assert any("bytes written" in line for line in drawn("export", "image", large_image.NAME, image, "-o", "-"))


def test_export_container_tells_the_bytes_it_writes(store):
    """Of about as many as the layers take."""
    (key,) = {each["key"] for each in listed(store) if each["row"].startswith("moby/8/")}
    lines = drawn("export", "container", key, store, "-o", "-")
    assert any("bytes written (total estimated)" in line for line in lines)


@pytest.mark.root
def test_clean_apply_undo_and_apply_draw_a_bar(copy, tmp_path):
    """What is moved and moved back, and the bytes that are removed."""
    (tmp_path / "aside").mkdir(mode=0o700)
    ending, state = ["--end-lease", large.LEASE], ["--state", tmp_path / "state"]
    drawn("clean", "--apply", "--yes", *ending, *state, "--quarantine", tmp_path / "aside", copy)
    (journal,) = Path(tmp_path / "state").glob("**/journal*")
    drawn("undo", journal)
    assert bars("plan", *ending, "-o", tmp_path / "plan", copy, columns=120)[1] == 1
    assert any("bytes removed" in line for line in drawn("apply", tmp_path / "plan", *state))


def test_fleet_tells_how_much_of_the_reports_it_has_read(tmp_path):
    """Of many hosts."""
    text = json.dumps(host_document(1))
    for number in range(1500):
        (tmp_path / f"host-{number}.json").write_text(text)
    assert any("bytes of reports read" in line for line in drawn("fleet", tmp_path))


def test_salvage_tells_how_many_pages_it_has_read(store):
    """Of those that the file has."""
    database = store / large.METADATA / "meta.db"
    assert any("pages read" in line for line in drawn("bolt", "salvage", database))


def test_a_task_without_steps_is_named(monkeypatch):
    """What tells nothing until it ends is named once the command has taken long enough."""
    bar = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", bar)
    with progress.show_progress() as told:
        told("pages", 3, 10)
        assert not bar.getvalue()
        time.sleep(0.4)
        told("judging", 0)
        assert "judging …" in bar.getvalue()


class Terminal(io.StringIO):
    """Text that takes itself for a terminal."""

    def isatty(self):
        """It does."""
        return True


def on_screen(terminal):
    """What is left on the last line: what came after the last return to its beginning."""
    return terminal.getvalue().rpartition("\r")[2]


def test_is_gone_before_a_question(monkeypatch):
    """What is asked and shown stands on a line of its own, and the bar comes back for what follows."""
    bar, seen = Terminal(), []
    monkeypatch.setattr(progress.sys, "stderr", bar)
    with progress.show_progress() as told:
        time.sleep(0.4)
        told("blobs", 3)
        assert "blobs" in bar.getvalue()
        assert told.cleared(lambda _: bool(seen.append(on_screen(bar))) or True)(None)
        told("removed", 1)
    assert seen == [""]
    assert "removed" in bar.getvalue()
    assert on_screen(bar) == ""


def test_nothing_in_a_pipe(monkeypatch):
    """No terminal, no bar."""
    monkeypatch.setattr(progress.sys, "stderr", io.StringIO())
    with progress.show_progress() as told:
        assert told is None


@pytest.mark.root
@pytest.mark.parametrize("command", ["repair", "clean", "verify"])
def test_short_work_draws_nothing_into_what_it_says(command, unpacked):
    """On a terminal the first line is the root's, as in a pipe."""
    of = capture("docker-28.5-interrupted-pull")
    text, _ = on_terminal(command, "--now", of.taken_at, unpacked(of), columns=80, errors=True)
    assert text.rpartition("\r")[2].startswith(str(unpacked(of)))


def listed(store):
    """The snapshots of a store."""
    text, _ = on_terminal("ls", "snapshots", store, "--format", "json", columns=80)
    return json.loads(text)["roots"][0]["snapshots"]

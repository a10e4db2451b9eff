"""``drydock clean --apply`` where not everything can be read: what it removes, and the status that says so."""

import copy
import shutil

import pytest
from click.testing import CliRunner
from fuzz.stores import META_DB, METADATA_DB, ROWS, SEQUENCES
from tests.support import boltwriter
from tests.support.documents import run
from tests.support.terminal import answered

from drydock.cli import main
from drydock.reclaim import execute
from drydock.reclaim.execute_removals import run_removals
from drydock.reclaim.state_dir import find_unfinished

BLOBS = "io.containerd.content.v1.content/blobs"
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"


def spoil(path):
    """A database whose pages are noise."""
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 8192)


def replace(path, link):
    """A file, or a link to a folder, in the place of a folder."""
    shutil.rmtree(path)
    if link:
        path.symlink_to("/var")
    else:
        path.write_text("x")


UNREAD = {
    "meta.db": lambda root: spoil(root / META_DB),
    "metadata.db": lambda root: spoil(root / METADATA_DB),
    "blobs is a file": lambda root: replace(root / BLOBS, link=False),
    "blobs is a link": lambda root: replace(root / BLOBS, link=True),
    "snapshots is a file": lambda root: replace(root / SNAPSHOTS, link=False),
    "snapshots is a link": lambda root: replace(root / SNAPSHOTS, link=True),
}


def test_all_of_it_done_is_0(store, tmp_path):
    """Where everything could be read, nothing is added to the status."""
    run("clean", store, "--apply", "--yes", "--state", tmp_path / "state", status=0)
    run("clean", store, "--apply", "--yes", "--state", tmp_path / "state", status=0)


def test_an_end_at_the_question_has_a_line_of_its_own(store, tmp_path):
    """Ctrl-D, which ends the question as Ctrl-C does: the message does not follow it on its line."""
    said = answered("clean", store, "--apply", "--state", tmp_path / "state", answer="\x04")
    assert said.returncode == 130
    assert said.stderr.endswith("\ndrydock: interrupted\n")


def test_a_no_has_the_status_of_what_is_there(store, tmp_path):
    """As without --apply: nothing was removed, so it can still be."""
    said = answered("clean", store, "--apply", "--state", tmp_path / "state", answer="n")
    assert "Do this?" in said.stdout
    assert said.returncode == 1
    run("clean", store, status=1)
    assert not list(tmp_path.glob("state/*"))


@pytest.mark.parametrize("what", UNREAD)
def test_what_could_not_be_read_is_in_the_status(store, tmp_path, what):
    """8 as scan's, with something removed and, in the next run, with nothing left to remove."""
    UNREAD[what](store)
    apply = ("clean", store, "--apply", "--yes", "--state", tmp_path / "state")
    run(*apply, status=8)
    run(*apply, status=8)


def without_id(rows):
    """A row of a damaged database."""
    del rows[b"id"]


def of_a_newer_version(rows):
    """A row with a field that is not known."""
    rows[b"future"] = b"x"


@pytest.mark.parametrize("spoil_row", [without_id, of_a_newer_version])
@pytest.mark.parametrize("command", [("scan",), ("plan",), ("clean",), ("clean", "--apply", "--yes")])
def test_the_cause_of_an_8_is_on_stderr(store, tmp_path, command, spoil_row):
    """With the file, whatever is left to be removed: a row of which one field is not understood."""
    rows = copy.deepcopy(ROWS)
    spoil_row(rows[b"v1"][b"snapshots"][min(rows[b"v1"][b"snapshots"])])
    boltwriter.write(store / METADATA_DB, rows, sequences=SEQUENCES)
    state = ("--state", str(tmp_path / "state")) if "--apply" in command else ()
    said = CliRunner().invoke(main, [*command, *state, str(store)])
    assert said.exit_code & 8
    assert f"drydock: {store / METADATA_DB}: " in said.stderr


def test_who_interrupts_it_is_told_how_to_go_on(store, tmp_path, monkeypatch):
    """The journal of what was begun is named, and the command that finishes it."""
    command = ["clean", str(store), "--apply", "--yes", "--state", str(tmp_path / "state")]

    def interrupted(*arguments):
        run_removals(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(execute, "run_removals", interrupted)
        result = CliRunner().invoke(main, command)
    (journal,) = (tmp_path / "state").glob("*/journal.jsonl")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == (
        f"drydock: interrupted; journal: {journal}; drydock clean --apply, with the options it had, finishes that run"
    )
    again = CliRunner().invoke(main, command)
    assert again.exit_code & 4 == 0, again.output
    assert not find_unfinished(bytes(store), [bytes(tmp_path / "state")])

"""stdout and stderr that are full, closed, left by their reader or narrow: what becomes of a run."""

import hashlib
import json
import os
import pty
import re
import subprocess
import time

import pytest
from tests.support import boltwriter
from tests.support.adoptable import IMAGE, blob_path, lay_out, namespace, target, without
from tests.support.program import DRYDOCK

from drydock.model.text import unshown
from drydock.reclaim import state_dir

FULL = "/dev/full"
NAME = "example.org/日本/é:1"
ORPHAN = b"x" * 5000

pytestmark = pytest.mark.skipif(not os.path.exists(FULL), reason="no /dev/full")


@pytest.fixture
def store(tmp_path):
    """A root with one image, and a blob that no record names."""
    root = lay_out(tmp_path / "store", {b"default": namespace()})
    orphan(root).write_bytes(ORPHAN)
    return root


def orphan(root):
    """Where the blob without a record lies."""
    return blob_path(root, IMAGE.manifest).with_name(hashlib.sha256(ORPHAN).hexdigest())


def drydock(*words, redirected="", environment=None):
    """Exit status and what came on stderr of a command, its streams as a shell redirects them."""
    words = [str(word) for word in (*DRYDOCK, *words)]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirected}', "bash", *words], capture_output=True, check=False,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    return done.returncode, done.stderr.decode(), done.stdout


def cleaned(root, tmp_path, redirected):
    """Exit status and what came on stderr of a clean that is not to ask."""
    return drydock("clean", root, "--apply", "--yes", "--state", tmp_path / "state", redirected=redirected)[:2]


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["scan"], ["ls", "images"], ["schema", "scan"]])
@pytest.mark.parametrize("form", [f">{FULL}", ">&-"])
def test_what_only_looks_says_that_it_could_not_be_told(store, words, form):
    """4 with a line on stderr, and the status of what was found."""
    own = {"scan": 1}.get(words[0], 0)
    status, errors, _ = drydock(*words, *[store][: words[0] in ("scan", "ls")], redirected=form)
    assert status == 4 | own
    assert errors.startswith("drydock: stdout: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("form", [f">{FULL}", f">{FULL} 2>{FULL}", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_clean_frees_the_disk_that_its_log_lies_on(store, tmp_path, form):
    """All that was planned is gone, the databases are as they were and the status has 4."""
    databases = {path: path.read_bytes() for path in store.glob("*/*.db")}
    assert cleaned(store, tmp_path, form)[0] == 4
    assert not orphan(store).exists()
    assert {path: path.read_bytes() for path in store.glob("*/*.db")} == databases


def test_where_the_journal_is_comes_on_stderr(store, tmp_path):
    """What takes a run back is told even where its log is lost."""
    status, errors = cleaned(store, tmp_path, f">{FULL}")
    (journal,) = (tmp_path / "state").glob("*/journal.jsonl")
    assert status == 4
    assert errors.splitlines() == ["drydock: stdout: No space left on device", f"drydock: journal: {journal}"]


def test_a_reader_that_leaves_does_not_stop_a_clean(store, tmp_path):
    """``clean --apply --yes | head -1``: it goes to its end, and what nobody wanted to read is no failure."""
    for number in range(3000):
        (orphan(store).parent / hashlib.sha256(b"%d" % number).hexdigest()).write_bytes(b"%d" % number)
    status, errors, _ = drydock(
        "clean", store, "--apply", "--yes", "--state", tmp_path / "state",
        redirected="2>&1 | { head -c 1 >/dev/null; exec <&-; sleep 0.1; }; exit ${PIPESTATUS[0]}",
    )  # fmt: skip
    assert (status, errors) == (0, "")
    assert len(list(orphan(store).parent.iterdir())) == len(IMAGE.blobs)


@pytest.mark.parametrize("words", [["--help"], ["scan"], ["bolt", "dump"]])
def test_a_reader_that_leaves_ends_what_only_looks(store, words):
    """As the signal would, without a word of Python."""
    where = {"scan": [store], "bolt": [next(store.glob("*/meta.db"))]}.get(words[0], [])
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([*DRYDOCK, *words, *map(str, where)], stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


def test_nothing_is_asked_that_cannot_be_shown(store, tmp_path):
    """With a terminal to answer on, and a full disk for stdout: nothing is read from it, nothing is done, 4."""
    leader, follower = pty.openpty()
    os.write(leader, b"y\n")
    with open(FULL, "wb") as full:
        done = subprocess.run(
            [*DRYDOCK, "clean", store, "--apply", "--state", tmp_path / "state"],
            stdin=follower, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60,
        )  # fmt: skip
    os.close(leader)
    os.close(follower)
    assert done.returncode == 4
    assert b"nothing was done" in done.stderr
    assert orphan(store).exists()


def test_what_was_done_keeps_its_status(store, tmp_path):
    """apply, undo, trust and salvage --rebuild did what they should, which the full disk does not change."""
    plan, kept = tmp_path / "plan", tmp_path / "state"
    assert drydock("plan", store, "-o", plan, redirected=f">{FULL}")[0] == 4 | 1
    apart = tmp_path / "apart"
    apart.mkdir(mode=0o700)
    words = ("apply", plan, "--state", kept, "--quarantine", apart)
    assert drydock(*words, redirected=f">{FULL} 2>{FULL}")[0] == 4
    assert not orphan(store).exists()
    (journal,) = kept.glob(f"*/{os.fsdecode(state_dir.JOURNAL)}")
    assert drydock("undo", journal, redirected=f">{FULL}")[0] == 4
    assert orphan(store).read_bytes() == ORPHAN
    meta, rebuilt = next(store.glob("*/meta.db")), tmp_path / "rebuilt.db"
    assert drydock("bolt", "salvage", meta, "--rebuild", rebuilt, redirected=f">{FULL}")[0] == 4
    assert drydock("bolt", "check", rebuilt)[0] == 0
    assert drydock("bolt", "trust", rebuilt, redirected=f">{FULL}")[0] == 4
    assert b"nothing to do" in drydock("bolt", "trust", rebuilt)[2]


def test_repair_mends_what_it_cannot_tell_of(tmp_path):
    """The record is back, and the status has 4."""
    root = lay_out(tmp_path / "store", {b"default": without(namespace(), IMAGE.layers[0])})
    words = ("repair", root, "--adopt", "--apply", "--yes", "--state", tmp_path / "state")
    assert drydock(*words, redirected=f">{FULL}")[0] == 4
    assert drydock("verify", root)[0] == 0


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_repair_whose_file_cannot_be_written(tmp_path, form):
    """What takes it back is told on stderr, and the status has 4, as where stdout is lost."""
    root = lay_out(tmp_path / "store", {b"default": without(namespace(), IMAGE.layers[0])})
    status, errors, _ = drydock(
        "repair", root, "--adopt", "--apply", "--yes", "--state", tmp_path / "state", "--format", form, "-o", FULL
    )
    (journal,) = (tmp_path / "state").glob("*/journal.jsonl")
    assert status == 4
    assert errors.splitlines() == [f"drydock: {FULL}: No space left on device", f"drydock: journal: {journal}"]


@pytest.mark.parametrize("form", [f"2>{FULL}", "2>&-"])
def test_what_cannot_be_said_on_stderr(store, tmp_path, form):
    """An export is whole, and refused or wrong words are refused: with the status of that, and 4."""
    out = tmp_path / "image.tar"
    assert drydock("export", "image", "example.org/shop:1", store, "-o", out, redirected=form)[0] == 4
    assert out.stat().st_size > 2000
    assert drydock("scan", "--nothing", redirected=form)[0] == 16 | 4
    assert drydock("scan", tmp_path / "none", redirected=form)[0] == 8 | 4
    assert drydock("clean", store, "--end-lease", "none", redirected=form)[0] == 16 | 4
    assert drydock("scan", store, redirected=form)[0] == 1


def test_an_export_to_a_full_disk(store):
    """However small, it is said not to be whole, once."""
    status, errors, _ = drydock("export", "image", "example.org/shop:1", store, "-o", "-", redirected=f">{FULL}")
    assert status == 4
    assert "the archive on stdout is incomplete" in errors
    assert errors.count("No space left") == 1


def test_a_pipe_that_does_not_wait(tmp_path):
    """A reader that is slower than a pipe which does not block gets all of it."""
    boltwriter.write(
        tmp_path / "x.db", {b"v1": {b"key": bytes(1000)}, b"v2": {b"%d" % each: bytes(1000) for each in range(200)}}
    )
    command = [*DRYDOCK, "bolt", "dump", tmp_path / "x.db"]
    whole = subprocess.run(command, capture_output=True, check=True).stdout
    assert len(whole) > 1 << 17
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE) as process, open(ours, "rb") as pipe:
        os.close(theirs)
        time.sleep(1)
        assert pipe.read() == whole
        assert process.stderr.read() == b""
    assert process.returncode == 0


NARROW = ["ascii", "iso-8859-1", "utf-8:strict"]
"""What a stream of these cannot have is escaped."""


@pytest.fixture
def foreign(tmp_path):
    """A root whose image has a name with letters of other scripts, under a folder that is no UTF-8."""
    space = namespace()
    space[b"images"][NAME.encode()] = target(IMAGE.manifest)
    root = tmp_path / os.fsdecode(b"caf\xe9")
    return lay_out(root, {b"default": space})


@pytest.mark.interpreter
@pytest.mark.parametrize("encoding", NARROW)
def test_a_name_without_a_letter_for_it_is_escaped(foreign, encoding):
    """No command stops at it, and the escape can be typed."""
    environment = {"PYTHONIOENCODING": encoding}
    meta = next(foreign.glob("*/meta.db"))
    words = (
        *(("scan", foreign, "--format", form) for form in ("table", "tree", "markdown")),
        ("scan", foreign, "--holders", "--format", "html"),
        *(("ls", kind, foreign) for kind in ("images", "content", "leases")),
        ("explain", NAME, foreign), ("explain", IMAGE.manifest.digest, foreign), ("verify", foreign),
        ("bolt", "keys", meta, "v1", "default", "images"), ("plan", foreign, "-o", foreign / "é日.plan"),
        ("clean", foreign),
    )  # fmt: skip
    for each in words:
        status, errors, _ = drydock(*each, environment=environment)
        assert status in (0, 1), (each, errors)
        assert "Traceback" not in errors
    listed = drydock("bolt", "keys", meta, "v1", "default", "images", environment=environment)[2]
    name = listed.decode(encoding.partition(":")[0]).splitlines()[-1].rstrip("/")
    assert unshown(name) == NAME.encode()
    assert drydock("explain", name, foreign, environment=environment)[0] == 0


_FREE = re.compile(
    r'("(?:used|free|inodes_free)": ?)[0-9]+'
    r"|(?<=,file_system,).*"
    r"|[0-9.]+ [KMGT]?i?B (?=used|free)|[0-9]+ (?=inodes free)"
)
"""Figures of the file system: in JSON, in CSV, and on the page."""


@pytest.mark.parametrize("encoding", NARROW)
def test_documents_are_utf_8(foreign, tmp_path, encoding):
    """What programs read is on stdout, byte for byte, what it is in a file, whatever the locale."""
    environment = {"PYTHONIOENCODING": encoding}
    now = ("--now", "2026-01-01T00:00:00Z", "--host", "ö")
    for form in ("json", "jsonl", "csv", "html"):
        words = ("scan", *now, "--holders", "--format", form, foreign)
        out = tmp_path / "out"
        drydock(*words, "-o", out, environment=environment)
        said = drydock(*words, environment=environment)[2]
        # Others write to the file system between the two scans.
        ours, theirs = (_FREE.sub(lambda found: found[1] or "", text.decode()) for text in (said, out.read_bytes()))
        assert ours == theirs
        assert form in ("csv", "html") or NAME in said.decode()
    for words in (("ls", "images"), ("explain", NAME), ("plan",), ("verify",), ("pulls",)):
        form = () if words == ("plan",) else ("--format", "json")
        document = json.loads(drydock(*words, foreign, *form, environment=environment)[2].decode())
        assert document["schema"] == f"drydock.{words[0]}/1"

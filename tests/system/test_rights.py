"""What may not be read or written: said in one line with the right exit status, and nothing is left half done."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from fuzz.stores import META_DB, METADATA_DB, put
from tests.support import adoptable
from tests.support.privilege import NOBODY
from tests.support.trees import tree

import drydock

# An engine beside them, whoever's, may be in the way of a user.
pytestmark = [pytest.mark.root, pytest.mark.xdist_group("host")]

NOW = ("--now", "2001-09-09T01:46:41Z")
SOURCE = Path(drydock.__file__).parents[1]
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"
# Python and its libraries may lie where only root gets to: what any file of the project, or click, imports on demand is
# loaded before that; once for all calls, because it takes four times as long as a call.
SERVER = """
import contextlib, gc, importlib, json, os, pathlib, re, sys
import concurrent.futures.thread, difflib, encodings.idna
sys.path[:0] = sys.argv[2].split(":")
source = pathlib.Path(sys.argv[1])
for path in source.rglob("*.py"):
    names = re.findall(r"^ *(?:from|import) ([a-z_0-9.]+)", path.read_text(), re.MULTILINE)
    own = ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
    for name in (*names, *([] if path.name == "__main__.py" else [own])):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
from drydock.cli import main
gc.freeze()
for line in sys.stdin:
    arguments, user, *files = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, file in enumerate((os.devnull, *files)):
            os.dup2(os.open(file, os.O_RDONLY if number == 0 else os.O_WRONLY), number)
        if user is not None:
            os.setgroups([])
            os.setresgid(*[user] * 3)
            os.setresuid(*[user] * 3)
        sys.exit(main(arguments))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
LABEL = b"system_u:object_r:container_file_t:s0:c1,c2\0"


@pytest.fixture
def root():
    """A small store with something of every state, where everybody can get to."""
    folder = Path(tempfile.mkdtemp(prefix="drydock-rights-"))
    folder.chmod(0o755)
    root = folder / "root"
    root.mkdir(mode=0o755)
    put(root)
    yield root
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server():
    """A process that has loaded all there is to load, and starts drydock, also as another user."""
    environment = {**os.environ, "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", SERVER, str(SOURCE), ":".join(sys.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process


@pytest.fixture
def run(server):
    """What runs ``drydock``, also as another user, and gives exit status, stdout and stderr."""

    def started(*arguments, user=None):
        with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as errors:
            server.stdin.write(json.dumps([[*map(str, arguments)], user, out.name, errors.name]) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline()), out.read(), errors.read()

    return started


def own(path, uid):
    """Give a tree to a user."""
    for folder, folders, files in os.walk(path):
        for name in (".", *folders, *files):
            os.chown(os.path.join(folder, name), uid, uid, follow_symlinks=False)


def close(root):
    """As containerd leaves it: its folders are root's alone."""
    for path in (root / META_DB, root / METADATA_DB):
        path.chmod(0o600)
    for path in root.iterdir():
        path.chmod(0o700)


CALLS = {
    "scan": (*NOW,),
    "scan --format json": (*NOW, "--format", "json"),
    "explain": (*NOW, "c1"),
    "pulls": (*NOW,),
    "ls images": (*NOW,),
    "verify": (*NOW, "--state", "{}"),
    "repair": (*NOW,),
    "export container": ("-o", "-", "c1"),
    "diff container": ("c1",),
    "bolt salvage": (),
    "plan": (*NOW, "-o", "-"),
    "clean": (*NOW,),
    "clean --apply --yes": (*NOW, "--state", "{}"),
}


def where(call, root):
    """What a call is about: the root, or a file of it."""
    return root / META_DB if call.startswith("bolt") else root


@pytest.mark.parametrize("call", CALLS)
def test_a_user_who_may_not_read(root, call, tmp_path, run):
    """One line on stderr that says what could not be read, exit status 8 or 32, nothing changed and no traceback."""
    close(root)
    before = tree(root)
    options = [str(tmp_path) if each == "{}" else each for each in CALLS[call]]
    status, _, errors = run(*call.split(), *options, where(call, root), user=NOBODY)
    assert status in {8, 32}, errors
    assert errors.count("\n") == 1
    assert errors.startswith("drydock: ")
    # An engine of this host's, which may be anybody's business, is refused before anything is read.
    assert "ermission denied" in errors or "cannot be looked into (run as root)" in errors
    assert tree(root) == before


def test_a_user_who_may_read_sees_what_would_be_adopted(root, run):
    """The same plan as root's, with nothing changed but access times, which are not a reader's to keep."""
    shutil.rmtree(root)
    adoptable.lay_out(root, {b"default": adoptable.without(adoptable.namespace(), adoptable.IMAGE.manifest)})
    before = tree(root, times=False)
    calls = [run("repair", "--adopt", "--now", adoptable.NOW, root, user=user) for user in (None, NOBODY)]
    assert calls[0] == calls[1]
    assert calls[0][0] == 2
    assert "complete again" in calls[0][1]
    assert tree(root, times=False) == before


@pytest.mark.parametrize("command", ["info", "check", "buckets", "keys", "dump", "pages"])
def test_a_user_who_may_not_read_a_file(root, command, run):
    """The same for bolt."""
    close(root)
    status, said, errors = run("bolt", command, root / META_DB, user=NOBODY)
    assert (status, said, errors.count("\n")) == (8, "", 1)
    assert "ermission denied" in errors


@pytest.mark.parametrize("call", ["apply", "undo"])
def test_a_user_who_may_not_read_a_plan_or_a_journal(root, call, tmp_path, run):
    """The same for what apply and undo are given."""
    if call == "apply":
        run("plan", *NOW, "-o", tmp_path / "file", root)
    else:
        run("clean", "--apply", "--yes", *NOW, "--state", tmp_path, root)
        shutil.copy(next(tmp_path.glob("*/journal.jsonl")), tmp_path / "file")
    (tmp_path / "file").chmod(0o600)
    before = tree(root)
    status, _, errors = run(call, tmp_path / "file", user=NOBODY)
    assert (status, errors.count("\n")) == (8, 1), errors
    assert tree(root) == before


def test_a_user_who_may_read_and_not_write(root, run):
    """A store that everybody may read can be scanned; cleaning it is refused or fails, and changes nothing."""
    before = tree(root)
    assert run("scan", *NOW, root, user=NOBODY)[0] & ~3 == 0
    with tempfile.TemporaryDirectory() as state:
        os.chown(state, NOBODY, NOBODY)
        status, _, errors = run("clean", "--apply", "--yes", *NOW, "--state", state, root, user=NOBODY)
    assert status & 36, errors
    assert "Traceback" not in errors
    assert tree(root, times=False).keys() == set(before)


def test_a_user_cleans_what_is_the_users_own(root, run):
    """Rootless: everything that goes is gone, and nothing else."""
    own(root.parent, NOBODY)
    with tempfile.TemporaryDirectory() as state:
        os.chown(state, NOBODY, NOBODY)
        status, said, errors = run("clean", "--apply", "--yes", *NOW, "--state", state, root, user=NOBODY)
    if "cannot be looked into (run as root)" in errors:
        pytest.skip("an engine runs on this host, and a user cannot tell whose root it has")
    assert status == 0, said + errors
    assert "othing to remove" in run("clean", *NOW, root, user=NOBODY)[1]


@pytest.fixture
def read_only(root):
    """The store, on a mount that is read-only."""
    subprocess.run(["mount", "--bind", root, root], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
        yield root
    finally:
        subprocess.run(["umount", root], check=True)


@pytest.mark.parametrize("call", [each for each in CALLS if not each.startswith("clean --apply")])
def test_a_root_that_is_read_only_is_looked_at(read_only, call, tmp_path, run):
    """All that changes nothing works where nothing can be changed."""
    options = [str(tmp_path) if each == "{}" else each for each in CALLS[call]]
    status, said, errors = run(*call.split(), *options, where(call, read_only))
    assert status & ~3 == 0, errors
    assert said or call == "diff container"  # which changed nothing


@pytest.mark.parametrize("aside", [False, True])
def test_a_root_that_is_read_only_is_not_half_cleaned(read_only, tmp_path, aside, run):
    """Exit status 4 or 32 and the reason; not a byte of it is changed."""
    before = tree(read_only)
    options = ("--quarantine", read_only.parent) if aside else ()
    status, said, errors = run("clean", "--apply", "--yes", *NOW, "--state", tmp_path, *options, read_only)
    assert status & 36, said + errors
    assert not status & 64
    # What lies beside it is on another mount.
    assert ("nothing can be renamed into it" if aside else "read-only") in (said + errors).lower()
    assert tree(read_only) == before


def test_labels_and_owners_are_kept(root, tmp_path, run):
    """SELinux's labels, owners and modes: of edited databases, and of folders that were moved away and back."""
    (folder,) = root.glob(f"{SNAPSHOTS}/6")
    paths = [folder, folder / "fs", root / META_DB, root / METADATA_DB]
    for number, path in enumerate(paths):
        os.setxattr(path, "security.selinux", LABEL)
        os.setxattr(path, "user.note", b"%d" % number)
        os.chown(path, 1000 + number, 2000 + number)
        path.chmod(0o710 + number)
    facts = {path: about(path) for path in paths}
    aside = root.parent / "aside"
    aside.mkdir(mode=0o700)
    status, said, errors = run(
        "clean", "--apply", "--yes", *NOW, "--end-leases", "temporary", "--state", tmp_path, "--quarantine", aside, root
    )
    assert status == 0, said + errors
    assert {path: about(path) for path in paths[2:]} == {path: facts[path] for path in paths[2:]}
    assert not folder.exists()
    (moved,) = (path for path in aside.rglob("6") if path.parent.name == "snapshots")
    assert (about(moved), about(moved / "fs")) == (facts[folder], facts[folder / "fs"])
    status, said, errors = run("undo", next(tmp_path.glob("*/journal.jsonl")))
    assert status == 0, said + errors
    assert {path: about(path) for path in paths} == facts


def about(path):
    """Inode, owner, mode and every attribute."""
    info = path.lstat()
    return info.st_ino, info.st_uid, info.st_gid, info.st_mode, {x: os.getxattr(path, x) for x in os.listxattr(path)}


def test_what_others_own_goes_as_well(root, tmp_path, run):
    """Root removes what anybody's containers left, also in folders that nobody may enter."""
    folder = root / SNAPSHOTS / "6/fs/home"
    (folder / "locked").mkdir(parents=True)
    (folder / "locked/file").write_bytes(b"x")
    own(folder, 1234)
    (folder / "locked").chmod(0)
    folder.chmod(0o500)
    status, said, errors = run("clean", "--apply", "--yes", *NOW, "--state", tmp_path, root)
    assert status == 0, said + errors
    assert not folder.exists()

"""Undo of what is in quarantine as a copy, with other modes or owners, or not as it was: back, or said not to be."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zlib

import pytest
from tests.support import gobbolt
from tests.support.faults import run_counted
from tests.support.roots import databases, dumps
from tests.system.test_undo import ONE, Host, missing, rewrite, run

from drydock.reclaim.quarantine_manifest import FILE

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"


@pytest.fixture
def host(tmp_path):
    """The usual one, with a snapshot without a row that holds one of each kind of file."""
    made = Host(ONE, tmp_path)
    plant(made.root / SNAPSHOTS / "82001")
    yield made
    shutil.rmtree(tmp_path)


def plant(folder):
    """A snapshot's directory with what containers make."""
    (folder / "fs/etc/deep").mkdir(parents=True)
    (folder / "work").mkdir(mode=0o700)
    (folder / "fs/etc/passwd").write_bytes(b"root\n")
    (folder / "fs/etc/shadow").write_bytes(b"root\n")
    (folder / "fs/etc/shadow").chmod(0o640)
    (folder / "fs/etc/su").write_bytes(b"su")
    (folder / "fs/etc/su").chmod(0o4755)
    os.link(folder / "fs/etc/su", folder / "fs/etc/sudo")
    (folder / "fs/etc/link").symlink_to("passwd")
    (folder / "fs/etc/b\xff\n").write_bytes(b"odd")
    os.mkfifo(folder / "fs/etc/pipe")
    os.mknod(folder / "fs/etc/gone", 0o020000, os.makedev(0, 0))
    os.chown(folder / "fs/etc/deep", 1000, 1001)
    os.setxattr(folder / "fs/etc/deep", "trusted.overlay.opaque", b"y")


def shell(code):
    """A change of the quarantine, or of what is in it, by other programs."""
    return lambda folder: subprocess.run(["sh", "-ec", code], cwd=folder, check=True)


def copied(how):
    """Away, and back."""
    return shell(f"{how} run copy; rm -r run; mv copy run")


TAR = "tar --xattrs --xattrs-include=*"
HARMLESS = {
    "modes": shell("chmod -R go= ."),
    "owners": shell("chown -hR 1000:1000 ."),
    "a copy": copied("cp -a"),
    "a copy by tar": shell(
        f"mkdir copy; {TAR} -cf - run | {TAR} -C copy -xf -; rm -r run; mv copy/run run; rmdir copy"
    ),
    "a copy with other modes and owners": shell(
        "cp -a run copy; rm -r run; mv copy run; chmod -R 700 run; chown -hR 7:7 run"
    ),
    "new times of folders": shell("find . -type d -exec touch {} +"),
    "new times of blobs": shell("find . -path '*/blobs/*' -type f -exec touch {} +"),
}


def change(host, alter):
    """Alter the folder of the one run in quarantine, called ``run`` meanwhile."""
    (folder,) = host.apart.iterdir()
    folder.rename(host.apart / "run")
    alter(host.apart)
    (host.apart / "run").rename(folder)


@pytest.mark.parametrize("alter", HARMLESS.values(), ids=HARMLESS)
def test_what_is_the_same_but_for_inodes_modes_and_owners_comes_back(host, alter):
    """All is as before the run, modes and owners too; a second undo has nothing to do, and says so with status 0."""
    before = host.seen()
    journal = host.clean("--quarantine", host.apart)
    change(host, alter)
    run("undo", journal, status=0)
    assert host.seen() == before
    assert list(host.apart.iterdir()) == []
    for path in databases(host.root):
        assert gobbolt.check(path) == (0, "")
    run("undo", journal, status=0)
    assert host.seen() == before


ONE_SNAPSHOT = "cd $(find run -path '*/snapshots/82001/fs/etc')"
BLOB = "blob=$(find run -path '*/blobs/sha256/*' -size +1 | sort | head -1)"
INGEST = "cd $(find run -path '*/ingest/*' -type d | sort | head -1)"
ATTRIBUTE = '("deep", "trusted.overlay.opaque")'
HARM = {
    "a file is gone": (f"{ONE_SNAPSHOT}; rm passwd", "fs/etc/passwd is missing"),
    "a directory is gone": (f"{ONE_SNAPSHOT}; rmdir deep", "fs/etc/deep is missing"),
    "a file was added": (f"{ONE_SNAPSHOT}; touch extra", "fs/etc/extra was not in it"),
    "a file was added below": (f"{ONE_SNAPSHOT}; touch deep/extra", "fs/etc/deep/extra was not in it"),
    "a file grew": (f"{ONE_SNAPSHOT}; echo >>passwd", "fs/etc/passwd has 6 bytes, not 5"),
    "a file was written to": (
        f"{ONE_SNAPSHOT}; echo toor | dd of=passwd conv=notrunc status=none",
        "fs/etc/passwd was written to",
    ),
    "a file became a directory": (f"{ONE_SNAPSHOT}; rm passwd; mkdir passwd", "fs/etc/passwd has another type"),
    "a link leads elsewhere": (
        f"{ONE_SNAPSHOT}; ln -s x t; touch -h -r link t; ln -nsf shadow link; touch -h -r t link; rm t",
        "fs/etc/link has another link target",
    ),
    "a link in place of a directory": (
        f"{ONE_SNAPSHOT}; rmdir deep; ln -s /etc deep",
        "fs/etc/deep has another type",
    ),
    "an attribute is gone": (
        f"{ONE_SNAPSHOT}; {sys.executable} -c 'import os; os.removexattr(*{ATTRIBUTE})'",
        "fs/etc/deep has another link target, or other extended attributes",
    ),
    "a copy without times": (
        "cp -r --preserve=mode,ownership,links,xattr run copy; rm -r run; mv copy run",
        "was written to: its mtime differs",
    ),
    "a blob has other bytes": (
        f"{BLOB}; cp $blob new; printf x | dd of=new conv=notrunc status=none; mv new $blob",
        "its bytes do not match the digest in its name",
    ),
    "a blob was written to": (
        f"{BLOB}; printf x | dd of=$blob conv=notrunc status=none",
        "its bytes do not match the digest in its name",
    ),
    "a blob was cut": (f"{BLOB}; truncate -s 1 $blob", "it has 1 bytes, not"),
    "a blob is a link": (f"{BLOB}; mv $blob elsewhere; ln -s $PWD/elsewhere $blob", "it has another type"),
    "an ingest lost its data": (f"{INGEST}; rm -f data", "data is missing"),
    "a directory of the way is a link": (
        "mv run/io.containerd.content.v1.content elsewhere; ln -s $PWD/elsewhere run/io.containerd.content.v1.content",
        "Too many levels of symbolic links",
    ),
}


@pytest.mark.parametrize(("code", "said"), HARM.values(), ids=HARM)
def test_what_is_not_the_same_is_said_each_time(host, code, said):
    """Status 4 with what differs, and no record whose data is not back; a second undo says the same."""
    before = missing(host)
    journal = host.clean("--quarantine", host.apart)
    change(host, shell(code))
    kept = dumps(host.root)
    loose = "82001" in code
    for _ in range(2):
        text = run("undo", journal, status=4)
        assert said in text
        assert missing(host) <= before
        if not loose:
            assert dumps(host.root) == kept


def without_manifests(line):
    """As an older drydock wrote it."""
    return {name: value for name, value in line.items() if name not in ("owner", "manifest")}


@pytest.mark.parametrize("how", ["an old journal", "no file", "a damaged file", "a link", "another journal's"])
def test_without_manifests_what_was_not_touched_comes_back(host, how):
    """What was moved and left alone is known by its inode; what was touched is said to be unknown, each time."""
    before, lacked = host.seen(), missing(host)
    journal = host.clean("--quarantine", host.apart)
    file = journal.parent / os.fsdecode(FILE)
    if how == "an old journal":
        rewrite(journal, without_manifests)
    elif how == "a damaged file":
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        data[30] ^= 1
        file.write_bytes(data)
    elif how == "another journal's":
        file.write_bytes(zlib.compress(b"[]", wbits=31) * 1000)
    else:
        file.unlink()
        if how == "a link":
            file.symlink_to("/dev/zero")
    kept = dumps(host.root)
    change(host, shell("chmod -R go= ."))
    for _ in range(2):
        text = run("undo", journal, status=4)
        assert "its mode or owner differs, and nothing shows what else does" in text
        assert dumps(host.root) == kept
        assert missing(host) <= lacked
    for folder in (*host.apart.glob("*/*/snapshots/*"), *host.apart.glob("*/*/ingest/*")):
        folder.chmod(stat_mode(journal, folder))
    run("undo", journal, status=0)
    assert dumps(host.root) == before[0]


def stat_mode(journal, folder):
    """The mode that a journal has of a place in quarantine."""
    lines = map(json.loads, journal.read_text().splitlines())
    return next(line["expect"][2] & 0o7777 for line in lines if line.get("to") == str(folder))


@pytest.mark.parametrize(("place", "number"), [(0, -(1 << 70)), (0, -1), (1, 1 << 70), (1, -1), (2, "0")])
def test_a_manifest_that_no_run_writes_is_no_journals(host, place, number):
    """An offset or a length that no file has, or no SHA-256: the journal is not read, and nothing changes."""
    journal = host.clean("--quarantine", host.apart)
    kept, there = dumps(host.root), sorted(host.apart.glob("*/*/snapshots/*"))

    def forge(line):
        if line.get("manifest"):
            line["manifest"][place] = number
        return line

    rewrite(journal, forge)
    run("undo", journal, status=8)
    assert (dumps(host.root), sorted(host.apart.glob("*/*/snapshots/*"))) == (kept, there)


@pytest.mark.parametrize("wrong", ["offset", "length", "no gzip", "a bomb", "no json", "no end"])
def test_a_forged_manifest_moves_nothing(host, wrong):
    """A journal whose manifest is nowhere, of endless size, or of another form: the copy stays in quarantine."""
    journal = host.clean("--quarantine", host.apart)
    change(host, copied("cp -a"))
    file = journal.parent / os.fsdecode(FILE)
    forged = {
        "no gzip": b"no gzip",
        "a bomb": zlib.compress(bytes(100 << 20), wbits=31),
        "no end": zlib.compress(b"[", wbits=31),
        "no json": zlib.compress(b"{}\n" + b"[" * 5000 + b"\n", wbits=31),
    }.get(wrong)
    if forged is not None:
        file.write_bytes(forged)

    def forge(line):
        if line.get("manifest"):
            at, length, digest = line["manifest"]
            if forged is not None:
                at, length, digest = 0, len(forged), hashlib.sha256(forged).hexdigest()
            line["manifest"] = [
                1 << 62 if wrong == "offset" else at,
                1 << 62 if wrong == "length" else length,
                digest,
            ]
        return line

    rewrite(journal, forge)
    kept = dumps(host.root)
    there = sorted(host.apart.glob("*/*/snapshots/*"))
    text = run("undo", journal, status=4)
    assert "its manifest cannot be read" in text
    assert dumps(host.root) == kept
    assert sorted(host.apart.glob("*/*/snapshots/*")) == there


@pytest.mark.slow
def test_an_undo_of_a_copy_that_is_killed_is_finished_by_the_next(host):
    """At no moment does a record stand without its data; at the end modes and owners are as before."""
    before, lacked = host.seen(), missing(host)
    journal = host.clean("--quarantine", host.apart)
    change(host, HARMLESS["a copy with other modes and owners"])
    for _ in range(200):
        ended = run_counted("undo", journal, kill_after=4)
        assert missing(host) <= lacked
        if not ended.signal:
            break
    assert ended.status == 0, ended.output
    assert host.seen() == before


def test_what_is_in_its_place_already_is_known_as_a_copy_too(host):
    """Somebody copied it all back by hand, with other modes: the databases follow, and modes are as before."""
    before = host.seen()
    journal = host.clean("--quarantine", host.apart)
    change(host, shell("chmod -R go= ."))
    (folder,) = host.apart.iterdir()
    subprocess.run(["cp", "-a", "--no-clobber", f"{folder}/.", host.root], check=True)
    shutil.rmtree(folder)
    for path in (host.root, *host.root.glob("io.containerd.*"), *host.root.glob("io.containerd.*/*")):
        if path.relative_to(host.root).as_posix().encode() in before[1]:
            path.chmod(before[1][path.relative_to(host.root).as_posix().encode()][0] & 0o7777)
    run("undo", journal, status=0)
    assert dumps(host.root) == before[0]
    name = f"{SNAPSHOTS}/82001/fs/etc/su".encode()
    assert host.seen()[1][name] == before[1][name]


def test_without_room_for_manifests_a_run_goes_on_and_says_so(host):
    """A state directory of 8 MiB: the run does all, with status 0, and its undo takes back what nobody touched."""
    before = host.seen()
    (host.path / "state").mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "none", host.path / "state"], check=True)
    try:
        text = run(*host.clean_command("--quarantine", host.apart), status=0)
        assert re.search(r"directories moved without a manifest: [1-9]\d* \(No space left on device\)", text)
        journal = host.journal()
        assert (journal.parent / os.fsdecode(FILE)).stat().st_size == 0
        run("undo", journal, status=0)
        assert host.seen() == before
    finally:
        subprocess.run(["umount", host.path / "state"], check=True)


def test_what_came_in_the_place_of_something_moved_keeps_its_modes(host):
    """After a run that edited nothing, an engine may have made a snapshot of the same number: it is left as it is."""
    folder = host.root / SNAPSHOTS / "82002"
    for part in ("fs", "work"):
        (folder / part).mkdir(parents=True)
    options = ("--no-edit", "--apply", "--yes", "--now", host.capture.taken_at, "--state", host.path / "state")
    run("clean", *options, "--quarantine", host.apart, host.path, status=None)
    journal = host.journal()
    assert not folder.exists()
    for part in ("fs", "work"):
        (folder / part).mkdir(parents=True)
        (folder / part).chmod(0o700)
        os.chown(folder / part, 1000, 1001)
    run("undo", journal)
    for part in ("fs", "work"):
        found = (folder / part).stat()
        assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o700, 1000, 1001)

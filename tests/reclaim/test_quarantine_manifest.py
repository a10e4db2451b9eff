"""What a manifest holds, what it costs, and what is left out where it cannot be written."""

import hashlib
import os
import random
import subprocess
import zlib

import pytest
from tests.support.privilege import needs_root

from drydock.model.documents.journal import ManifestMember
from drydock.model.names import RawPath
from drydock.reclaim import quarantine_manifest
from drydock.reclaim.quarantine_manifest import FILE, ManifestEntry, ManifestWriter, read_manifest, walk


@pytest.fixture
def state(tmp_path):
    """A run's directory, open."""
    path = tmp_path / "state"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    yield path, fd
    os.close(fd)


@pytest.fixture
def parent(tmp_path):
    """A directory to make trees in, open."""
    path = tmp_path / "trees"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    yield path, fd
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(fd)


def lines(state, member):
    """A manifest as it is read again."""
    return list(read_manifest(RawPath(os.fsencode(state[0])), member))


def written(state, parent, name=b"tree", **options):
    """A manifest that was just written, and its writer, closed."""
    writer = ManifestWriter(state[1], volatile=False, **options)
    member = writer.add(parent[1], name)
    writer.sync()
    writer.close()
    return member, writer


def test_every_entry_stands_in_order(state, parent):
    """Names of any bytes, kinds, sizes and times, a directory before what is in it; two manifests in one file."""
    tree = parent[0] / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a-").write_bytes(b"12")
    (tree / "a/z").symlink_to("target")
    (parent[0] / "other").mkdir()
    (tree / os.fsdecode(b"\xff\n\\")).write_bytes(b"")
    writer = ManifestWriter(state[1], volatile=False)
    one, two = writer.add(parent[1], b"tree"), writer.add(parent[1], b"other")
    writer.sync()
    writer.close()
    found = lines(state, one)
    assert [(line.depth, line.name) for line in found] == [
        (0, b""), (1, b"a"), (2, b"b"), (2, b"z"), (1, b"a-"), (1, b"\xff\n\\")
    ]  # fmt: skip
    info = (tree / "a-").lstat()
    assert found[4] == ManifestEntry(1, b"a-", info.st_mode, info.st_uid, info.st_gid, 2, info.st_mtime_ns, "")
    assert found[3].more
    assert len(lines(state, two)) == 1
    assert two.at == one.length
    assert (state[0] / os.fsdecode(FILE)).stat().st_size == one.length + two.length
    # Any tool reads it.
    plain = subprocess.run(["zcat", state[0] / os.fsdecode(FILE)], capture_output=True, check=True).stdout
    assert len(plain.splitlines()) == 7


def test_a_walk_is_the_same_in_any_order_of_making(parent):
    """What a file system lists first makes no difference."""
    walks = []
    for name in ("one", "two"):
        names = [f"{number:03}" for number in range(300)]
        random.Random(name).shuffle(names)
        for each in names:
            (parent[0] / name / each).mkdir(parents=True)
        walks.append([(line.depth, line.name) for line, _, _ in walk(parent[1], name.encode())])
    assert walks[0] == walks[1]


def test_any_depth(state, parent):
    """A tree deeper than any path can be: the manifest grows by its names, not by its paths."""
    fd = os.dup(parent[1])
    os.mkdir("tree", dir_fd=fd)
    name = "n" * 200
    below = os.open("tree", os.O_RDONLY, dir_fd=fd)
    for _ in range(1500):
        os.mkdir(name, dir_fd=below)
        deeper = os.open(name, os.O_RDONLY, dir_fd=below)
        os.close(below)
        below = deeper
    os.close(below)
    os.close(fd)
    try:
        member, _ = written(state, parent)
    finally:
        subprocess.run(["rm", "-rf", parent[0] / "tree"], check=True)  # pytest itself cannot
    assert [line.depth for line in lines(state, member)] == list(range(1501))
    assert member.length < 100_000


def test_too_many_names_leave_it_out(state, parent, monkeypatch):
    """A directory with more names than are kept in mind has no manifest; the next one has."""
    monkeypatch.setattr(quarantine_manifest, "_PENDING", 50)
    for number in range(60):
        (parent[0] / "tree" / str(number)).mkdir(parents=True)
    (parent[0] / "other").mkdir()
    writer = ManifestWriter(state[1], volatile=False)
    assert writer.add(parent[1], b"tree") is None
    assert (writer.left_out, writer.problem) == (1, "too many names to keep in memory")
    assert lines(state, writer.add(parent[1], b"other"))
    writer.close()


@pytest.mark.parametrize("where", ["room", "memory", "write"])
def test_a_full_disk_leaves_them_out(state, parent, monkeypatch, where):
    """With no room to spare, or too much in memory, nothing is written, and no more trees are walked for it."""
    (parent[0] / "tree").mkdir()
    (parent[0] / "tree" / "file").touch()
    if where == "room":
        monkeypatch.setattr(quarantine_manifest, "_ROOM", 1 << 60)
    if where == "memory":
        monkeypatch.setattr(quarantine_manifest, "_VOLATILE", 20)
    if where == "write":
        real = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]) if len(data) > 30 else full())
    writer = ManifestWriter(state[1], volatile=where == "memory")
    assert writer.add(parent[1], b"tree") is None
    monkeypatch.setattr(quarantine_manifest, "walk", None)
    assert writer.add(parent[1], b"tree") is None
    assert writer.left_out == 2
    assert writer.problem
    assert (state[0] / os.fsdecode(FILE)).stat().st_size == 0
    writer.close()


def full():
    """What a full disk answers."""
    raise OSError(28, os.strerror(28))


@pytest.mark.root
@needs_root
def test_a_mount_is_not_entered(state, parent):
    """A tree with a mount in it has no quarantine_manifest, as what lies there is not moved."""
    (parent[0] / "tree/inside").mkdir(parents=True)
    subprocess.run(["mount", "--bind", parent[0], parent[0] / "tree/inside"], check=True)
    try:
        member, writer = written(state, parent)
    finally:
        subprocess.run(["umount", parent[0] / "tree/inside"], check=True)
    assert member is None
    assert writer.left_out == 1


@pytest.mark.parametrize("change", ["byte", "cut", "at", "length", "sha256"])
def test_what_is_not_as_it_was_written_is_not_given(state, parent, change):
    """Not a line of it, whatever was changed: the file, or what the journal says of it."""
    (parent[0] / "tree").mkdir()
    member, _ = written(state, parent)
    file = state[0] / os.fsdecode(FILE)
    data = bytearray(file.read_bytes())
    if change == "byte":
        data[-1] ^= 1
    if change == "cut":
        del data[-1]
    file.write_bytes(data)
    member = {
        "at": member._replace(at=1), "length": member._replace(length=member.length - 1),
        "sha256": member._replace(sha256="0" * 64),
    }.get(change, member)  # fmt: skip
    with pytest.raises(OSError, match="not"):
        next(read_manifest(RawPath(os.fsencode(state[0])), member))


FORGED = {
    "empty": b"[]\n",
    "no list": b"{}\n",
    "too short": b"[1]\n",
    "a name of another type": b'[0,7,1,1,1,1,1,""]\n',
    "no whole number": b'[0,"",1.5,1,1,1,1,""]\n',
    "nobody's": b'[0,"",1,4294967295,1,1,1,""]\n',
    "too deep": b"[" * 9000 + b"\n",
    "no end": b"x",
    "too long": bytes(1 << 24),
}


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED)
def test_a_forged_line_is_an_error_and_nothing_else(state, text):
    """A line of another form, of any length, with the right hash."""
    data = zlib.compress(text, wbits=31)
    (state[0] / os.fsdecode(FILE)).write_bytes(data)
    with pytest.raises(OSError, match="it"):
        lines(state, ManifestMember(0, len(data), hashlib.sha256(data).hexdigest()))

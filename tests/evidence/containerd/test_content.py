"""The content store's files in every shape that an engine, an operator or an attacker can give them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from hashlib import sha256, sha512

import pytest
from tests.support.privilege import NOBODY, needs_root

from drydock.evidence.containerd import content as reader
from drydock.evidence.containerd.content import read_content
from drydock.evidence.files import worker
from drydock.model.findings import Severity
from drydock.model.names import CONTENT, Digest, Kind, RawPath, Ref
from drydock.model.records import Blob, BlobRecords, Metadata
from drydock.model.roots import CONTAINERD_LAYOUT

NAME = sha256(b"ns/1/ref").hexdigest()


@pytest.fixture
def root(tmp_path):
    """An empty containerd root."""
    (tmp_path / os.fsdecode(CONTENT) / "blobs/sha256").mkdir(parents=True)
    (tmp_path / os.fsdecode(CONTENT) / "ingest").mkdir()
    return tmp_path


def read(root, progress=None):
    """The content store of a root."""
    return read_content(RawPath(os.fsencode(root)), progress)


def at(root, *parts):
    """A path in it."""
    return root.joinpath(os.fsdecode(CONTENT), *parts)


def codes(content):
    """The codes of its findings."""
    return [finding.code for finding in content.findings]


@pytest.mark.parametrize("missing", ["all", "blobs", "ingest", "algorithm"])
def test_what_was_never_made_is_no_blind_spot(root, missing):
    """Folders that the engine makes at first use may not be there."""
    place = {"all": at(root), "blobs": at(root, "blobs"), "ingest": at(root, "ingest"),
             "algorithm": at(root, "blobs/sha256")}[missing]  # fmt: skip
    subprocess.run(["rm", "-r", place], check=True)
    found = read(root)
    assert (found.complete, found.findings, found.blobs, found.ingests) == (True, [], {}, [])


def test_blobs_of_every_algorithm(root):
    """Digest, path, size, blocks and fingerprint of each; empty and large ones too."""
    names = [f"sha256/{sha256(b'').hexdigest()}", f"sha384/{'0' * 96}", f"sha512/{sha512(b'x').hexdigest()}"]
    for size, name in zip((0, 1, 300_000), names, strict=True):
        path = at(root, "blobs", name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * size)
    found = read(root)
    assert {digest.decode() for digest in found.blobs} == {name.replace("/", ":") for name in names}
    for blob in found.blobs.values():
        info = os.lstat(os.fsencode(root) + b"/" + blob.path)
        assert (blob.size, blob.allocated) == (info.st_size, info.st_blocks * 512)
        assert (blob.fingerprint.inode, blob.fingerprint.ctime_ns) == (info.st_ino, info.st_ctime_ns)
    assert (found.complete, found.findings) == (True, [])


@pytest.mark.parametrize("odd", ["nothing", "a name", "a folder", "a killed worker", "no right"])
def test_a_worker_lists_what_this_process_would(root, monkeypatch, odd):
    """The same in every case; the worker leaves a folder with anything unusual to this process."""
    for number in range(2500):
        at(root, "blobs/sha256", sha256(b"%d" % number).hexdigest()).write_bytes(b"x" * number)
    at(root, "blobs/sha512").mkdir()
    at(root, "blobs/sha512", "0" * 128).write_bytes(b"y")
    at(root, "blobs/md5").mkdir()
    if odd == "a name":
        at(root, "blobs/sha256/.tmp").touch()
    elif odd == "a folder":
        at(root, "blobs/sha256", "0" * 64).mkdir()
    expected = read(root)
    starter, write, written = os.getpid(), worker._write, []

    def die(*of):
        write(*of)
        written.append(of)
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    if odd == "a killed worker":
        monkeypatch.setattr(worker, "_write", die)
    if odd == "no right":
        opened = reader.open_folder
        monkeypatch.setattr(reader, "open_folder", lambda *of: opened(*of) if os.getpid() == starter else 1 / 0)
    path, told = RawPath(os.fsencode(root)), []
    listing = reader.BlobListing(path, CONTAINERD_LAYOUT)
    try:
        listed = listing.folders()
        assert read_content(path, told.append, listing=listing) == expected
    finally:
        listing.close()
    whole = {b"sha256", b"sha512"}
    usual = {"nothing": whole, "a name": {b"sha512"}, "a folder": {b"sha512"}}
    assert listed == usual.get(odd, set())
    assert sum(told) == len(expected.blobs) + len(expected.junk) - 1  # the folder md5 is none of the files


def test_a_digest_that_is_recorded_is_the_same_object(root):
    """Whatever is recorded: all files, some, others besides, another order, or words that look like them together."""
    names = [b"%064x" % number for number in range(5)]
    for name in names:
        at(root, "blobs/sha256", name.decode()).write_bytes(b"x")
    path, words = RawPath(os.fsencode(root)), [b"sha256:" + name for name in names]
    shifted = [words[0] + words[1][:1], words[1][1:], *words[2:]]
    for recorded in (words, words[1:], [*words, b"sha256:f"], words[::-1], shifted, []):
        metadata = Metadata(path, 4)
        metadata.blobs = BlobRecords(Blob(Ref(Kind.BLOB, b"ns", Digest(word)), 1, {}) for word in recorded)
        metadata.digests = {each: each for each in metadata.blobs.digests if each in words}
        listing = reader.BlobListing(path, CONTAINERD_LAYOUT)
        try:
            files = read_content(path, records=metadata, listing=listing).blobs
        finally:
            listing.close()
        assert list(files) == words
        assert all(each is metadata.digests.get(each, each) for each in files)


@pytest.mark.parametrize("kind", ["short", "upper", "tmp", "folder", "link", "fifo", "odd"])
def test_what_is_no_blob_is_damage_and_never_a_blob(root, kind):
    """Each stops containerd's own collection of content: said with what to do, and left alone."""
    place = at(
        root,
        "blobs/sha256",
        {"short": "ab", "upper": "AB" * 32, "tmp": ".tmp123", "odd": "\x1b[31m\udcff"}.get(kind, "ab" * 32),
    )
    size = 0
    if kind == "folder":
        place.mkdir()
        (place / "inside").write_bytes(b"x" * 100_000)
        size = 100_000
    elif kind == "link":
        place.symlink_to("/etc/passwd")
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.write_bytes(b"x")
    found = read(root)
    assert found.blobs == {}
    assert codes(found) == ["junk-name"]
    assert found.findings[0].severity is Severity.DAMAGE
    assert found.findings[0].remedy
    assert found.findings[0].message.isprintable()
    (junk,) = found.junk
    assert junk.path.endswith(os.fsencode(place.name))
    assert junk.allocated >= size
    assert found.complete


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_another_algorithm_is_foreign(root, kind):
    """Containerd passes over it: a note, measured, and no blob."""
    place = at(root, "blobs/md5")
    if kind == "folder":
        place.mkdir()
        (place / ("0" * 32)).write_bytes(b"x" * 10_000)
    elif kind == "file":
        place.write_bytes(b"x" * 10_000)
    else:
        place.symlink_to("sha256")
    found = read(root)
    assert codes(found) == ["foreign-name"]
    assert found.findings[0].severity is Severity.NOTE
    assert (found.blobs, len(found.junk), found.complete) == ({}, 1, True)
    assert (found.junk[0].allocated >= 10_000) == (kind != "link")


@pytest.mark.parametrize("which", ["", "blobs", "blobs/sha256", "ingest"])
@pytest.mark.parametrize("kind", ["link", "file", "fifo"])
def test_what_is_not_a_folder_is_a_blind_spot(root, which, kind):
    """A link in its place (an operator's, to another disk) is not followed: what lies there is not known."""
    place = at(root, which) if which else at(root)
    moved = root / "moved"
    place.rename(moved)
    if kind == "link":
        place.symlink_to(moved)
    elif kind == "file":
        place.touch()
    else:
        os.mkfifo(place)
    found = read(root)
    assert not found.complete
    assert set(codes(found)) == {"unreadable"}
    assert found.findings[0].severity is Severity.BLIND


def test_what_vanishes_while_it_is_listed_is_a_blind_spot(root, monkeypatch):
    """A name that is listed and then not there: something else writes here, and nothing is taken for absent."""
    (at(root, "ingest") / NAME).mkdir()
    (at(root, "blobs") / "other").mkdir()
    monkeypatch.setattr(reader, "names", lambda descriptor: [b"gone"])  # noqa: ARG005 - names' signature
    found = read(root)
    assert not found.complete
    assert set(codes(found)) == {"unreadable"}


def ingest(root, name=NAME, **files):
    """An ingest folder with these files."""
    folder = at(root, "ingest", name)
    folder.mkdir()
    for file, data in files.items():
        (folder / file).write_bytes(data)
    return folder


def test_an_ingest_as_containerd_writes_it(root):
    """All its files, and what they say."""
    folder = ingest(root, ref=b"ns/1/ref", data=b"x" * 5000, total=b"9000", startedat=b"2026-01-01T00:00:00Z",
                    updatedat=b"2026-01-01T00:00:01.5+01:00")  # fmt: skip
    (found,) = read(root).ingests
    assert (found.name, found.backend_ref, found.received, found.total) == (NAME.encode(), b"ns/1/ref", 5000, 9000)
    assert found.updated == (1767225601 - 3600) * 10**9 + 5 * 10**8
    du = subprocess.run(["du", "-s", "--block-size=1", folder], capture_output=True, check=True).stdout
    assert found.allocated == int(du.split()[0])
    assert (found.is_plain, found.fingerprint.inode) == (True, os.stat(folder).st_ino)


@pytest.mark.parametrize("kind", ["none", "huge", "fifo", "link", "folder", "empty", "garbage", "char"])
def test_a_ref_that_is_no_ref(root, kind):
    """Not there, too long, something else, or any bytes: never followed, never waited for, never raised."""
    folder = ingest(root, data=b"x" * 100)
    place = folder / "ref"
    plain = True
    wanted = None
    if kind == "huge":
        with place.open("wb") as file:
            file.truncate(1 << 40)
    elif kind == "fifo":
        os.mkfifo(place)
        plain = False
    elif kind == "link":
        place.symlink_to("/etc/passwd")
        plain = False
    elif kind == "folder":
        place.mkdir()
        plain = False
    elif kind in ("empty", "garbage"):
        wanted = b"" if kind == "empty" else bytes(range(256)) * 100
        place.write_bytes(wanted)
    elif kind == "char":
        if os.geteuid() != 0:
            pytest.skip("needs root: a device node")
        os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        plain = False
    found = read(root)
    assert (found.ingests[0].backend_ref, found.ingests[0].is_plain) == (wanted, plain)
    assert found.complete


def test_a_ref_that_may_not_be_read(root, monkeypatch):
    """Whose ingest it is, is not known then: a blind spot."""
    (ingest(root, data=b"x" * 100) / "ref").touch(mode=0)
    # Root reads everything; a user may not get to pytest's folders, but is in this one.
    root.chmod(0o755)
    monkeypatch.chdir(root)
    before = os.geteuid()
    os.seteuid(before or NOBODY)
    try:
        found = read(".")
    finally:
        os.seteuid(before)
    assert not found.complete
    assert [finding.severity for finding in found.findings] == [Severity.BLIND]


@pytest.mark.parametrize(
    ("raw", "total"),
    [(b"12", 12), (b"", None), (b"-5", None), (b"x", None), (b"1" * 65, None), (b"12\n", None), ("٣".encode(), None)],
)
def test_a_total_is_a_number_or_nothing(root, raw, total):
    """Only decimal digits, and no more than any size has."""
    ingest(root, ref=b"ns/1/ref", total=raw, updatedat=raw)
    (found,) = read(root).ingests
    assert (found.total, found.updated) == (total, None)


@pytest.mark.parametrize("kind", ["folder", "name", "link data"])
def test_what_containerd_does_not_put_there(root, kind):
    """Such an ingest is not plain, and all of it is measured."""
    folder = ingest(root, ref=b"ns/1/ref")
    if kind == "folder":
        (folder / "more/below").mkdir(parents=True)
        (folder / "more/below/f").write_bytes(b"x" * 100_000)
    elif kind == "name":
        (folder / "note.txt").write_bytes(b"x" * 100_000)
    else:
        (folder / "data").symlink_to("/etc/passwd")
    (found,) = read(root).ingests
    assert not found.is_plain
    du = subprocess.run(["du", "-s", "--block-size=1", folder], capture_output=True, check=True).stdout
    assert found.allocated == int(du.split()[0])


def test_names_of_ingests(root):
    """Any name is listed; a file or a link among them is not plain."""
    for name in (NAME, "old", "\x1b[31m\udcff", "a\nb"):
        ingest(root, name)
    at(root, "ingest/stray").write_bytes(b"x")
    at(root, "ingest/link").symlink_to("/etc")
    found = read(root)
    plain = {entry.name: entry.is_plain for entry in found.ingests}
    assert plain == {
        NAME.encode(): True, b"old": True, b"\x1b[31m\xff": True, b"a\nb": True, b"stray": False, b"link": False,
    }  # fmt: skip
    assert (found.complete, found.findings) == (True, [])


@needs_root
def test_an_input_output_error_is_a_blind_spot(root, monkeypatch):
    """A ref that the disk does not give is not a ref that is not there."""
    ingest(root, ref=b"ns/1/ref")

    def failing(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reader, "read_regular", failing)
    found = read(root)
    assert (found.complete, found.ingests, codes(found)) == (False, [], ["unreadable"])


def test_progress_tells_every_entry(root):
    """The sum of what is told is the number of blobs."""
    for number in range(2345):
        at(root, "blobs/sha256", f"{number:064x}").touch()
    told = []
    read(root, told.append)
    assert sum(told) == 2345

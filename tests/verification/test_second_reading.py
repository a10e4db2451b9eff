"""``verify`` reads every database a second time, and a difference between the two readers is a finding."""

import json
import subprocess
import sys

import pytest
from fuzz.stores import META_DB, METADATA_DB, put
from tests.support import boltwriter
from tests.support.documents import run

import bbolt_reader.declared
from bbolt_reader.bucket import Bucket
from bbolt_reader.shape import Shape
from drydock import verify
from drydock.model.names import RawPath

NOW = ("--now", "2002-01-01T00:00:00Z")


@pytest.fixture
def store(tmp_path):
    """A store with an object of each state."""
    put(tmp_path / "store")
    return tmp_path / "store"


def verified(store, *options, status=None):
    """The document of the root."""
    said = run("verify", "--format", "json", *NOW, *options, store, status=status)
    (root,) = json.loads(said)["roots"]
    return root, [each for each in root["findings"] if each["code"] == "readers-disagree"]


def test_both_databases_are_read_again(store):
    """meta.db and a metadata.db are compared without a difference; an option leaves it out."""
    root, found = verified(store)
    assert found == []
    assert root["second_reading"]["databases"] == 2
    assert root["second_reading"]["keys"] > 100
    assert "no difference" in run("verify", *NOW, store)
    root, _ = verified(store, "--no-second-reading")
    assert root["second_reading"] is None
    assert "second reading" not in run("verify", "--no-second-reading", *NOW, store)


def test_a_planted_disagreement_is_a_finding(store, monkeypatch):
    """If the fast reader loses the last byte of each value: damage, with file, page and offset, and exit status 2."""
    of = Shape.of
    shorter = lambda each: each._replace(value=max(each.value - 1, 0), gap=each.gap)  # noqa: E731 - a line
    monkeypatch.setattr(Shape, "of", lambda before, entries: of(before, [*entries[:-1], *map(shorter, entries[-1:])]))
    _, found = verified(store)
    assert found
    assert {each["severity"] for each in found} == {"damage"}
    data = (store / META_DB).read_bytes()
    for each in found:
        assert each["page"] == each["offset"] // 4096
        if each["file"] == str(store / META_DB):
            assert boltwriter.HEADER.unpack_from(data, each["page"] * 4096)[0] == each["page"]
    assert any("different values, of" in each["message"] for each in found)
    assert not any("readers-disagree" in each["code"] for each in verified(store, "--no-second-reading")[0]["findings"])


@pytest.mark.parametrize("reader", ["first", "second"])
def test_a_sequence_read_wrong_by_either_is_found(store, monkeypatch, reader):
    """Whichever reader is wrong, the finding names the bucket, the exit status has a 2, and no repair is advised."""
    clean = run("verify", *NOW, store)
    if reader == "first":
        monkeypatch.setattr(Bucket, "sequence", property(lambda _: 99))
    else:
        right = bbolt_reader.declared.parse_bucket
        monkeypatch.setattr(bbolt_reader.declared, "parse_bucket", lambda value: {**right(value), "sequence": 99})
    _, found = verified(store)
    rows = [each for each in found if each["file"] == str(store / METADATA_DB) and each["bucket"] == ["v1"]]
    numbers = "sequence 99 by the first reader, 7" if reader == "first" else "sequence 7 by the first reader, 99"
    assert any(f"v1/snapshots: {numbers}" in each["message"] for each in rows)
    said = run("verify", *NOW, store)
    assert "readers-disagree" in said
    assert said.count("drydock repair") == clean.count("drydock repair")


def test_the_exit_status_is_that_of_damage(tmp_path, monkeypatch):
    """An intact root: 0; if the readers disagree: 2, or 0 without a second reading."""
    path = tmp_path / META_DB
    path.parent.mkdir(parents=True)
    boltwriter.write(path, {b"v1": {b"version": b"\x08", b"moby": {b"labels": {b"team": b"build"}}}})
    verified(tmp_path, status=0)
    monkeypatch.setattr(Bucket, "sequence", property(lambda _: 99))
    verified(tmp_path, status=2)
    verified(tmp_path, "--no-second-reading", status=0)


def test_damage_is_no_disagreement(store):
    """A page that neither reader can read, or a database that neither opens, is reported once, by the first reading."""
    data = bytearray((store / META_DB).read_bytes())
    data[5 * 4096 + 8] ^= 0x40
    (store / META_DB).write_bytes(data)
    _, found = verified(store)
    assert found == []
    (store / META_DB).write_bytes(bytes(9000))
    root, found = verified(store)
    assert found == []
    assert root["second_reading"]["databases"] == 2


def test_one_reader_alone_opens_a_database(store, monkeypatch):
    """A meta page that only one reader accepts is reported for the file."""
    monkeypatch.setattr("bbolt_reader.meta.checksum", lambda _: 0)
    _, found = verified(store)
    assert {each["file"] for each in found} == {str(store / META_DB), str(store / METADATA_DB)}
    assert all("only the second reader opens it" in each["message"] for each in found)


def test_the_second_reading_tells_how_far_it_is(tmp_path):
    """Each database is a task of its own, and its steps add up to about its number of pages."""
    path = tmp_path / META_DB
    path.parent.mkdir(parents=True)
    many = {b"sha256:%064x" % number: b"x" * 40 for number in range(9000)}
    boltwriter.write(path, {b"v1": {b"version": b"\x08", b"moby": {b"labels": many}}})
    told = []
    verify(RawPath(bytes(tmp_path)), progress=lambda *call: told.append(call))
    steps = [call for call in told if call[0] == "pages of meta.db read again"]
    ((_, begun, total), *more) = steps
    assert begun == 0
    assert len(more) > 2
    assert total - 10 < sum(done for _, done, _ in more) <= total


def test_databases_of_buildkit_are_read_again(tmp_path, monkeypatch):
    """In a Docker data root, BuildKit's databases are read twice as well, and a difference names the file."""
    for folder in ("containers", "image", "buildkit/containerd-overlayfs", "containerd/daemon"):
        (tmp_path / folder).mkdir(parents=True)
    put(tmp_path / "containerd/daemon")
    cache = tmp_path / "buildkit/containerd-overlayfs/metadata_v2.db"
    boltwriter.write(cache, {b"_main": {b"record": {b"k": b"v"}}}, inline=False)
    boltwriter.write(tmp_path / "buildkit/history_c8d.db", {b"_records": {b"ref": b"{}"}})
    root, found = verified(tmp_path)
    assert (root["second_reading"]["databases"], found) == (4, [])
    monkeypatch.setattr(Bucket, "sequence", property(lambda _: 99))
    assert str(cache) in {each["file"] for each in verified(tmp_path)[1]}


def test_a_scan_does_not_import_construct(store):
    """Neither does verify without a second reading: importing construct takes as long as a small scan."""
    commands = ["scan", *NOW, store], ["verify", "--no-second-reading", *NOW, store], ["bolt", "--help"], ["--version"]
    for words in commands:
        command = [sys.executable, "-X", "importtime", "-m", "drydock", *words]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
        imported = {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}
        assert "drydock" in imported
        assert "construct" not in imported, words

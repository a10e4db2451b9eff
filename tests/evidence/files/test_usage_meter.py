"""Entries of a place: each block once, in the entry it was given to, with a reason where it was not measured."""

from __future__ import annotations

import os
import subprocess

import pytest
from tests.support.privilege import NOBODY, needs_root

from drydock.evidence.files import sizes, usage_meter
from drydock.evidence.files.directory import folder
from drydock.evidence.files.sizes import Measure
from drydock.evidence.files.usage_meter import UsageMeter
from drydock.model.disk_usage import UsageCategory, UsageEntry
from drydock.model.names import RawPath

TMP, SWARM, UNKNOWN = UsageCategory.TMP, UsageCategory.SWARM, UsageCategory.UNKNOWN


def du(path):
    """What du counts below a path, in bytes."""
    said = subprocess.run(["du", "-xs", "--block-size=1", path], capture_output=True, check=True)
    return int(said.stdout.split()[0])


@pytest.mark.parametrize("below", [0, 9])
@pytest.mark.parametrize("live", [False, True])
def test_a_hard_link_counts_in_the_first_entry(tmp_path, below, live):
    """However many processes measure: the sum of the entries is du's of the folder, without the folder itself."""
    for number in range(12):
        (tmp_path / f"{number:02}").mkdir()
        (tmp_path / f"{number:02}/own").write_bytes(b"x" * 5000)
        for deep in range(below):
            (tmp_path / f"{number:02}/{deep}/b").mkdir(parents=True)
            (tmp_path / f"{number:02}/{deep}/b/file").touch()
    (tmp_path / "00/shared").write_bytes(b"x" * 1_000_000)
    os.link(tmp_path / "00/shared", tmp_path / "11/shared")
    top = RawPath(bytes(tmp_path))
    meter = UsageMeter(Measure(), live=live)
    with folder(top) as descriptor:
        names = sorted(os.listdir(os.fsencode(tmp_path)))
        meter.measure([(name, TMP, RawPath(top + b"/" + name), name) for name in names], descriptor)
    entries = meter.entries()
    own = tmp_path.stat().st_blocks * 512
    assert sum(entry.bytes for entry in entries) == du(tmp_path) - own
    assert entries[0].name == b"00"
    assert entries[0].bytes > 1_000_000
    assert max(entry.bytes for entry in entries[1:]) < 20_000 + below * 8192


def test_deep_folders_are_walked_together(tmp_path, monkeypatch):
    """One pool has the rest of all parts, the sum is du's, and no folder stays open."""
    pools = []

    class Pool(usage_meter.WalkPool):
        def __init__(self, shares):
            super().__init__(shares)
            pools.append(list(shares))

    monkeypatch.setattr(usage_meter, "WalkPool", Pool)
    for number in range(90):
        for deep in range(3):
            (tmp_path / f"{number % 3}/{number}/{deep}/a/b").mkdir(parents=True)
            (tmp_path / f"{number % 3}/{number}/{deep}/a/b/file").write_bytes(b"x" * 5000)
    before = set(os.listdir("/proc/self/fd"))
    top = RawPath(bytes(tmp_path))
    meter = UsageMeter(Measure())
    with folder(top) as descriptor:
        meter.measure([(b"%d" % number, TMP, top, b"") for number in range(3)], descriptor)
    (entry,) = meter.entries()
    assert entry.bytes == du(tmp_path) - tmp_path.stat().st_blocks * 512
    (shares,) = pools
    assert len(shares) > 30
    assert {share.path.split(b"/")[0] for share in shares} == {b"0", b"1", b"2"}
    assert set(os.listdir("/proc/self/fd")) == before


def test_many_folders_that_wait_are_not_all_open(tmp_path):
    """A host has more containers than a process may have open files."""
    for number in range(200):
        for deep in range(5):
            (tmp_path / f"{number}/part/{deep}").mkdir(parents=True)
    top = RawPath(bytes(tmp_path))
    most = 0
    with UsageMeter(Measure()) as meter:
        for number in range(200):
            with folder(RawPath(top + b"/%d" % number)) as descriptor:
                meter.measure([(b"part", TMP, top, b"")], descriptor)
            most = max(most, len(os.listdir("/proc/self/fd")))
        (entry,) = meter.entries()
    assert most < 120
    assert entry.bytes == du(tmp_path) - sum(each.stat().st_blocks * 512 for each in (tmp_path, *tmp_path.iterdir()))


def test_folders_that_wait_are_few(tmp_path, monkeypatch):
    """However many folders a container makes, what waits for the other cores takes a bounded part of memory."""
    monkeypatch.setattr(sizes, "_SHARES", 20)
    monkeypatch.setattr(usage_meter, "_WAITING", 50)
    for number in range(12):
        for deep in range(40):
            (tmp_path / f"{number}/{deep}/below").mkdir(parents=True)
    top, most = RawPath(bytes(tmp_path)), 0
    meter = UsageMeter(Measure())
    with folder(top) as descriptor:
        for number in range(12):
            meter.measure([(b"%d" % number, TMP, top, b"")], descriptor)
            most = max(most, len(meter._shares))
    (entry,) = meter.entries()
    assert 0 < most < 50
    assert entry.bytes == du(tmp_path) - tmp_path.stat().st_blocks * 512


def test_entries_are_in_the_order_of_categories_and_the_largest_first():
    """What was not measured comes last in its category; parts of one entry add up."""
    meter = UsageMeter(Measure())
    paths = [RawPath(b"/%d" % number) for number in range(5)]
    meter.add(UNKNOWN, paths[0], b"", 7)
    meter.add(TMP, paths[1], b"", 1)
    meter.add(TMP, paths[2], b"", 3)
    meter.add(TMP, paths[3])
    meter.add(TMP, paths[1], b"", 5, "a part of it")
    meter.add(SWARM, paths[4], b"", 1)
    assert meter.entries() == (
        UsageEntry(SWARM, b"", paths[4], 1),
        UsageEntry(TMP, b"", paths[1], 6, "a part of it"),
        UsageEntry(TMP, b"", paths[2], 3),
        UsageEntry(TMP, b"", paths[3], None),
        UsageEntry(UNKNOWN, b"", paths[0], 7),
    )


def test_nothing_is_measured_without_a_measure(tmp_path):
    """Each entry is there, without bytes, the folder it is in as well."""
    (tmp_path / "tmp").mkdir()
    top = RawPath(bytes(tmp_path))
    meter = UsageMeter(None)
    with folder(top) as descriptor:
        meter.add_folder(UNKNOWN, top, descriptor)
        meter.measure([(b"tmp", TMP, RawPath(top + b"/tmp"), b"tmp")], descriptor)
        with meter.folder(TMP, RawPath(top + b"/tmp"), b"tmp", descriptor, into=(top, b"")) as inner:
            assert inner is not None
    assert meter.entries() == (UsageEntry(TMP, b"tmp", RawPath(top + b"/tmp"), None),)


def test_what_is_gone_has_no_entry(tmp_path):
    """A running engine removed it after it was listed."""
    meter = UsageMeter(Measure(), live=True)
    with folder(RawPath(bytes(tmp_path))) as descriptor:
        meter.measure([(b"gone", TMP, RawPath(b"/gone"), b"gone")], descriptor)
        with meter.folder(TMP, RawPath(b"/gone"), b"gone", descriptor, into=(RawPath(b"/"), b"")) as inner:
            assert inner is None
    assert meter.entries() == ()


def test_a_symbolic_link_is_not_followed(tmp_path):
    """Its own blocks count, and the entry says that it is a link."""
    (tmp_path / "tmp").symlink_to("/usr")
    (tmp_path / "swarm").symlink_to("/usr")
    top = RawPath(bytes(tmp_path))
    meter = UsageMeter(Measure())
    with folder(top) as descriptor:
        meter.measure([(b"tmp", TMP, RawPath(top + b"/tmp"), b"tmp")], descriptor)
        with meter.folder(SWARM, RawPath(top + b"/swarm"), b"swarm", descriptor, into=(top, b"")) as inner:
            assert inner is None
    assert {(entry.bytes, entry.note) for entry in meter.entries()} == {(0, "a symbolic link, which is not followed")}


@needs_root
def test_what_may_not_be_read_has_a_reason(tmp_path):
    """A folder of another user: its own blocks count, and the entry says that the rest does not."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "inside").write_bytes(b"x" * 100_000)
    tmp_path.chmod(0o755)
    top = RawPath(bytes(tmp_path))
    with folder(top) as descriptor:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.setresuid(NOBODY, NOBODY, NOBODY)
            meter = UsageMeter(Measure())
            meter.measure([(b"closed", TMP, RawPath(top + b"/closed"), b"")], descriptor)
            with meter.folder(SWARM, RawPath(top + b"/closed"), b"closed", descriptor, into=(top, b"")):
                os.write(writer, repr([(each.bytes, each.note) for each in meter.entries()]).encode())
            os._exit(0)
        os.waitpid(child, 0)
    own = closed.stat().st_blocks * 512
    said = os.read(reader, 4096).decode()
    os.close(reader)
    os.close(writer)
    assert said == repr([(None, "Permission denied"), (own, "a folder could not be opened: Permission denied")])

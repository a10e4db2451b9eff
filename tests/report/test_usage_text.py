"""What else lies in a data root, in words: the largest first, who frees it, and what was not measured."""

import pytest
from tests.support.scans import judged, scan_of_everything
from tests.support.values import store

from drydock.model.disk_usage import FileSystem, PlaceUsage, UsageCategory, UsageEntry
from drydock.model.names import RawPath
from drydock.model.policies import SizeSource
from drydock.model.roots import DockerContainer
from drydock.report.usage_text import usage_texts

DATA = RawPath(b"/var/lib/docker")
MIB = 1 << 20


def entry(category, path, size, name=b"", note=""):
    """An entry of the data root."""
    return UsageEntry(UsageCategory(category), name, RawPath(DATA + b"/" + path), size, note)


def text_of(*entries, file_system=None, containers=(), measured=SizeSource.RECORDED):
    """The words about a data root with these entries; None if there is nothing to say."""
    scan = judged(store())
    scan.verdict.store.owners.containers.update({each.id: each for each in containers})
    scan.verdict.store.measured = measured
    scan.places = [PlaceUsage(DATA, entries, file_system)]
    texts = usage_texts(scan)
    return texts[0] if texts else None


ENTRIES = (
    entry("content", b"containerd/daemon", 900 * MIB),
    entry("named-volumes", b"volumes/pgdata", 180 * MIB, b"pgdata"),
    entry("named-volumes", b"volumes/small", 5, b"small"),
    entry("anonymous-volumes", b"volumes/" + b"a" * 64, 11 * MIB, b"a" * 64),
    entry("logs", b"containers/c/c-json.log", 43 * MIB, b"web"),
    entry("classic-layers", b"overlay2", 221 * MIB, b"overlay2"),
    entry("classic-metadata", b"image/overlay2", 1 * MIB, b"overlay2"),
    entry("unknown", b"found", 30 * MIB, b"found"),
    entry("unknown", b"empty", 0, b"empty"),
    entry("network", b"network", 70_000, b"network"),
)


def test_groups_add_up_and_the_largest_is_first():
    """Volumes of both kinds are one group; containerd's own objects are in none."""
    text = text_of(*ENTRIES)
    assert [(group.words, group.bytes) for group in text.groups] == [
        ("classic store", 222 * MIB),
        ("volumes (3)", 191 * MIB + 5),
        ("logs (1)", 43 * MIB),
        ("unknown (2)", 30 * MIB),
        ("other", 70_000),
    ]
    assert text.unmeasured == ()


def test_the_largest_entries_have_a_line():
    """With size and name, and the path where the name does not say it; those below a MiB have none."""
    assert text_of(*ENTRIES).largest == (
        " 221.0 MiB  layers of overlay2",
        " 180.0 MiB  volume pgdata",
        "  43.0 MiB  log of web",
        "  30.0 MiB  unknown: found",
    )


def test_each_group_says_who_decides():
    """What only a person can decide; and nothing of a group that takes little."""
    text = text_of(*ENTRIES)
    assert [line.partition(":")[0] for line in text.advice] == ["volumes", "logs"]
    few = text_of(*(each._replace(bytes=1000) for each in ENTRIES))
    assert (few.largest, few.advice) == ((), ())


@pytest.mark.parametrize(("classic", "warned"), [((True, True), False), ((False,), False), ((True, False), True)])
def test_volumes_of_containers_that_dockerd_does_not_see(classic, warned):
    """With containers of both image stores there is a warning of `docker volume prune`."""
    containers = [DockerContainer(b"%d" % number, is_classic=each) for number, each in enumerate(classic)]
    text = text_of(*ENTRIES, containers=containers)
    assert any("does not see" in line for line in text.advice) is warned


def test_what_was_not_measured_is_named():
    """By its group, in one order, and what is of no known kind by its name; it is in no sum."""
    text = text_of(
        entry("unknown", b"found", None, b"found"),
        entry("dockerd", b"runtimes", None, b"runtimes"),
        entry("logs", b"containers", None),
        entry("anonymous-volumes", b"volumes", None),
        entry("named-volumes", b"volumes", None),
    )
    assert text.groups == ()
    assert text.unmeasured == ("volumes", "logs", "unknown (found)", "other")
    volumes = [entry("named-volumes", b"volumes/" + name, None, name) for name in (b"a", b"b")]
    assert text_of(*volumes).unmeasured == ("2 volumes",)


def test_a_part_that_was_not_measured_has_its_reason():
    """The line of an entry ends with the note."""
    text = text_of(entry("named-volumes", b"volumes/v", 2 * MIB, b"v", "a mount was not entered"))
    assert text.largest == ("   2.0 MiB  volume v (a mount was not entered)",)


def test_a_volume_says_who_mounts_it():
    """By the names of the containers; nothing where that is not known."""
    volume = entry("named-volumes", b"volumes/v", 2 * MIB, b"v")
    for users, words in (((b"a", b"b"), ", mounted by a, b"), ((), ", mounted by no container"), (None, "")):
        assert text_of(volume._replace(used_by=users)).largest == (f"   2.0 MiB  volume v{words}",)


def test_a_place_with_nothing_else_has_no_words():
    """A containerd root outside a data root, whose other folders were not measured."""
    assert text_of(entry("content", b"content", 5), entry("containerd", b"tmpmounts", None, b"tmpmounts")) is None
    assert text_of(entry("content", b"content", 5), entry("unknown", b"empty", 0, b"empty")) is None


def test_the_file_system():
    """In one line; a file system without a number of inodes has none."""
    found = FileSystem(7, DATA, 100 << 30, 60 << 30, 35 << 30, 1000, 10)
    text = text_of(*ENTRIES, file_system=found)
    words = "File system of /var/lib/docker: 100.0 GiB, 60.0 GiB used, 35.0 GiB free"
    assert text.file_system == f"{words}, 10 inodes free."
    assert text_of(*ENTRIES, file_system=found._replace(inodes=0, inodes_free=0)).file_system == f"{words}."
    text = text_of(*ENTRIES, file_system=found, measured=SizeSource.DISK)
    assert text.file_system == f"{words}, 10 inodes free. /var/lib/docker takes 1.4 GiB of it."


def test_no_raw_name_gets_in():
    """Every text is one printable line."""
    (text,) = usage_texts(scan_of_everything())
    lines = [text.path, *text.unmeasured, *text.largest, *text.advice, text.file_system]
    assert text.largest
    assert all(line.isprintable() for line in lines), lines
    assert text.groups

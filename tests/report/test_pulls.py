"""The text and the document of made-up pulls."""

import os

from tests.support.documents import parsed
from tests.support.shell import words

from drydock.model.findings import Finding, FindingCode, Place, Severity
from drydock.model.leases import Holding, LeaseClass
from drydock.model.names import Kind, Ref
from drydock.model.pulls import Downloads, LayerState, Pull, PulledLayer, Pulls
from drydock.model.text import unshown
from drydock.report.pulls import pulls_document, pulls_lines

NOW = 10**18
HOUR = 3600 * 10**9
HOSTILE = b"a\x1b[2J'; rm -rf /\n\xff"


def lease(key, kind=LeaseClass.TEMPORARY, expires=NOW + HOUR):
    """A lease of an hour's age."""
    return Holding(Ref(Kind.LEASE, b"moby", key), kind, "", "", NOW - HOUR, expires, 1, 5)


def pull(*leases, layers=(), **fields):
    """A pull of these leases."""
    wanted = dict.fromkeys(("targets", "sources", "images", "platforms", "others"), ())
    wanted |= {"bytes": 5, "held": 6, "updated": None} | fields
    return Pull(root=b"/store", namespace=b"moby", leases=leases, layers=layers, **wanted)


def lines(*pulls, where=None, width=80):
    """The text of one root with these pulls."""
    return list(pulls_lines([Pulls(b"/store", list(pulls))], NOW, where, width))


def commands(text):
    """The commands in a text, as a shell takes them apart."""
    return [[os.fsdecode(word) for word in words(line)[1:]] for line in text if line.strip().startswith("drydock ")]


def test_hostile_names_reach_no_terminal():
    """Every name is shown escaped, and in commands it is one word that gives the same bytes back."""
    found = pull(
        lease(HOSTILE), images=(HOSTILE,), sources=(HOSTILE,), platforms=(HOSTILE,),
        findings=(Finding(FindingCode.UNREADABLE_DOCUMENT, Severity.BLIND, "no JSON", Place(b"/x")),),
    )  # fmt: skip
    text = lines(found, where=HOSTILE)
    assert all(line.isprintable() for line in text)
    assert "    no JSON" in text
    first = commands(text)[0]
    assert first[0] == "--end-lease"
    assert unshown(first[1]) == os.fsencode(first[3]) == HOSTILE
    document = parsed(pulls_document([Pulls(b"/store", [found])], NOW))
    assert unshown(document["roots"][0]["pulls"][0]["leases"][0]["id"]) == HOSTILE


def test_a_pull_into_the_classic_store_is_not_to_be_resumed():
    """Where its bytes lie, how many, and that they go; no word of keeping it."""
    layer = PulledLayer(b"sha256:" + b"1" * 64, 5000, 0, LayerState.CLASSIC, unpacked=False)
    left = Downloads((b"/data/tmp",), 2, 4096)
    text = lines(pull(lease(b"a"), layers=(layer,), downloads=left))
    assert "      2 files of all such pulls, 4.0 KiB" in text
    assert "      in /data/tmp" in text
    assert not any("--keep" in line for line in text)
    assert max(map(len, text)) <= 80
    (row,) = [line for line in text if "sha256:" in line]
    assert row.split()[-3:] == ["-", "classic", "no"]


def test_every_try_is_named_in_the_commands():
    """A pull of two leases is ended, and kept, by both."""
    assert commands(lines(pull(lease(b"a"), lease(b"b"))))[:2] == [
        ["--end-lease", "a", "--end-lease", "b", "--apply"],
        ["--end-leases", "temporary", "--keep", "a", "--keep", "b", "--apply"],
    ]


def test_leases_without_an_end_are_ended_one_by_one():
    """Of a pull whose lease is nobody's known only its own end is proposed, and no end of all."""
    text = lines(pull(lease(b"a", LeaseClass.UNKNOWN, None)))
    assert commands(text) == [["--end-lease", "a", "--apply"]]
    assert any("does not end by itself" in line for line in text)
    assert any("a lease of another class" in line for line in text)


def test_many_layers_are_cut_with_a_word():
    """Forty layers are printed, the number of the rest is told, and the document has all."""
    layers = tuple(PulledLayer(b"sha256:%064x" % number, None, 0, LayerState.ABSENT, False) for number in range(50_000))
    text = lines(pull(lease(b"a"), layers=layers))
    assert len(text) < 70
    assert "    and 49960 more; --format json lists all" in text
    document = parsed(pulls_document([Pulls(b"/store", [pull(lease(b"a"), layers=layers)])], NOW))
    assert len(document["roots"][0]["pulls"][0]["layers"]) == 50_000


def test_a_download_larger_than_its_total_stays_in_its_column():
    """More bytes than the layer has are 100 %, and a total of nothing is no division by it."""
    layers = [PulledLayer(b"sha256:%064x" % 1, size, 9, LayerState.PARTIAL, False) for size in (3, 0, None)]
    text = lines(pull(lease(b"a"), layers=tuple(layers)))
    assert sum("9 B  100 %" in line for line in text) == 1
    assert sum(line.endswith("9 B  partial   no") for line in text) == 2


def test_no_pull_is_said():
    """A root without pulls is named, with no command."""
    assert lines() == ["/store: no interrupted pulls"]

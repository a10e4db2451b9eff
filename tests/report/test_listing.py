"""Lists as tables and documents: columns, amounts, and names that would harm a terminal."""

import re

import pytest
from tests.support.captures import capture
from tests.support.documents import run
from tests.support.scans import HOSTILE, scan_of_everything
from tests.support.terminal import on_terminal
from tests.support.values import NOW, digest, image, store

from drydock.model.data import Fingerprint
from drydock.model.documents.common import compact
from drydock.model.listings import Listing, ListKind
from drydock.model.logs import ContainerLog, LogFile, LogFormat
from drydock.model.names import RawPath
from drydock.model.oci import Config, Descriptor, Documents, Index, Manifest
from drydock.model.volumes import Volume, VolumeUser
from drydock.report.listing import listing_document, listing_lines
from drydock.verdict.judge import judge
from drydock.verdict.listing import list_kind
from drydock.verdict.logs import log_rows
from drydock.verdict.volumes import volume_rows

FILE = LogFile(RawPath(b"containers/1/" + HOSTILE), 0, Fingerprint(1, 2, 0o100640, 5, 0, 0), 4096, 1)
LOG = ContainerLog(
    RawPath(b"/data/" + HOSTILE), b"1", HOSTILE, LogFormat.JSON_FILE, (FILE,), HOSTILE, HOSTILE, HOSTILE, NOW, NOW
)
VOLUME = Volume(RawPath(b"/data"), HOSTILE, HOSTILE, False, (VolumeUser(HOSTILE, HOSTILE, HOSTILE),), NOW)


def listings(kind):
    """The list of a store in which everything has a hostile name."""
    store = scan_of_everything().verdict.store
    if kind is ListKind.LOGS:
        return [Listing(RawPath(b"/store/" + HOSTILE), kind, log_rows([LOG]))]
    if kind is ListKind.VOLUMES:
        return [Listing(RawPath(b"/store/" + HOSTILE), kind, volume_rows([VOLUME]))]
    verdict, reached = judge(store, NOW)
    return [Listing(RawPath(b"/store/" + HOSTILE), kind, list_kind(kind, verdict, reached, Documents()))]


def test_hostile_names_are_escaped():
    """No list, as table or document, has a character that a terminal acts on."""
    for kind in ListKind:
        lines = list(listing_lines(listings(kind)))
        assert all(line.isprintable() for line in lines)
        text = compact.encode(listing_document(listings(kind), kind, NOW)).decode()
        assert text.isprintable()


def test_every_row_is_a_line():
    """Title, head, one line a row; columns begin where their titles do."""
    for kind in ListKind:
        [listing] = listings(kind)
        title, *lines = listing_lines([listing])
        what = "blobs" if kind is ListKind.CONTENT else kind.value
        assert title.endswith(f": 1 {what[:-1]}" if len(listing.rows) == 1 else f": {len(listing.rows)} {what}")
        assert len(lines) == (len(listing.rows) + 1 if listing.rows else 0)
        if lines:
            first = next(name for name in ("namespace", "container", "name") if name in listing.rows[0])
            names = [str(row[first] or "-").split()[0] for row in listing.rows]
            assert [line.split()[0] for line in lines[1:]] == names
            second = lines[0].index(" " + lines[0].split()[1]) + 1
            assert all(line[second - 1] == " " and line[second] != " " for line in lines)


def test_an_image_of_several_platforms():
    """Whole and incomplete platforms, and the bytes that are there, each blob once."""
    one, two = Manifest(Descriptor(digest(3)), (Descriptor(digest(4)),)), Manifest(None, (Descriptor(digest(9)),))
    documents = Documents(
        {
            digest(1): Index(
                (Descriptor(digest(2), platform=b"linux/amd64"), Descriptor(digest(5), platform=b"linux/arm64"))
            ),
            digest(2): one,
            digest(5): two,
            digest(3): Config((digest(7),), b"linux/amd64"),
        }
    )
    verdict, reached = judge(store(image(digest(1)), files=[digest(number) for number in range(1, 6)]), NOW)
    [row] = list_kind(ListKind.IMAGES, verdict, reached, documents)
    assert (row["platforms"], row["incomplete"], row["bytes"]) == (["linux/amd64"], ["linux/arm64"], 15)


@pytest.mark.root
@pytest.mark.parametrize("kind", ["snapshots", "leases", "containers"])
def test_ids_are_cut_where_the_terminal_is_narrow(kind, unpacked):
    """On 80 columns as docker shows them, on 400 and in a pipe whole; 12 characters are enough to find it."""
    of = capture("docker-28.5-interrupted-pull")
    command = ("ls", kind, "--now", of.taken_at, unpacked(of))
    narrow, _ = on_terminal(*command, columns=80)
    wide, _ = on_terminal(*command, columns=400)
    assert wide == run(*command)
    long = set(re.findall(r"[0-9a-f]{64}", wide))
    assert long
    assert not re.search(r"[0-9a-f]{13}", narrow.partition("\n")[2])
    for whole in long:
        assert re.search(rf"\b{whole[:12]}\b", narrow)
        assert run("explain", "--now", of.taken_at, whole[:12], unpacked(of), status=0)

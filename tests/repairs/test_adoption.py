"""Blobs that lost their records: which get one back, with which fields; compared with Go's reading."""

import contextlib
import dataclasses
import errno
import json
import os
import re
import signal
import subprocess

import pytest
from tests.engines.images import Blob
from tests.support import gobbolt
from tests.support.adoptable import IMAGE, NAME, NOW, blob_path, labels, lay_out, namespace, record, target, without
from tests.support.documents import run
from tests.support.faults import run_counted
from tests.support.gowriting import go_time, varint
from tests.support.platforms import ATTESTATION, HERE
from tests.support.platforms import index as multi_index
from tests.support.records import CONTENT, METADATA, nested, sequence
from tests.support.trees import tree

import drydock
from drydock.model.plans import Status
from drydock.model.times import parse_time

pytestmark = pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")

MANIFEST, CONFIG, ONE, TWO = IMAGE.blobs
INDEX = "application/vnd.oci.image.index.v1+json"
DRY = ("--adopt", "--now", NOW)


def apply(root, *options, status=0):
    """Run repair --adopt, with a state directory beside the root."""
    state = root.parent / "state"
    return run("repair", *DRY, "--apply", "--yes", "--state", state, *options, root, status=status)


def show(root, status=2):
    """Show the plan, which changes nothing."""
    before = tree(root)
    said = run("repair", *DRY, "--state", root.parent / "state", root, status=status)
    assert tree(root) == before
    return said


def blobs(root, space=b"default"):
    """The records of blobs, as Go reads them."""
    return nested(root / METADATA)[b"v1"][space][b"content"][b"blob"]


def made_now(blob, **more):
    """A record with the time of the repair."""
    time = go_time(parse_time(NOW.encode()) // 10**9)
    return {**record(blob, **more), b"createdat": time, b"updatedat": time}


@pytest.mark.parametrize(
    "gone", [(TWO,), (CONFIG, ONE), (MANIFEST,), IMAGE.blobs], ids=["layer", "two", "manifest", "all"]
)
def test_what_lost_its_record_gets_it_back(tmp_path, gone):
    """Whichever records of an image are lost: size, times and labels of the new ones are as containerd writes them.

    Sequences and all else stay, bbolt finds nothing wrong, the image that is whole is named, and undo takes it back.
    """
    root = lay_out(tmp_path / "root", {b"default": without(namespace(), *gone)})
    before, files = gobbolt.dump(root / METADATA), tree(root / CONTENT)
    said = show(root)
    for blob in gone:
        assert f"{blob.digest} (namespace default)" in said
    assert NAME.decode() in said.partition("complete again")[2]
    journal = re.search(r"journal: (\S+\.jsonl)", apply(root)).group(1)
    expected = {blob.digest.encode(): record(blob) for blob in IMAGE.blobs}
    expected[MANIFEST.digest.encode()] = record(MANIFEST, labels=labels())
    expected |= {blob.digest.encode(): made_now(blob) for blob in gone}
    if MANIFEST in gone:
        expected[MANIFEST.digest.encode()] = made_now(MANIFEST, labels=labels())
    assert blobs(root) == expected
    assert gobbolt.check(root / METADATA) == (0, "")
    assert sequence(root / METADATA, b"v1", b"default", b"content", b"blob") == 7
    assert tree(root / CONTENT) == files
    assert "nothing to repair" in run("repair", *DRY, "--state", tmp_path / "state", root, status=0)
    run("undo", journal, status=0)
    assert gobbolt.dump(root / METADATA) == before


def hints(root, *options):
    """The blobs that can be adopted by ``verify``, by namespace."""
    said = run("verify", "--now", NOW, "--state", root.parent / "state", "--format", "json", *options, root)
    (found,) = json.loads(said)["roots"]
    return {image["namespace"]: set(image["adoptable"]) for image in found["images"]}


def planned(root):
    """The blobs in the plan of repair --adopt, by namespace."""
    plans = []
    drydock.repair(
        os.fsencode(root), agree=lambda repairs: plans.extend(each.plan for each in repairs), adopt=True,
        now=parse_time(NOW.encode()), state=os.fsencode(root.parent / "state"),
    )  # fmt: skip
    found = {}
    for each in plans[0].adoptions:
        found.setdefault(each.ref.namespace.decode(), set()).add(each.ref.key.decode())
    return found


def test_verify_says_it_in_each_namespace(tmp_path):
    """Verify names what repair --adopt plans, although another namespace has all records; nothing if none is lost."""
    spaces = {b"a": namespace(), b"b": without(namespace(), CONFIG, TWO)}
    root = lay_out(tmp_path / "root", spaces)
    assert hints(root) == {"a": set(), "b": {CONFIG.digest, TWO.digest}}
    assert planned(root) == {"b": {CONFIG.digest, TWO.digest}}


def test_verify_says_nothing_of_what_cannot_be_adopted(tmp_path):
    """Not adoptable: wrong bytes once they were read, another size, no label, a link."""
    root = lay_out(tmp_path / "wrong", {b"default": without(namespace(), TWO)})
    path = blob_path(root, TWO)
    data = bytearray(TWO.data)
    data[600] ^= 1
    path.write_bytes(data)
    assert hints(root, "--data") == {"default": set()}
    # It is remembered, and read again.
    assert hints(root) == {"default": set()}
    path.write_bytes(TWO.data[:-1])
    assert hints(root) == {"default": set()}
    path.unlink()
    path.symlink_to(blob_path(root, ONE))
    assert hints(root) == {"default": set()}
    space = without(namespace(), TWO)
    del space[b"content"][b"blob"][MANIFEST.digest.encode()][b"labels"][b"containerd.io/gc.ref.content.l.1"]
    root = lay_out(tmp_path / "label", {b"default": space})
    assert (hints(root), planned(root)) == ({"default": set()}, {})


def test_verify_names_the_index_first(tmp_path):
    """If an index and its children lost their records, the index is named, and nothing is called unfetched."""
    other = dataclasses.replace(IMAGE, command=("other",))
    manifests = [each.manifest.descriptor() for each in (IMAGE, other)]
    index = Blob(INDEX, json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
    space = {b"content": {b"blob": {}}, b"images": {NAME: target(index)}}
    root = lay_out(tmp_path / "root", {b"default": space}, (index, *IMAGE.blobs))
    assert hints(root) == {"default": {index.digest}}
    text = run("verify", "--now", NOW, "--state", tmp_path / "state", root)
    assert "2 platforms without a record too" in text
    assert "what to do: run drydock repair --adopt" in text
    assert "never fetched" not in text


def _multi(*, recorded):
    """Make a namespace with one of two platforms of an image, with or without the record of the index."""
    index = multi_index()
    here = namespace(HERE)[b"content"][b"blob"]
    children = {
        b"containerd.io/gc.ref.content.m.%d" % number: each["digest"].encode()
        for number, each in enumerate(json.loads(index.data)["manifests"])
    }
    whole = {index.digest.encode(): record(index, labels=children), **here}
    return {b"content": {b"blob": whole if recorded else {}}, b"images": {NAME: target(index)}}


def test_an_attestation_that_a_client_left_out(tmp_path):
    """Its file is from another namespace, and its index has a record: nothing was lost, so nothing is advised."""
    other = {b"content": {b"blob": {blob.digest.encode(): record(blob) for blob in ATTESTATION.blobs}}}
    files = (multi_index(), *HERE.blobs, *ATTESTATION.blobs)
    root = lay_out(tmp_path / "root", {b"a": other, b"b": _multi(recorded=True)}, files)
    assert "--adopt" not in run("verify", "--now", NOW, "--state", tmp_path / "state", root)
    assert (hints(root), planned(root)) == ({"b": set()}, {})
    # Its manifest was fetched, and what that names was not.
    space = _multi(recorded=True)
    space[b"content"][b"blob"][ATTESTATION.manifest.digest.encode()] = record(ATTESTATION.manifest)
    root = lay_out(tmp_path / "manifest", {b"a": other, b"b": space}, files)
    assert "not adopted" not in show(root, status=0)


def test_an_attestation_of_an_index_without_a_record(tmp_path):
    """If an index and its children lost their records, the attestation comes back with them."""
    files = (multi_index(), *HERE.blobs, *ATTESTATION.blobs)
    root = lay_out(tmp_path / "root", {b"b": _multi(recorded=False)}, files)
    assert planned(root) == {"b": {blob.digest for blob in files}}


def test_a_question_does_not_mix_into_a_document(tmp_path):
    """--apply without --yes is refused with --format json and --output, and if the file cannot be written."""
    root = lay_out(tmp_path / "root", {b"default": without(namespace(), TWO)})
    before = gobbolt.dump(root / METADATA)
    for options in (["--format", "json"], ["-o", tmp_path / "text"], ["--format", "json", "-o", tmp_path / "text"]):
        assert run("repair", *DRY, "--apply", *options, root, status=16) == ""
    assert apply(root, "--format", "json", "-o", tmp_path / "nowhere/file", status=4) == ""
    assert gobbolt.dump(root / METADATA) == before
    assert apply(root, "-o", tmp_path / "text") == ""
    assert TWO.digest in (tmp_path / "text").read_text().partition("journal:")[0]
    assert blobs(root)[TWO.digest.encode()] == made_now(TWO)


def test_without_the_option_nothing_is_put_in(tmp_path):
    """Without --adopt nothing is adopted."""
    root = lay_out(tmp_path / "root", {b"default": without(namespace(), TWO)})
    before = gobbolt.dump(root / METADATA)
    run("repair", "--now", NOW, "--apply", "--yes", "--state", tmp_path / "state", root, status=0)
    assert gobbolt.dump(root / METADATA) == before


def test_an_index_and_what_is_below_it(tmp_path):
    """Manifests of an index are adopted with the labels of each kind; a platform that is not on disk is not."""
    other = dataclasses.replace(IMAGE, command=("other",))
    manifests = [MANIFEST.descriptor(platform={"os": "linux", "architecture": "amd64"}), other.manifest.descriptor()]
    index = Blob(INDEX, json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
    space = {b"content": {b"blob": {}}, b"images": {NAME: target(index)}}
    root = lay_out(tmp_path / "root", {b"default": space}, (index, *IMAGE.blobs))
    assert NAME.decode() in show(root).partition("complete again")[2]
    apply(root)
    children = {b"containerd.io/gc.ref.content.m.%d" % number: blob.digest.encode()
                for number, blob in enumerate((MANIFEST, other.manifest))}  # fmt: skip
    assert blobs(root) == {
        index.digest.encode(): made_now(index, labels=children),
        MANIFEST.digest.encode(): made_now(MANIFEST, labels=labels()),
        **{blob.digest.encode(): made_now(blob) for blob in (CONFIG, ONE, TWO)},
    }


def test_an_image_is_whole_again_or_pulled_again(tmp_path):
    """If one platform is complete by an adopted blob and another needs a pull, the pull is named."""
    other = dataclasses.replace(IMAGE, layers=(Blob(ONE.media_type, b"else" * 200), TWO))
    manifests = [each.manifest.descriptor() for each in (IMAGE, other)]
    index = Blob(INDEX, json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
    children = {b"containerd.io/gc.ref.content.m.%d" % number: each.manifest.digest.encode()
                for number, each in enumerate((IMAGE, other))}  # fmt: skip
    source = {b"containerd.io/distribution.source.example.org": b"shop"}
    space = namespace()
    space[b"content"][b"blob"] |= {
        **{blob.digest.encode(): record(blob, labels=source) for blob in other.blobs},
        other.manifest.digest.encode(): record(other.manifest, labels={**labels(other), **source}),
        index.digest.encode(): record(index, labels={**children, **source}),
    }
    space[b"images"] = {NAME: target(index)}
    files = (index, *IMAGE.blobs, *other.blobs)
    root = lay_out(tmp_path / "adopted", {b"default": without(space, CONFIG)}, files)
    assert NAME.decode() in show(root).partition("complete again")[2]
    root = lay_out(tmp_path / "both", {b"default": space}, files)
    blob_path(root, other.layers[0]).write_bytes(b"")
    said = show(root)
    assert f"{CONFIG.digest} (namespace default)" in said
    assert NAME.decode() in said.partition("pull again afterwards")[2]
    assert "complete again" not in said


def test_each_namespace_for_itself(tmp_path):
    """Of three namespaces, only the one that lost records gets any."""
    spaces = {b"a": namespace(), b"b": without(namespace(), CONFIG, TWO), b"c": {b"labels": {b"x": b"y"}}}
    root = lay_out(tmp_path / "root", spaces)
    apply(root)
    assert blobs(root, b"a") == namespace()[b"content"][b"blob"]
    assert blobs(root, b"b")[TWO.digest.encode()] == made_now(TWO)
    assert nested(root / METADATA)[b"v1"][b"c"] == spaces[b"c"]


def test_another_namespace_says_another_size(tmp_path):
    """A record with a wrong size goes; the new record stays, and so does the file that it needs."""
    spaces = {b"a": namespace(), b"b": without(namespace(), TWO)}
    spaces[b"a"][b"content"][b"blob"][TWO.digest.encode()][b"size"] = varint(7)
    root = lay_out(tmp_path / "root", spaces)
    apply(root, "--accept-loss", f"a/{NAME.decode()}")
    assert TWO.digest.encode() not in blobs(root, b"a")
    assert blobs(root, b"b")[TWO.digest.encode()] == made_now(TWO)
    assert blob_path(root, TWO).read_bytes() == TWO.data


@pytest.mark.parametrize("of", [MANIFEST, TWO], ids=["manifest", "layer"])
def test_an_image_that_calls_a_blob_something_else(tmp_path, of):
    """Another image's description of a blob costs the image that needs it neither labels nor record."""
    calls = {"layers": [of.descriptor() | {"mediaType": ONE.media_type if of is MANIFEST else MANIFEST.media_type}]}
    liar = Blob(MANIFEST.media_type, json.dumps(calls).encode())
    index = Blob(INDEX, json.dumps({"manifests": [MANIFEST.descriptor()]}).encode())
    space = without(namespace(), of)
    names = {b"containerd.io/gc.ref.content.m.0": MANIFEST.digest.encode()}
    space[b"content"][b"blob"][index.digest.encode()] = record(index, labels=names)
    names = {b"containerd.io/gc.ref.content.l.0": of.digest.encode()}
    space[b"content"][b"blob"][liar.digest.encode()] = record(liar, labels=names)
    space[b"images"] = {NAME: target(index), b"liar": target(liar)}
    if of is TWO:
        # The record that is read first.
        space[b"images"] = {NAME: target(index), b"liar": target(of) | {b"target": {
            **target(of)[b"target"], b"mediatype": MANIFEST.media_type.encode()}}}  # fmt: skip
    root = lay_out(tmp_path / "root", {b"default": space}, (index, liar, *IMAGE.blobs))
    apply(root)
    assert blobs(root)[of.digest.encode()] == made_now(of, labels=labels() if of is MANIFEST else {})


def test_a_time_to_come_is_not_written(tmp_path):
    """Otherwise every later run would be refused, as its clock would be earlier than a record."""
    root = lay_out(tmp_path / "root", {b"default": without(namespace(), TWO)})
    state = tmp_path / "state"
    run("repair", "--adopt", "--now", "2099-01-01T00:00:00Z", "--apply", "--yes", "--state", state, root, status=0)
    assert TWO.digest.encode() in blobs(root)
    run("scan", root, status=0)


def test_a_namespace_without_any_content(tmp_path):
    """Missing buckets on the path are created, as containerd creates them."""
    root = lay_out(tmp_path / "root", {b"default": {b"images": {NAME: target(MANIFEST)}}})
    apply(root)
    assert blobs(root)[MANIFEST.digest.encode()] == made_now(MANIFEST, labels=labels())
    assert gobbolt.check(root / METADATA) == (0, "")


def test_wrong_bytes_are_never_adopted(tmp_path):
    """A blob of the right size with wrong bytes is reported, and removed: a pull would adopt it unread."""
    root = lay_out(tmp_path / "root", {b"default": without(namespace(), ONE, TWO)})
    data = bytearray(TWO.data)
    data[600] ^= 1
    blob_path(root, TWO).write_bytes(data)
    said = show(root)
    assert (
        f"{TWO.digest} (namespace default): {MANIFEST.digest} names it, and its bytes do not match its digest" in said
    )
    assert "complete again" not in said
    apply(root)
    assert ONE.digest.encode() in blobs(root)
    assert TWO.digest.encode() not in blobs(root)
    assert not blob_path(root, TWO).exists()


def test_a_size_that_its_manifest_does_not_say(tmp_path):
    """A blob with right bytes, and another size in the record of the image or in the manifest, is not adopted."""
    spaces = {b"default": {b"content": {b"blob": {}}, b"images": {NAME: target(MANIFEST, size=7)}}}
    root = lay_out(tmp_path / "root", spaces)
    assert "names it with 7 bytes; the file has" in show(root, status=2)
    lying = json.loads(MANIFEST.data)
    lying["layers"][1]["size"] += 1
    manifest = Blob(MANIFEST.media_type, json.dumps(lying).encode())
    space = without(namespace(), MANIFEST, TWO)
    space[b"content"][b"blob"][manifest.digest.encode()] = record(manifest, labels=labels())
    space[b"images"] = {NAME: target(manifest)}
    root = lay_out(tmp_path / "other", {b"default": space}, (manifest, *IMAGE.blobs))
    before = gobbolt.dump(root / METADATA)
    assert f"{TWO.digest} (namespace default)" in show(root, status=0).partition("not adopted")[2]
    apply(root)
    assert gobbolt.dump(root / METADATA) == before


def test_what_its_manifest_has_no_label_for(tmp_path):
    """A blob without a label is reported and left, as the engine would collect it with its file."""
    space = without(namespace(), TWO)
    del space[b"content"][b"blob"][MANIFEST.digest.encode()][b"labels"][b"containerd.io/gc.ref.content.l.1"]
    root = lay_out(tmp_path / "root", {b"default": space})
    assert f"{MANIFEST.digest} names it, and has no label for it" in show(root, status=0)
    apply(root)
    assert TWO.digest.encode() not in blobs(root)


@pytest.mark.parametrize("what", ["link", "folder", "fifo"])
def test_what_is_no_file(tmp_path, what):
    """A link, or anything but a file, at a blob's path is not opened and gets no record."""
    root = lay_out(tmp_path / "root", {b"default": without(namespace(), TWO)})
    path = blob_path(root, TWO)
    path.rename(tmp_path / "bytes")
    {"link": lambda: path.symlink_to(tmp_path / "bytes"), "folder": path.mkdir, "fifo": lambda: os.mkfifo(path)}[what]()
    show(root)
    apply(root, status=2)
    assert TWO.digest.encode() not in blobs(root)


def test_a_blob_that_an_ingest_waits_for(tmp_path):
    """A shared ingest of the blob stays: the engine finds the blob when it commits the ingest."""
    space = without(namespace(), TWO)
    ingest = {b"ref": b"default/1/layer", b"expected": TWO.digest.encode(), b"expireat": go_time(2**33)}
    space[b"content"][b"ingests"] = {b"layer": ingest}
    root = lay_out(tmp_path / "root", {b"default": space})
    apply(root)
    content = nested(root / METADATA)[b"v1"][b"default"][b"content"]
    assert content[b"blob"][TWO.digest.encode()] == made_now(TWO)
    assert content[b"ingests"] == {b"layer": ingest}


@pytest.mark.parametrize(("end", "there"), [(b"2030-01-01T00:00:00Z", True), (b"2023-12-01T00:00:00Z", False)])
@pytest.mark.parametrize("flat", [False, True])
def test_a_manifest_that_only_a_lease_holds(tmp_path, end, there, flat):
    """The children of a leased manifest are adopted while the lease lasts, unless it holds the manifest flat."""
    space = without(namespace(), TWO)
    del space[b"images"]
    marks = {b"containerd.io/gc.expire": end, **({b"containerd.io/gc.flat": b"yes"} if flat else {})}
    lease = {b"createdat": go_time(1_500_000_000), b"labels": marks, b"content": {MANIFEST.digest.encode(): b""}}
    space[b"leases"] = {b"pull": lease}
    root = lay_out(tmp_path / "root", {b"default": space})
    apply(root)
    assert (TWO.digest.encode() in blobs(root)) is (there and not flat)


def test_what_is_no_document(tmp_path):
    """A blob with the type of a manifest that is too large, truncated, or an index is never adopted."""
    for number, data in enumerate([
        b'{"layers": [], "x": "' + b"x" * (9 << 20) + b'"}', b'{"layers": [', b'{"manifests": [], "layers": []}',
        json.dumps({"manifests": [MANIFEST.descriptor()]}).encode(), b"[]",
        json.dumps({"config": CONFIG.descriptor(), "layers": [{"digest": "sha256:short"}]}).encode(),
    ]):  # fmt: skip
        bad = Blob(MANIFEST.media_type, data)
        space = {b"content": {b"blob": {}}, b"images": {NAME: target(bad)}}
        root = lay_out(tmp_path / f"root{number}", {b"default": space}, (bad, *IMAGE.blobs))
        assert f"{bad.digest} (namespace default)" in show(root).partition("not adopted")[2]
        apply(root, status=2)
        assert blobs(root) == {}


def test_indexes_in_each_other(tmp_path):
    """A long chain of indexes is followed eight levels down, and a second run continues."""
    chain = [MANIFEST]
    for _ in range(12):
        chain.append(Blob(INDEX, json.dumps({"manifests": [chain[-1].descriptor()]}).encode()))
    space = {b"content": {b"blob": {}}, b"images": {NAME: target(chain[-1])}}
    root = lay_out(tmp_path / "root", {b"default": space}, (*chain, CONFIG, ONE, TWO))
    apply(root)
    assert len(blobs(root)) == 8
    apply(root)
    assert len(blobs(root)) == 16


def test_a_blob_that_changes_before_the_edit(tmp_path):
    """If one file changes between hashing and the edit, no record is put in."""
    root = lay_out(tmp_path / "root", {b"default": without(namespace(), ONE, TWO)})
    before = gobbolt.dump(root / METADATA)

    def agree(repairs):
        assert [each.ref.key for each in repairs[0].plan.adoptions] == sorted(
            blob.digest.encode() for blob in (ONE, TWO)
        )
        os.utime(blob_path(root, TWO))
        return True

    (done,) = drydock.repair(
        os.fsencode(root), agree=agree, adopt=True, apply=True, now=parse_time(NOW.encode()),
        state=os.fsencode(tmp_path / "state"),
    )  # fmt: skip
    assert [each.status for each in done.edits] == [Status.FAILED]
    assert "changed; no record was added" in done.edits[0].detail
    assert gobbolt.dump(root / METADATA) == before


def test_many_at_once(tmp_path):
    """Hundreds of records over many pages of the database are one edit."""
    many = dataclasses.replace(
        IMAGE, layers=tuple(Blob(ONE.media_type, b"%05d" % number * 100) for number in range(400))
    )
    space = {b"content": {b"blob": {}}, b"images": {NAME: target(many.manifest)}}
    root = lay_out(tmp_path / "root", {b"default": space}, many.blobs)
    apply(root)
    assert len(blobs(root)) == 402
    assert gobbolt.check(root / METADATA) == (0, "")
    assert gobbolt.churn(root / METADATA, 1, 500) == ""


def test_a_kill_anywhere_leaves_the_old_or_the_new(tmp_path):
    """Killed after each system call with an effect: the database is intact, and the next repair ends the same."""
    spaces = {b"default": without(namespace(), MANIFEST, TWO)}
    root = lay_out(tmp_path / "root", spaces)
    command = ("repair", *DRY, "--apply", "--yes", "--state", tmp_path / "state", root)
    old = gobbolt.dump(root / METADATA)
    ended = run_counted(*command)
    assert (ended.signal, ended.status) == (0, 0), ended.output
    new, seen = gobbolt.dump(root / METADATA), set()
    for number in range(1, len(ended.calls) + 1, 1 if "DRYDOCK_TEST_EVERY_KILL" in os.environ else 5):
        lay_out(root, spaces)
        assert run_counted(*command, kill_after=number).signal == signal.SIGKILL
        assert gobbolt.check(root / METADATA) == (0, "")
        found = gobbolt.dump(root / METADATA)
        assert found in {old, new}
        seen.add(found)
        run(*command, status=0)
        assert gobbolt.dump(root / METADATA) == new
    assert seen == {old, new}


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_an_error_at_any_call_leaves_the_old_or_the_new(tmp_path, error):
    """With an error at each system call: it is reported, the database is intact, and the next repair ends the same."""
    spaces = {b"default": without(namespace(), MANIFEST, TWO)}
    root = lay_out(tmp_path / "root", spaces)
    command = ("repair", *DRY, "--apply", "--yes", "--state", tmp_path / "state", root)
    old = gobbolt.dump(root / METADATA)
    calls = run_counted(*command).calls
    new = gobbolt.dump(root / METADATA)

    def failing(at):
        def hook(number, _):
            if number == at:
                raise OSError(error, os.strerror(error))

        return hook

    for number in range(1, len(calls) + 1, 1 if "DRYDOCK_TEST_EVERY_ERROR" in os.environ else 9):
        lay_out(root, spaces)
        ended = run_counted(*command, hook=failing(number))
        assert "Traceback" not in ended.output
        assert gobbolt.check(root / METADATA) == (0, "")
        found = gobbolt.dump(root / METADATA)
        assert found in {old, new}
        assert found == new or ended.status != 0, (number, ended.output)
        run(*command, status=0)
        assert gobbolt.dump(root / METADATA) == new


@pytest.mark.root
def test_a_full_disk_changes_no_record(tmp_path):
    """On a full file system no record is put in, with a message; the next run with room does it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], check=True)
    try:
        root = lay_out(disk / "root", {b"default": without(namespace(), TWO)})
        before = gobbolt.dump(root / METADATA)
        with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        assert os.statvfs(disk).f_bavail == 0
        options = ("repair", *DRY, "--apply", "--yes", "--state", tmp_path / "state", root)
        assert "No space left" in run(*options, status=4)
        assert gobbolt.dump(root / METADATA) == before
        assert gobbolt.check(root / METADATA) == (0, "")
        (disk / "ballast").unlink()
        run(*options, status=0)
        assert TWO.digest.encode() in blobs(root)
    finally:
        subprocess.run(["umount", disk], check=True)

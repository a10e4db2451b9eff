"""Plans of small made-up stores: what goes, what is withheld and why; by a model of containerd's collector."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import worlds
from tests.support.values import FINGERPRINT, NOW, NS, blob, digest, image, lease, snapshot, store
from tests.support.worlds import WORLD, expected, parent_of, row_id, row_name, world_rows

from drydock.model.data import Backend, IngestDirectory, LayoutKind, Row, RowKind, SnapshotEntry
from drydock.model.documents.common import indented
from drydock.model.errors import Refused, Usage
from drydock.model.names import Kind, RawPath, split_row_name
from drydock.model.policies import EndLeases, Policy
from drydock.model.records import BlobRecords, Ingest
from drydock.model.roots import DockerContainer, Owners
from drydock.reclaim.plan import make_plan
from drydock.reclaim.plan_file import plan_document, plan_hash, plan_request, plans_document, read_requests
from drydock.verdict.judge import judge

OVER = b"overlayfs"
LATER = {b"containerd.io/gc.expire": b"2090-01-01T00:00:00Z"}
PAST = {b"containerd.io/gc.expire": b"2000-01-01T00:00:00Z"}
TEMPORARY = Policy(EndLeases.TEMPORARY)


def row(name, number, parent=b""):
    """A row of metadata.db."""
    return Row(name, number, RowKind.COMMITTED, parent, 10, 1, {})


def entry(number):
    """A snapshot's directory."""
    name = b"%d" % number
    path = RawPath(b"io.containerd.snapshotter.v1.overlayfs/snapshots/" + name)
    return SnapshotEntry(name, path, number, FINGERPRINT, True, 4096)


def backend(*rows, entries=None, **fields):
    """An overlayfs; a directory for each row, unless told otherwise."""
    numbers = [each.id for each in rows] if entries is None else entries
    path = RawPath(b"io.containerd.snapshotter.v1.overlayfs")
    return {OVER: Backend(OVER, path, fields.pop("layout", LayoutKind.OVERLAY), {each.name: each for each in rows},
                          99, [entry(number) for number in numbers], **fields)}  # fmt: skip


def plan(of, policy=TEMPORARY, now=NOW):
    """The plan of a store."""
    verdict, reached = judge(of, now)
    return make_plan(verdict, reached, policy, ())


def keys(made):
    """The names of what a plan drops: records, rows, and the last part of paths."""
    return (
        {drop.ref.key for drop in made.records},
        {each.name for each in made.rows},
        {removal.path.rpartition(b"/")[2] for removal in made.removals},
    )


def test_a_row_that_a_surviving_row_stands_on_is_withheld():
    """No record names b"base", but a live snapshot's row has it as its parent: row and directory stay."""
    rows = [row(b"base", 1), row(NS + b"/1/top", 2, b"base"), row(b"other", 3)]
    made = plan(store(snapshot(b"top", labels={b"containerd.io/gc.root": b""}), backends=backend(*rows)))
    assert keys(made) == (set(), {b"other"}, {b"3"})
    assert [(each.id, each.reason) for each in made.withheld if each.reason] == [
        ("base", "it is the parent of row moby/1/top, which stays")
    ]


@pytest.mark.parametrize(
    "fields", [{"layout": LayoutKind.FOREIGN}, {"complete": False}, None], ids=["foreign", "incomplete", "elsewhere"]
)
def test_a_snapshotter_not_understood_keeps_its_records_and_what_they_refer_to(fields):
    """Its leased snapshot stays with parent and the blob its label names; another blob of the lease goes."""
    refers = {b"containerd.io/gc.ref.content.x": digest(1)}
    held = lease(b"pull", LATER, blobs=[digest(2)], snapshots=[b"top"])
    records = [snapshot(b"base"), snapshot(b"top", b"base", refers), blob(digest(1)), blob(digest(2)), held]
    rows = [row(NS + b"/1/base", 1), row(NS + b"/1/top", 2, NS + b"/1/base")]
    backends = {} if fields is None else backend(*rows, **fields)
    made = plan(store(*records, files=[digest(1), digest(2)], backends=backends))
    assert keys(made) == ({digest(2)}, set(), {digest(2).partition(b":")[2]})
    understood = plan(store(*records, files=[digest(1), digest(2)], backends=backend(*rows)))
    assert len(understood.records) == 4
    assert len(understood.rows) == 2


CID = b"c" * 64
OTHER = DockerContainer(b"d" * 64)
NONE = Owners({OTHER.id: OTHER}, containers_changed=NOW)
"""dockerd has provably one container, and no other."""


def of_a_container(cid=CID, owners=NONE, namespace=NS, *more):
    """A store with what a container without a lease was made of, and with what none was."""
    names = [b"base", cid + b"-init", cid, b"other"]
    space = namespace + b"/1/"
    above = {cid + b"-init": b"base", cid: cid + b"-init"}
    rows = [row(space + name, number) for number, name in enumerate(names, 1)]
    records = [snapshot(name, above.get(name, b""), namespace=namespace) for name in names]
    labels = {b"containerd.io/gc.ref.content.l.0": digest(2)}
    records += [blob(digest(n), labels if n == 1 else None, namespace=namespace) for n in (1, 2, 3)]
    return store(*records, *more, files=[digest(n) for n in (1, 2, 3)], backends=backend(*rows), owners=owners)


def test_what_a_docker_container_was_made_of_stays_without_its_lease():
    """Its folder is there: its snapshots, what they stand on and its manifest are not nobody's, in its namespace."""
    owners = Owners({CID: DockerContainer(CID, manifest=digest(1))}, containers_changed=NOW)
    whole = of_a_container(owners=owners)
    made = plan(whole)
    assert {drop.ref.key for drop in made.records} == {b"overlayfs/other", digest(3)}
    assert "dockerd has a container with its id" in {each.reason for each in made.withheld}
    assert len(plan(of_a_container()).records) == 7
    # Their records may be lost as well: then their rows say whose they are.
    lost = plan(store(backends=whole.backends, owners=owners))
    assert {each.name for each in lost.rows} == {b"moby/1/base", b"moby/1/other"}
    # Whether dockerd has more containers than were found is no matter for those.
    unsure = plan(of_a_container(owners=Owners(owners.containers)))
    assert {drop.ref.key for drop in unsure.records} == {b"overlayfs/other", digest(3)}


def test_what_may_be_a_docker_containers_stays_where_not_all_are_known():
    """By its key, the form of a container's id; any blob may be its manifest. In Docker's namespaces only."""
    unknown = Owners()
    for space in (NS, b"moby-1000.1000"):
        made = plan(of_a_container(CID, unknown, space))
        assert {drop.ref.key for drop in made.records} == {b"overlayfs/other"}
        assert "its key is a container id, and not all of dockerd's containers could be read" in {
            each.reason for each in made.withheld
        }
    lost = plan(store(backends=of_a_container().backends, owners=unknown))
    assert {each.name for each in lost.rows} == {b"moby/1/base", b"moby/1/other"}
    for cid, space in ((CID, b"k8s.io"), (CID, b"default"), (CID, b"plugins.moby"), (b"c" * 63, NS)):
        made = plan(of_a_container(cid, unknown, space))
        assert (len(made.records), len(made.removals), made.withheld) == (7, 7, ())


def test_a_pull_of_a_root_without_its_data_root_is_freed():
    """With the leases of all its containers nothing is lost; where a data root could not be read, something may be."""
    held = lease(CID, snapshots=[CID], created=NOW - 5)
    alone = of_a_container(CID, Owners(), NS, held)
    assert {drop.ref.key for drop in plan(alone).records} == {b"overlayfs/other", digest(1), digest(2), digest(3)}
    for root in (alone.root._replace(docker=(RawPath(b"/docker"),)), alone.root._replace(docker_known=False)):
        damaged = of_a_container(CID, Owners(), NS, held)
        damaged.root = root
        assert {drop.ref.key for drop in plan(damaged).records} == {b"overlayfs/other"}


def test_a_container_that_may_be_there_is_given_up_with_its_lease():
    """Where not all of dockerd's are known, only whoever names the lease can say that it is gone."""
    held = lease(CID, snapshots=[CID], created=NOW - 5)
    policy = Policy(EndLeases.OWNERLESS)
    assert plan(of_a_container(CID, Owners(), NS, held), policy).leases == ()
    named = plan(of_a_container(CID, Owners(), NS, held), policy._replace(leases=(CID,)))
    assert (len(named.leases), len(named.records), named.withheld) == (1, 7, ())
    found = Owners({CID: DockerContainer(CID)})
    with pytest.raises(Refused, match="belongs to container"):
        plan(of_a_container(CID, found, NS, held), policy._replace(leases=(CID,)))


def test_any_blob_may_be_the_manifest_of_a_container_that_cannot_be_read():
    """Its snapshots stay as those of any other; of another namespace than Docker's every blob goes."""
    owners = Owners({CID: DockerContainer(CID, manifest_known=False)}, containers_changed=NOW)
    made = plan(of_a_container(owners=owners))
    assert {drop.ref.key for drop in made.records} == {b"overlayfs/other"}
    assert any("its configuration could not be read" in each.reason for each in made.withheld)
    elsewhere = plan(of_a_container(CID, owners, b"k8s.io"))
    assert len(elsewhere.records) == 7


HASHED = b"e" * 64
MOUNTS = [
    HASHED,
    CID + b"-docker.io/library/tools:2",
    (CID + b",src=tools:2,dst=/tools").hex().encode(),
]
"""Names of an image mount's lease and snapshot: of Docker 29.1.4 and later, of 28, and of 29.0."""


def mounted(key, owners, *more):
    """A store with the snapshot of an image mount, and with one that nobody has."""
    rows = [row(NS + b"/1/" + name, number) for number, name in enumerate((b"base", key, b"other"), 1)]
    records = [snapshot(b"base"), snapshot(key, b"base"), snapshot(b"other")]
    return store(*records, *more, backends=backend(*rows), owners=owners)


@pytest.mark.parametrize("key", MOUNTS)
def test_an_image_mount_stays_without_its_lease(key):
    """Also where its record is lost; and where its container's configuration cannot be read, or is not there."""
    container = DockerContainer(CID, mounts=frozenset((key,)))
    owners = Owners({CID: container}, image_mounts={key: container}, containers_changed=NOW)
    unread = Owners({CID: DockerContainer(CID, manifest_known=False, mounts_known=False)}, containers_changed=NOW)
    for each in (owners, unread, Owners(), Owners(containers_changed=NOW)):
        whole = mounted(key, each)
        assert {drop.ref.key for drop in plan(whole).records} == {b"overlayfs/other"}
        lost = store(backends=whole.backends, owners=each)
        assert key not in {split_row_name(row.name)[2] for row in plan(lost).rows}
    assert {drop.ref.key for drop in plan(mounted(key, NONE)).records} >= {b"overlayfs/other", b"overlayfs/" + key}


@pytest.mark.parametrize("key", MOUNTS)
def test_the_lease_of_an_image_mount_is_not_ended_by_name(key):
    """Its container exists: refused, as the lease of the container itself is."""
    container = DockerContainer(CID, b"web", mounts=frozenset((key,)))
    owners = Owners({CID: container}, image_mounts={key: container}, containers_changed=NOW)
    held = lease(key, snapshots=[key], created=NOW - 5)
    policy = Policy(EndLeases.OWNERLESS)
    assert plan(mounted(key, owners, held), policy).leases == ()
    with pytest.raises(Refused, match="belongs to container web"):
        plan(mounted(key, owners, held), policy._replace(leases=(key,)))
    assert [each.ref.key for each in plan(mounted(key, NONE, held), policy).leases] == [key]


def test_the_view_that_a_diff_of_a_container_left_is_nobodys():
    """``docker diff`` takes no lease for it, and the engine's next collection drops it."""
    container = DockerContainer(CID)
    key = CID + b"-parent-view-" + b"9" * 64
    made = plan(mounted(key, Owners({CID: container}, containers_changed=NOW)))
    assert {drop.ref.key for drop in made.records} == {b"overlayfs/" + key, b"overlayfs/other", b"overlayfs/base"}


def test_what_is_like_a_containers_stays_where_dockerd_has_none():
    """An emptied folder of containers is a finding, and no proof; whoever names the lease can say that it is gone."""
    held = lease(CID, snapshots=[CID], created=NOW - 5)
    emptied = of_a_container(CID, Owners(containers_changed=NOW), NS, held)
    emptied.root = emptied.root._replace(docker=(RawPath(b"/docker"),))
    policy = Policy(EndLeases.OWNERLESS)
    made = plan(emptied, policy)
    assert made.leases == ()
    assert {drop.ref.key for drop in made.records} == {b"overlayfs/other"}
    (finding,) = [each for each in judge(emptied, NOW)[0].findings if each.code == "no-containers"]
    assert "leases: 1, snapshots: 2" in finding.message
    assert finding.place.file == b"/docker/containers"
    named = plan(emptied, policy._replace(leases=(CID,)))
    assert ({each.ref.key for each in named.leases}, len(named.records)) == ({CID}, 7)
    # With nothing like a container's there is nothing to say.
    plain = store(snapshot(b"base"), owners=Owners(containers_changed=NOW))
    plain.root = emptied.root
    assert [each.code for each in judge(plain, NOW)[0].findings] == []


def test_a_lease_that_holds_what_is_kept_does_not_end():
    """Without it the engine's next collection would drop what --keep names; named as well, the two contradict."""
    records = [lease(b"one", LATER, blobs=[digest(1)]), lease(b"two", LATER, blobs=[digest(2)])]
    found = store(*records, blob(digest(1)), blob(digest(2)), files=[digest(1), digest(2)])
    made = plan(found, TEMPORARY._replace(keep=(digest(1),)))
    assert [end.ref.key for end in made.leases] == [b"two"]
    assert {drop.ref.key for drop in made.records} == {digest(2)}
    (stays,) = made.withheld
    assert (stays.kind, stays.id) == (Kind.LEASE, "one")
    assert stays.bytes == next(each.only for each in judge(found, NOW)[0].leases if each.ref.key == b"one") > 0
    assert stays.reason.startswith("lease one stays, with all that it holds: kept by --keep sha256:")
    with pytest.raises(Usage, match="--end-lease names lease one, and --keep names it or something that it holds"):
        plan(found, Policy(leases=(b"one",), keep=(digest(1),)))


def test_a_shared_ingest_elsewhere_keeps_the_file():
    """The only record goes, but a live ingest of another namespace waits to adopt that very file."""
    waiting = Ingest(b"other", b"ref", b"other/1/ref", NOW + 1, digest(1))
    made = plan(store(blob(digest(1)), waiting, files=[digest(1)]))
    assert keys(made) == ({digest(1)}, set(), set())
    gone = plan(store(blob(digest(1)), waiting._replace(expires=NOW - 1), files=[digest(1)]))
    assert keys(gone) == ({digest(1), b"ref"}, set(), {digest(1).partition(b":")[2]})


def test_a_blob_goes_with_its_last_record():
    """Unreachable in one namespace and live in another: that record goes, the file stays."""
    records = [blob(digest(1)), blob(digest(1), namespace=b"other"), image(digest(1), namespace=b"other")]
    made = plan(store(*records, files=[digest(1)]))
    assert [drop.ref.namespace for drop in made.records] == [NS]
    assert made.removals == ()
    assert len(plan(store(*records[:2], files=[digest(1)])).removals) == 1


def test_a_dropped_snapshot_leaves_its_surviving_parents_list():
    """Only where the parent stays: a parent that goes takes its list with it."""
    rows = [row(NS + b"/1/base", 1), row(NS + b"/1/mid", 2, NS + b"/1/base"), row(NS + b"/1/top", 3, NS + b"/1/mid")]
    kept = {b"containerd.io/gc.root": b""}
    records = [snapshot(b"base", labels=kept), snapshot(b"mid", b"base"), snapshot(b"top", b"mid")]
    made = plan(store(*records, backends=backend(*rows)))
    parents = {drop.ref.key: drop.parent and drop.parent.key for drop in made.records}
    assert parents == {b"overlayfs/mid": b"overlayfs/base", b"overlayfs/top": None}
    assert {each.name: each.parent_id for each in made.rows} == {NS + b"/1/mid": 1, NS + b"/1/top": 2}


def test_older_than_takes_leases_by_their_age():
    """A temporary lease that says no time of creation is no age old, and stays; an expired one needs none."""
    held = [lease(b"young", LATER, created=NOW - 5), lease(b"old", LATER, created=NOW - 50), lease(b"none", LATER),
            lease(b"past", PAST)]  # fmt: skip
    made = plan(store(*held), TEMPORARY._replace(older_than=20))
    assert {end.ref.key for end in made.leases} == {b"old", b"past"}


def test_the_document_comes_back_and_its_hash_stays():
    """What a request needs survives the file, names of any bytes included; what is planned changes the hash."""
    odd = lease(b"\xff\n\x1b[31m", LATER, blobs=[digest(1)])
    policy = Policy(EndLeases.OWNERLESS, 7, (b"\xff\n\x1b[31m",), (digest(2),))
    made = plan(store(odd, blob(digest(1)), blob(digest(2)), files=[digest(1), digest(2)]), policy)
    made = made._replace(host=RawPath(b"/mnt/\xff"))
    text = "".join(indented(plans_document([made])))
    assert "\x1b" not in text
    (request,) = read_requests(text, "plan")
    assert request == plan_request(made)
    assert request[:4] == (made.root, made.host, NOW, policy)
    less = made._replace(removals=made.removals[:0])
    assert plan_hash(less) != plan_hash(made)
    assert plan_request(less) != request
    assert plan_document(made).bytes == 4096
    (values,) = json.loads(text)["plans"]
    assert values.pop("hash") == plan_hash(made)
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    assert plan_hash(made) == hashlib.sha256(canonical.encode()).hexdigest()
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False)


def build(world):
    """The same world as drydock would have read it."""
    end = {"past": PAST, "later": LATER, None: {}}
    times = {"past": NOW - 1, "later": NOW + 1, None: None}
    records = [image(worlds.digest(number), namespace=space, name=b"i%d" % number) for space, number in world["images"]]
    root = {b"containerd.io/gc.root": b""}
    for (space, number), (is_root, refers) in world["blobs"].items():
        labels = {**(root if is_root else {})}
        if refers is not None:
            labels[b"containerd.io/gc.ref.content.0"] = worlds.digest(refers)
        records.append(blob(worlds.digest(number), labels, namespace=space))
    for (space, number), (is_root, _, refers) in world["snapshots"].items():
        labels = {**(root if is_root else {})}
        if refers is not None:
            labels[b"containerd.io/gc.ref.content"] = worlds.digest(refers)
        parent = parent_of(world, space, number)
        made = snapshot(worlds.key(number), b"" if parent is None else worlds.key(parent), labels, namespace=space)
        records.append(made._replace(name=row_name((space, number))))
    for (space, number), (when, wants) in world["ingests"].items():
        reference = b"%s/1/%s" % (space, worlds.key(number))
        records.append(
            Ingest(space, worlds.key(number), reference, times[when], None if wants is None else worlds.digest(wants))
        )
    for (space, number), (when, flat, blobs, snapshots, ingests) in world["leases"].items():
        labels = {**end[when], **({b"containerd.io/gc.flat": b""} if flat else {})}
        records.append(lease(b"lease%d" % number, labels, namespace=space, blobs=map(worlds.digest, blobs),
                             snapshots=map(worlds.key, snapshots),
                             ingests=map(worlds.key, ingests)))  # fmt: skip
    rows = [
        row(row_name(key), row_id(*key) if isinstance(key, tuple) else key, b"" if above is None else row_name(above))
        for key, above in world_rows(world).items()
    ]
    made = store(*records, files=[worlds.digest(number) for number in world["files"]],
                 backends=backend(*rows, entries=sorted(world["folders"])), owners=NONE)  # fmt: skip
    made.content.ingests += [ingest_folder(*key) for key in sorted(world["ingest_folders"])]
    return made


def ingest_folder(space, number):
    """An ingest's folder."""
    import hashlib

    reference = b"%s/1/%s" % (space, worlds.key(number))
    name = hashlib.sha256(reference).hexdigest().encode()
    path = RawPath(b"io.containerd.content.v1.content/ingest/" + name)
    return IngestDirectory(name, path, reference, 1, 4096, None, None, FINGERPRINT)


def outcome(made):
    """A plan as sets: leases, records, rows, paths."""
    return (
        {end.ref for end in made.leases},
        {drop.ref for drop in made.records},
        {(each.snapshotter, each.name) for each in made.rows},
        {removal.path for removal in made.removals},
    )


@given(WORLD)
@settings(max_examples=400, deadline=None)
def test_a_plan_is_what_the_collector_would_drop_and_what_nothing_names(world):
    """Leases, records, rows and paths, each exactly those of the model."""
    ended, records, rows, paths = expected(world)
    made = plan(build(world))
    assert {(end.ref.namespace, int(end.ref.key[5:])) for end in made.leases} == ended
    found = set()
    for drop in made.records:
        kind, name = drop.ref.kind.value, drop.ref.key
        number = int(name[7:8], 16) if kind == "blob" else int(name.rpartition(b"/")[2][:1])
        found.add((kind, drop.ref.namespace, number))
    assert found == records
    assert {each.name for each in made.rows} == {row_name(key) for key in rows}
    folders = {ingest_folder(*key[1:]).path: key for key in paths if key[0] == "ingest"}
    there = set()
    for removal in made.removals:
        name = removal.path.rpartition(b"/")[2]
        kind = removal.target.value
        if kind == "ingest":
            there.add(folders.get(removal.path, removal.path))
        else:
            there.add((kind, int(name[:1], 16) if kind == "blob" else int(name)))
    assert there == paths
    for removal in made.removals:
        if removal.after_edit and removal.target.value == "snapshot":
            assert made.rows


DAMAGE = st.sets(st.sampled_from(["metadata", "backend", "foreign", "gone", "content", "owners"]), min_size=1)


@given(WORLD, DAMAGE, st.randoms(use_true_random=False), st.sampled_from(list(EndLeases)))
@settings(max_examples=400, deadline=None)
def test_damage_never_enlarges_a_plan(world, damage, random, end):
    """Whatever evidence is lost, as its readers say when it is: nothing goes that else would have stayed."""
    policy = Policy(end)
    whole = outcome(plan(build(world), policy))
    hurt = build(world)
    for what in damage:
        hurt_one(hurt, what, random)
    for less, more in zip(outcome(plan(hurt, policy)), whole, strict=True):
        assert less <= more


def hurt_one(of, what, random):
    """Lose a random part of one kind of evidence, and say that it is not complete."""
    metadata = of.metadata
    if what == "metadata":
        metadata.complete = False
        for records in (metadata.images, metadata.ingests, metadata.snapshots, metadata.leases):
            records[:] = [record for record in records if random.random() < 0.7]
        metadata.blobs = BlobRecords([record for record in metadata.blobs if random.random() < 0.7])
    elif what == "content":
        of.content.complete = False
        of.content.blobs = {key: file for key, file in of.content.blobs.items() if random.random() < 0.7}
        of.content.ingests[:] = [found for found in of.content.ingests if random.random() < 0.7]
    elif what == "owners":
        of.owners = Owners()
    elif what == "gone":
        of.backends.clear()
    elif OVER in of.backends:
        found = of.backends[OVER]
        if what == "foreign":
            found.layout = LayoutKind.FOREIGN
        else:
            found.complete = False
            found.rows = {name: each for name, each in found.rows.items() if random.random() < 0.7}
            found.entries[:] = [each for each in found.entries if random.random() < 0.7]


def test_the_reason_names_the_record_that_needs_another():
    """A parent that only a kept snapshot needs is withheld, and the reason names that snapshot and why it stays."""
    found = store(snapshot(b"base"), snapshot(b"top", b"base"), backends=backend(row(NS + b"/1/base", 1)))
    made = plan(found, Policy(keep=(b"top",)))
    reasons = {each.id: each.reason for each in made.withheld}
    assert reasons["overlayfs/base"] == "snapshot top needs it, and stays: kept by --keep top"
    assert not made.records

"""Whose a lease is, rule by rule of model §5 and §8.8; an owner that cannot be read keeps its leases."""

from pathlib import Path

import pytest
from tests.support.values import NOW, digest, lease

from drydock.model.leases import Holding, LeaseClass
from drydock.model.records import Container, Metadata, Sandbox
from drydock.model.roots import DockerContainer, Owners
from drydock.verdict.graph import Graph
from drydock.verdict.leases import classify

CONTAINER = b"c" * 64
RECORD = b"0123456789abcdefghijklmno"
FLAT = {b"containerd.io/gc.flat": b"2026-01-01T00:00:00Z"}
HOUR = 3600 * 10**9
CHANGED = {f"{kind}_changed": NOW for kind in ("containers", "images", "build_records", "build_history")}
OTHER = DockerContainer(b"d" * 64, b"other")
KNOWN = Owners({OTHER.id: OTHER}, frozenset(), frozenset(), frozenset(), **CHANGED)
MADE = NOW - HOUR


def _class(found, owners=KNOWN, **records):
    metadata = Metadata(b"/store/meta.db", 4)
    metadata.leases.append(found)
    for name, values in records.items():
        getattr(metadata, name).extend(values)
    return classify(found, Graph(metadata), owners, NOW)[0]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({b"containerd.io/gc.expire": b"2020-01-01T00:00:00Z"}, LeaseClass.EXPIRED),
        ({b"containerd.io/gc.expire": b"2020-01-01T00:00:00Z", b"moby/prune.images": b"true"}, LeaseClass.EXPIRED),
        ({b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z"}, LeaseClass.TEMPORARY),
        ({b"moby/prune.images": b"true"}, LeaseClass.TEMPORARY),
        ({b"moby.lease/temporary": b"x"}, LeaseClass.TEMPORARY),
        ({b"buildkit/lease.temporary": b"x", **FLAT}, LeaseClass.TEMPORARY),
        ({b"containerd.io/gc.expire": b"no time"}, LeaseClass.UNKNOWN),
        ({}, LeaseClass.UNKNOWN),
    ],
)
def test_labels_come_first(labels, expected):
    """An expiry or a mark of its maker decides; an expiry that does not parse is no expiry."""
    assert _class(lease(b"some-lease", labels)) is expected


def test_a_docker_container_owns_the_lease_of_its_id():
    """By the name of its folder; gone when the readable folder does not have it; kept when that is unreadable."""
    held = lease(CONTAINER, created=MADE)
    there = Owners({CONTAINER: DockerContainer(CONTAINER)}, frozenset(), frozenset(), frozenset(), **CHANGED)
    assert _class(held, there) is LeaseClass.CONTAINER
    assert _class(held) is LeaseClass.OWNERLESS
    assert _class(held, Owners()) is LeaseClass.UNKNOWN
    assert _class(lease(CONTAINER, namespace=b"moby-100000.100000", created=MADE)) is LeaseClass.OWNERLESS
    assert _class(lease(CONTAINER, namespace=b"default")) is LeaseClass.UNKNOWN


IMAGE_MOUNTS = [
    b"e" * 64,
    CONTAINER + b"-docker.io/library/tools:2",
    (CONTAINER + b",src=tools:2,dst=/tools").hex().encode(),
]
"""Of Docker 29.1.4 and later, of 28, and of 29.0."""


@pytest.mark.parametrize("name", IMAGE_MOUNTS)
def test_a_container_owns_the_leases_of_its_image_mounts(name):
    """By its configuration; where one of any container cannot be read, no lease of such a name is ownerless."""
    held = lease(name, created=MADE)
    container = DockerContainer(CONTAINER, b"web", mounts=frozenset((name,)))
    there = Owners({CONTAINER: container}, image_mounts={name: container}, **CHANGED)
    assert _class(held, there) is LeaseClass.CONTAINER
    assert classify(held, Graph(Metadata(b"/x", 4)), there, NOW)[2] == "container web"
    assert _class(held) is LeaseClass.OWNERLESS
    unread = Owners({OTHER.id: OTHER._replace(mounts_known=False)}, **CHANGED)
    for owners in (unread, Owners(), Owners(**CHANGED)):
        assert _class(held, owners) is LeaseClass.UNKNOWN
    assert _class(lease(name, namespace=b"default", created=MADE)) is LeaseClass.UNKNOWN


@pytest.mark.parametrize("name", IMAGE_MOUNTS[1:])
def test_an_older_image_mount_names_its_container(name):
    """The container's folder is there, whatever its configuration says of mounts."""
    held = lease(name, created=MADE)
    assert _class(held, Owners({CONTAINER: DockerContainer(CONTAINER)}, **CHANGED)) is LeaseClass.CONTAINER


KINDS = {
    "moby: a container": (CONTAINER, {}, b"moby", LeaseClass.CONTAINER),
    "moby: an image mount, 29.1.4 and later": (IMAGE_MOUNTS[0], {}, b"moby", LeaseClass.CONTAINER),
    "moby: an image mount, 28": (IMAGE_MOUNTS[1], {}, b"moby", LeaseClass.CONTAINER),
    "moby: an image mount, 29.0": (IMAGE_MOUNTS[2], {}, b"moby", LeaseClass.CONTAINER),
    "moby: a pull, a push, a load, a commit": (
        b"1-AbC_", {b"moby/prune.images": b"true", b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z"}, b"moby",
        LeaseClass.TEMPORARY,
    ),
    "moby: a pull of the classic store": (
        b"2-AbC_", {b"moby.lease/temporary": b"x", b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z"}, b"moby",
        LeaseClass.TEMPORARY,
    ),
    "moby: a migration to the image store": (
        b"3-AbC_", {b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z"}, b"moby", LeaseClass.TEMPORARY,
    ),
    "moby: what 24 to 27.3 left of a save": (b"4-AbC_", {}, b"moby", LeaseClass.OWNERLESS),
    "moby: an image of the classic store": (b"moby-image-" + digest(7), {}, b"moby", LeaseClass.IMAGE),
    "BuildKit: a cache record": (RECORD, FLAT, b"moby", LeaseClass.BUILD_CACHE),
    "BuildKit: its blobs in other compressions": (RECORD + b"-variants", {}, b"moby", LeaseClass.BUILD_CACHE),
    "BuildKit: a view of it": (
        RECORD + b"-view", {b"buildkit/lease.temporary": b"x", **FLAT}, b"moby", LeaseClass.TEMPORARY,
    ),
    "BuildKit: a build in the history": (b"ref_" + RECORD, {}, b"moby_history", LeaseClass.BUILD_HISTORY),
    "BuildKit: a migration of the history": (
        b"history_migration_" + RECORD, {b"buildkit/lease.temporary": b"x"}, b"moby_history", LeaseClass.TEMPORARY,
    ),
    "BuildKit of its own: a cache record": (RECORD, FLAT, b"buildkit", LeaseClass.UNKNOWN),
    "BuildKit of its own: a build": (b"ref_" + RECORD, {}, b"buildkit_history", LeaseClass.UNKNOWN),
    "CRI: a pod, and its image volumes": (b"f" * 64, {}, b"k8s.io", LeaseClass.CONTAINER),
    "CRI: a pod that is gone": (b"a" * 64, {}, b"k8s.io", LeaseClass.OWNERLESS),
    "nerdctl, ctr: a pull, a commit, a conversion": (
        b"5-AbC_", {b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z"}, b"default", LeaseClass.TEMPORARY,
    ),
    "ctr: images mount": (
        b"/mnt", {b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z"}, b"default", LeaseClass.TEMPORARY,
    ),
    "ctr: leases create": (b"mine", {}, b"default", LeaseClass.UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize(("name", "labels", "namespace", "expected"), KINDS.values(), ids=KINDS.keys())
def test_every_kind_of_lease_that_engines_make(name, labels, namespace, expected):
    """The table of docs/leases.md, row by row, on a host where each owner that a row names is there."""
    container = DockerContainer(CONTAINER, b"web", mounts=frozenset(IMAGE_MOUNTS))
    owners = Owners(
        {CONTAINER: container}, frozenset((digest(7),)), frozenset((RECORD,)), frozenset((RECORD,)),
        dict.fromkeys(IMAGE_MOUNTS, container), **CHANGED,
    )  # fmt: skip
    pod = Sandbox(b"k8s.io", b"f" * 64, b"", b"", {}, outside_v1=False)
    made = lease(name, labels, namespace=namespace, created=NOW - 48 * HOUR)
    assert _class(made, owners, sandboxes=[pod]) is expected


def test_the_documented_kinds_of_leases_are_those():
    """docs/leases.md has a row for each kind tried above, and no other."""
    text = (Path(__file__).parents[2] / "docs/leases.md").read_text()
    table = text.split("## Leases\n")[1].split("\n## ")[0]
    rows = {line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")}
    assert rows - {"made for", "---"} == set(KINDS)


def test_a_cri_sandbox_or_container_record_owns_the_lease_of_its_id():
    """In k8s.io the owner's records are in the same database."""
    held = lease(CONTAINER, namespace=b"k8s.io")
    assert _class(held, Owners()) is LeaseClass.OWNERLESS
    sandbox = Sandbox(b"k8s.io", CONTAINER, b"", b"", {}, outside_v1=False)
    assert _class(held, Owners(), sandboxes=[sandbox]) is LeaseClass.CONTAINER
    container = Container(b"k8s.io", CONTAINER, b"", b"", b"", b"", b"", {})
    assert _class(held, Owners(), containers=[container]) is LeaseClass.CONTAINER


@pytest.mark.parametrize("name", [RECORD, RECORD + b"-variants", RECORD + b"-view"])
def test_a_build_record_owns_its_leases(name):
    """The record's id, bare and with BuildKit's two suffixes."""
    held = lease(name, FLAT, created=MADE)
    assert _class(held, Owners(build_records=frozenset((RECORD,)))) is LeaseClass.BUILD_CACHE
    assert _class(held) is LeaseClass.OWNERLESS
    assert _class(held, Owners()) is LeaseClass.UNKNOWN


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        (RECORD, b"buildkit"), (RECORD + b"-view", b"k8s.io"), (b"ref_abc", b"buildkit_history"),
        (b"moby-image-" + digest(1), b"default"), (CONTAINER, b"plugins.moby"), (b"123456789-AbC_", b"plugins.moby"),
    ],
)  # fmt: skip
def test_only_leases_of_dockerd_are_looked_for_in_its_records(name, namespace):
    """A buildkitd of its own, and plugins: that dockerd does not know them says nothing of them."""
    labels = FLAT if name.startswith(RECORD) else {}
    assert _class(lease(name, labels, namespace=namespace, created=0)) is LeaseClass.UNKNOWN


def test_build_history_and_graphdriver_images():
    """Leases named after a build in a history namespace, and after an image of the graphdriver store."""
    held = lease(b"ref_abc", namespace=b"moby_history", created=MADE)
    assert _class(held, Owners(build_history=frozenset((b"abc",)))) is LeaseClass.BUILD_HISTORY
    assert _class(held) is LeaseClass.OWNERLESS
    assert _class(held, Owners()) is LeaseClass.UNKNOWN
    held = lease(b"moby-image-" + digest(7), created=MADE)
    assert _class(held, Owners(images=frozenset((digest(7),)))) is LeaseClass.IMAGE
    assert _class(held) is LeaseClass.OWNERLESS
    assert _class(held, Owners()) is LeaseClass.UNKNOWN


@pytest.mark.parametrize(
    ("name", "namespace", "kind"),
    [
        (CONTAINER, b"moby", "containers"), (RECORD + b"-view", b"moby", "build_records"),
        (b"ref_abc", b"moby_history", "build_history"), (b"moby-image-" + digest(7), b"moby", "images"),
    ],
)  # fmt: skip
def test_an_owner_is_gone_only_from_what_changed_since_the_lease_was_made(name, namespace, kind):
    """What lies at an unmounted disk's place is older than the leases; a lease without a date proves nothing."""
    sets = {
        "containers": KNOWN.containers,
        "images": frozenset(),
        "build_records": frozenset(),
        "build_history": frozenset(),
    }
    stale = Owners(**sets, **{**CHANGED, f"{kind}_changed": MADE - 1})
    held = lease(name, namespace=namespace, created=MADE)
    assert _class(held) is LeaseClass.OWNERLESS
    assert _class(held, stale) is LeaseClass.UNKNOWN
    assert _class(held, Owners(**sets)) is LeaseClass.UNKNOWN
    assert _class(lease(name, namespace=namespace)) is LeaseClass.UNKNOWN


def test_a_random_lease_of_dockerd_without_an_end_is_ownerless_after_a_day():
    """What docker save and some pulls left before 27.4; only in dockerd's namespaces, and only when it is old."""
    old, young = NOW - 25 * HOUR, NOW - 23 * HOUR
    assert _class(lease(b"305771601-pHvw", created=old)) is LeaseClass.OWNERLESS
    assert _class(lease(b"305771601-pHvw", created=young)) is LeaseClass.UNKNOWN
    assert _class(lease(b"305771601-pHvw")) is LeaseClass.UNKNOWN
    assert _class(lease(b"305771601-pHvw", created=old, namespace=b"default")) is LeaseClass.UNKNOWN
    assert _class(lease(b"305771601-pHvw", {b"mine": b"1"}, created=old)) is LeaseClass.UNKNOWN


def test_a_lease_is_called_by_its_id_or_with_its_namespace():
    """NAMESPACE/ID tells two leases of one id apart."""
    holding = Holding(lease(b"x").ref, LeaseClass.UNKNOWN, "", "", None, None, 0, 0)
    assert holding.is_called(b"x")
    assert holding.is_called(b"moby/x")
    assert not holding.is_called(b"default/x")

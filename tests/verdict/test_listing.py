"""The list of containers: where the files of each are."""

from tests.support.values import NOW, snapshot, store

from drydock.model.listings import ListKind
from drydock.model.oci import Documents
from drydock.model.records import Container
from drydock.model.roots import DockerContainer, Owners
from drydock.verdict.judge import judge
from drydock.verdict.listing import list_kind

ONE, TWO, THREE = (digit * 64 for digit in (b"a", b"b", b"c"))


def states(*records, owners=None):
    """The state of each container by its id, with its snapshotter."""
    rows = list_kind(ListKind.CONTAINERS, *judge(store(*records, owners=owners), NOW), Documents())
    return {row["id"].encode(): (row["state"], row["snapshotter"]) for row in rows}


def _record(namespace, key):
    """The record of a container without a snapshotter, as dockerd and ``ctr run --rootfs`` make it."""
    return Container(namespace, key, b"", b"", b"", b"", b"", {})


def test_a_container_without_a_snapshotter():
    """Of dockerd's the snapshot has its id, whatever became of its folder; another has its files elsewhere."""
    records = _record(b"moby", ONE), snapshot(ONE), _record(b"default", b"mine")
    assert states(*records) == {ONE: ("unreachable", "overlayfs"), b"mine": (None, "")}


def test_containers_of_each_of_dockers_stores():
    """One of the classic store is not missing; one of the image store is, where its snapshot is not there."""
    owners = Owners(
        {
            ONE: DockerContainer(ONE, driver=b"overlayfs"),
            TWO: DockerContainer(TWO, driver=b"overlay2", is_classic=True),
            THREE: DockerContainer(THREE, driver=b"overlay2"),
        }
    )
    expected = {ONE: ("missing", "overlayfs"), TWO: ("classic", "overlay2"), THREE: ("missing", "overlay2")}
    assert states(owners=owners) == expected
    assert states(_record(b"moby", TWO), owners=owners) == expected

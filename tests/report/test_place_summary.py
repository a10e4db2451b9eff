"""What a place is full of: the largest first, what frees it, and what Docker's own commands free."""

import pytest
from tests.support.scans import judged
from tests.support.values import FINGERPRINT, NS, blob, digest, image, lease, snapshot, store

from drydock.model.data import Backend, BlobFile, LayoutKind, Row, RowKind, SnapshotEntry
from drydock.model.disk_usage import PlaceUsage, UsageCategory, UsageEntry
from drydock.model.layer_store import ClassicImage, DirectoryKind, LayerDirectory, LayerLink, LayerRecord, LayerStore
from drydock.model.names import RawPath
from drydock.model.objects import ObjectKind
from drydock.model.roots import DockerContainer, Engine, Owners
from drydock.model.store_modes import StoreChoice, StoreMode
from drydock.report.place_summary import place_summaries

DATA, ROOT = RawPath(b"/data"), RawPath(b"/data/containerd/daemon")
MIB = 1 << 20
WEB, DB = b"a" * 64, b"b" * 64


def entry(category, path, size, name=b"", users=None):
    """An entry of the data root."""
    return UsageEntry(UsageCategory(category), name, RawPath(DATA + b"/" + path), size, used_by=users)


def summary(
    *entries,
    containers=(),
    engine=Engine.DOCKER,
    docker=(DATA,),
    records=(),
    files=(),
    backends=None,
    stores=(),
    layer_stores=(),
    complete=True,
    live=False,
):
    """What is said of a data root with these entries and records."""
    owners = Owners({each.id: each for each in containers}, containers_changed=1)
    read = store(*records, files=files, owners=owners, backends=backends, complete=complete)
    read.root = read.root._replace(path=ROOT, engine=engine, docker=docker)
    read.live = live
    read.layer_stores.extend(layer_stores)
    read.content.blobs = {
        of: BlobFile.of(of, FINGERPRINT, each.allocated * MIB) for of, each in read.content.blobs.items()
    }
    scan = judged(read)
    for found in scan.verdict.objects.others():
        if found.kind is not ObjectKind.BLOB:
            found.allocated = found.allocated * MIB
    scan.places = [PlaceUsage(DATA, entries, None)]
    scan.stores = list(stores)
    (found,) = place_summaries(scan)
    return found


def rows(found):
    """The rows by name."""
    return {row.name: (row.bytes // MIB, row.freed_by) for row in found.rows}


def prunes(found):
    """The commands, with what each does."""
    return {advice.words: advice.does for advice in found.prunes}


USAGE = (
    entry("named-volumes", b"volumes/pgdata", 180 * MIB, b"pgdata", (b"db",)),
    entry("anonymous-volumes", b"volumes/x", 11 * MIB, b"x", ()),
    entry("anonymous-volumes", b"volumes/y", 50 * MIB, b"y", (b"web",)),
    entry("anonymous-volumes", b"volumes/z", 60 * MIB, b"z"),
    entry("logs", b"containers/w", 43 * MIB, b"web"),
    entry("logs", b"containers/d", 7 * MIB, b"db"),
    entry("build-cache", b"buildkit/content", 5 * MIB, b"default"),
    entry("build-cache", b"volumes/b/_data/runc-overlayfs/content", 20 * MIB, b"mine0"),
    entry("buildkit", b"volumes/b/_data/cache.db", 2 * MIB, b"mine0"),
    entry("unknown", b"found", 30 * MIB, b"found"),
    entry("dockerd", b"volumes", MIB // 8, b"volumes"),
)
CONTAINERS = (DockerContainer(WEB, b"web", running=False), DockerContainer(DB, b"db", running=True))


def test_each_kind_says_what_frees_it():
    """The largest first: Docker's command, or what only a person decides."""
    found = summary(*USAGE, containers=CONTAINERS)
    assert rows(found) == {
        "volumes (4)": (301, "you: docker volume rm NAME"),
        "logs (2)": (50, "you: drydock clean --truncate-logs 10M"),
        "unknown (1)": (30, "you: drydock does not know what it is"),
        "BuildKit": (27, "docker buildx prune --builder NAME"),
        "other": (0, ""),
    }
    assert [row.bytes for row in found.rows] == sorted((row.bytes for row in found.rows), reverse=True)
    assert sum(row.bytes for row in found.rows) == sum(each.bytes for each in USAGE)


def test_docker_commands_say_what_they_free():
    """Of volumes those that no container mounts, of containers those that are stopped; of a builder by its name."""
    assert prunes(summary(*USAGE, containers=CONTAINERS)) == {
        "docker container prune": "43.0 MiB: what 1 stopped container wrote and logged",
        "docker buildx prune --builder mine": "up to 22.0 MiB: the cache of that builder",
        "docker volume prune": "11.0 MiB: 1 anonymous volume that no container mounts",
        "docker builder prune": "up to 5.0 MiB: build cache that no build uses",
    }
    assert prunes(summary(*USAGE, containers=CONTAINERS, docker=())) == {}


def test_a_volume_that_dockerd_does_not_see_mounted():
    """With containers of both image stores docker volume prune would take volumes that are needed: it is not there."""
    mixed = [each._replace(is_classic=each.name == b"web") for each in CONTAINERS]
    assert "docker volume prune" not in prunes(summary(*USAGE, containers=mixed))


def test_what_was_not_measured_is_no_amount():
    """The command is there all the same: it may be the one that frees most."""
    found = summary(*(each._replace(bytes=None) for each in USAGE), containers=CONTAINERS)
    assert prunes(found) == {"docker volume prune": "not measured: 1 anonymous volume that no container mounts"}
    assert found.rows == ()


def test_the_name_of_a_builder_is_no_shell():
    """A volume's folder can have any name."""
    hostile = entry("build-cache", b"volumes/b", 20 * MIB, b"$(reboot)0")
    assert prunes(summary(hostile, containers=CONTAINERS)) == {}


def test_objects_by_what_keeps_them():
    """Images; what a container wrote, but not the layers of its image; a lease alone; nothing. The rest is records."""
    backend = Backend(b"overlayfs", RawPath(b"io.containerd.snapshotter.v1.overlayfs"), LayoutKind.OVERLAY)
    for number, (key, kind) in enumerate(((b"layer", RowKind.COMMITTED), (WEB, RowKind.ACTIVE)), 1):
        name = NS + b"/1/" + key
        backend.rows[name] = Row(name, number, kind, NS + b"/1/layer" if number == 2 else b"", None, None, {})
        path = RawPath(backend.path + b"/snapshots/%d" % number)
        backend.entries.append(SnapshotEntry(b"%d" % number, path, number, FINGERPRINT, True, number * 10))
    pulled = lease(b"pull", {b"containerd.io/gc.expire": b"2120-01-01T00:00:00Z"}, blobs=[digest(2)])
    records = (image(digest(1)), *(blob(digest(number)) for number in (1, 2, 3)), pulled)
    snapshots = (snapshot(b"layer"), snapshot(WEB, b"layer"), lease(WEB, snapshots=[WEB]))
    found = summary(
        entry("content", b"containerd/daemon/content", (4096 * 3 + 31) * MIB),
        records=(*records, *snapshots),
        files=[digest(number) for number in (1, 2, 3)],
        backends={b"overlayfs": backend},
        containers=CONTAINERS,
    )
    assert rows(found) == {
        "images": (4096 + 10, "docker image prune -a"),
        "containers' files": (20, "docker container prune"),
        "held by leases": (4096, "drydock clean --end-leases temporary"),
        "unreferenced": (4096, "drydock clean"),
        "databases and records": (1, ""),
    }
    assert prunes(found)["docker container prune"] == "20.0 MiB: what 1 stopped container wrote and logged"


def test_images_in_use_are_no_amount_of_a_prune():
    """By the name that the container was created from, or by its image id; of other namespaces docker frees nothing."""

    def said(asked, container_image=None, name=b"docker.io/library/x:1", namespace=NS):
        records = (image(digest(1), name=name, namespace=namespace), blob(digest(1), namespace=namespace))
        made = DockerContainer(WEB, b"web", asked=asked, image=container_image)
        found = summary(entry("content", b"content", 4096 * MIB), records=records, files=[digest(1)], containers=[made])
        assert rows(found)["images"][0] == 4096
        return prunes(found).get("docker image prune -a")

    assert said(b"y") == "up to 4.0 GiB: images that no container uses"
    assert said(b"x:1") is said(b"docker.io/library/x:1@" + digest(9)) is None
    assert said(b"x", name=b"docker.io/library/x:latest") is None
    assert said(b"", digest(1), name=b"moby-dangling@" + digest(1)) is None
    assert said(b"y", namespace=b"k8s.io") is None


@pytest.mark.parametrize(("made_from", "size"), [(digest(1), None), (digest(2), 3 * MIB)])
def test_layers_of_a_classic_image_in_use_are_no_amount_of_a_prune(made_from, size):
    """A layer names one of the images that need it: another of them may be in use."""
    chain, where = digest(7), RawPath(b"/data/image/overlay2/layerdb/sha256/7")
    layers = LayerStore(DATA)
    for number in (3, 1):
        layers.images[digest(number)] = ClassicImage(digest(number), where, 1, (), (chain,), (chain,), None, b"")
    layers.layers[chain] = LayerRecord(chain, where, FINGERPRINT, 1, b"c" * 64, None, None, None, has_tar_split=True)
    layers.directories[b"c" * 64] = LayerDirectory(
        b"c" * 64, where, DirectoryKind.LAYER, FINGERPRINT, True, b"L", (), True, True, 2
    )
    layers.links[b"L"] = LayerLink(b"L", where, FINGERPRINT, b"c" * 64)
    made = DockerContainer(WEB, b"web", image=made_from, is_classic=True)
    found = summary(containers=[made], layer_stores=[layers])

    expected = None if size is None else "up to 3.0 MiB: images that no container uses"
    assert prunes(found).get("docker image prune -a") == expected


@pytest.mark.parametrize(("complete", "name"), [(True, "unreferenced"), (False, "perhaps unreferenced")])
def test_data_is_unreferenced_only_if_all_records_are_known(complete, name):
    """A record that could not be read may name it."""
    found = summary(entry("content", b"content", 4096 * MIB), files=[digest(1)], complete=complete)
    assert name in rows(found)


def test_new_data_beside_an_engine_is_not_called_a_record():
    """Layers that dockerd unpacks at the moment are measured, and are no objects yet."""
    layers = entry("content", b"containerd/daemon/content", 4096 * MIB)
    assert rows(summary(layers)) == {"databases and records": (4096, "")}
    assert rows(summary(layers, live=True)) == {"databases, records, new data": (4096, "")}


@pytest.mark.parametrize(
    ("engine", "namespaces", "words"),
    [
        (Engine.K3S, [b"k8s.io"], "crictl rmi --prune"),
        (Engine.CONTAINERD, [b"default"], "nerdctl image prune --all"),
        (Engine.CONTAINERD, [b"default", b"other"], "nerdctl image prune --all"),
        (Engine.CONTAINERD, [b"my ns"], "nerdctl --namespace 'my ns' image prune --all"),
        # The containerd of Docker, without its data root: as with drydock scan /var/lib/containerd.
        (Engine.CONTAINERD, [b"moby"], "docker image prune -a"),
    ],
)
def test_images_of_a_root_without_a_data_root(engine, namespaces, words):
    """On a node of Kubernetes crictl, else the program whose namespace has the images."""
    found = summary(
        entry("content", b"content", 4096 * MIB),
        records=[made for each in namespaces for made in
                 (image(digest(1), namespace=each), blob(digest(1), namespace=each))],
        files=[digest(1)],
        engine=engine,
        docker=(),
    )  # fmt: skip
    assert rows(found) == {"images": (4096, words)}
    assert found.prunes == ()


@pytest.mark.parametrize("used", [StoreMode.IMAGE_STORE, StoreMode.CLASSIC, None])
def test_the_store_that_dockerd_does_not_use(used):
    """Its images go with the store, and are in no amount of a prune; where it is not known, they are plain images."""
    choice = StoreChoice(DATA, used, "", used, "")
    found = summary(
        entry("content", b"content", 4096 * MIB),
        records=(image(digest(1)), blob(digest(1))),
        files=[digest(1)],
        stores=[choice],
    )
    idle = used is StoreMode.CLASSIC
    plain = {"images": (4096, "docker image prune -a")}
    dropped = {"idle store: images": (4096, "drydock clean --drop-store image-store")}
    assert rows(found) == (dropped if idle else plain)
    assert ("docker image prune -a" in prunes(found)) is not idle


def test_many_rows_are_cut():
    """The smallest have one row together, so that the largest are on the first screen."""
    found = summary(*(entry(each.value, b"x", (number + 1) * MIB, b"x") for number, each in enumerate(UsageCategory)))
    assert len(found.rows) == 7
    assert found.rows[-1].name.startswith("6 smaller: ")
    assert sum(row.bytes for row in found.rows) == sum(range(1, len(UsageCategory) + 1)) * MIB

"""What a word means among records that were made by hand."""

import pytest
from tests.support.values import NOW, digest, image, snapshot, store

from drydock.model.data import Backend, LayoutKind, Row, RowKind
from drydock.model.errors import Usage
from drydock.model.names import RawPath
from drydock.model.records import Container
from drydock.model.roots import DockerContainer, Owners
from drydock.verdict.choose import choose_container, choose_image
from drydock.verdict.judge import judge

ID = b"5577e71f25b4" + b"0" * 52


def judged(*records, files=(), rows=(), docker=None):
    """The verdict on a store of these; rows are names."""
    backend = Backend(b"overlayfs", RawPath(b"io.containerd.snapshotter.v1.overlayfs"), LayoutKind.OVERLAY)
    backend.rows = {
        name: Row(name, number, RowKind.ACTIVE, b"", None, None, {}) for number, name in enumerate(rows, start=1)
    }
    owners = Owners(containers={each.id: each for each in docker or ()})
    read = store(*records, files=files, owners=owners, backends={b"overlayfs": backend})
    return judge(read, NOW)[0]


def test_an_image_in_two_namespaces():
    """The same image under one name is one image; two images need a namespace to be told apart."""
    same = judged(image(digest(1)), image(digest(1), namespace=b"ci"))
    assert choose_image(same, b"x:1").target == digest(1)
    two = judged(image(digest(1)), image(digest(2), namespace=b"ci"))
    with pytest.raises(Usage, match=r"ci/docker\.io/library/x:1, moby/docker\.io/library/x:1"):
        choose_image(two, b"x:1")
    assert choose_image(two, b"x:1", b"ci").target == digest(2)
    assert choose_image(two, b"x:1", b"other") is None


def test_the_id_under_which_cri_records_an_image():
    """It means the image with all its names, as the digest of its manifest does."""
    id_ = digest(7)
    verdict = judged(image(digest(1)), image(digest(1), name=id_), image(digest(2), name=b"docker.io/library/y:1"))
    for word in (id_, digest(1)):
        chosen = choose_image(verdict, word)
        assert (chosen.target, set(chosen.names)) == (digest(1), {b"docker.io/library/x:1", id_})


def test_an_image_that_lost_its_names():
    """A digest of a blob that no image has is taken by the whole of it, or by a beginning of four letters."""
    verdict = judged(image(digest(1)), files=[digest(1), digest(0xABCDEF << 232)])
    lost = digest(0xABCDEF << 232)
    for word in (lost, lost.partition(b":")[2], lost.partition(b":")[2][:20]):
        chosen = choose_image(verdict, word)
        assert (chosen.target, chosen.names) == (lost, ())
    assert choose_image(verdict, lost.partition(b":")[2][:3]) is None
    assert choose_image(verdict, b"") is None


def test_a_whole_name_is_not_a_beginning():
    """A container that is called as another's name begins is meant itself."""
    records = [Container(b"moby", name, b"", b"overlayfs", name, b"", b"", {}) for name in (b"web", b"web2")]
    snapshots = [snapshot(name) for name in (b"web", b"web2")]
    verdict = judged(*records, *snapshots, rows=[b"moby/1/web", b"moby/1/web2"])
    assert choose_container(verdict, b"web").row == b"moby/1/web"
    with pytest.raises(Usage):
        choose_container(verdict, b"we")


def test_dockers_containers():
    """By name, id or beginning; the snapshot of the same id is its file system, and -init's is not meant."""
    owner = DockerContainer(ID, b"web", b"overlayfs")
    records = [snapshot(ID, ID + b"-init"), snapshot(ID + b"-init")]
    rows = [b"moby/1/" + ID, b"moby/1/" + ID + b"-init"]
    verdict = judged(*records, rows=rows, docker=[owner])
    for word in (b"web", ID, ID[:12], ID[:1]):
        assert choose_container(verdict, word).row == b"moby/1/" + ID
    assert choose_container(verdict, ID + b"-init").row == b"moby/1/" + ID + b"-init"
    # One that runs has a record, and that names no snapshot.
    running = Container(b"moby", ID, b"", b"", b"", b"", b"", {})
    verdict = judged(running, *records, rows=rows, docker=[owner])
    assert choose_container(verdict, b"web").row == b"moby/1/" + ID
    # Without its snapshot, it is known and has nothing.
    verdict = judged(docker=[owner])
    assert choose_container(verdict, b"web").row is None


def test_a_running_container_of_a_graph_driver():
    """It is one container, with a record and without a snapshot, and its driver is dockerd's."""
    owner = DockerContainer(ID, b"web", b"overlay2")
    running = Container(b"moby", ID, b"", b"", b"", b"", b"", {})
    verdict = judged(running, docker=[owner])
    for word in (b"web", ID, ID[:12]):
        chosen = choose_container(verdict, word)
        assert (chosen.namespace, chosen.snapshotter, chosen.row) == (b"moby", b"overlay2", None)


def test_rows_without_records():
    """Where no record names a row, its own name tells namespace and key."""
    verdict = judged(rows=[b"moby/7/" + ID])
    chosen = choose_container(verdict, ID)
    assert (chosen.namespace, chosen.snapshotter, chosen.row) == (b"moby", b"overlayfs", b"moby/7/" + ID)

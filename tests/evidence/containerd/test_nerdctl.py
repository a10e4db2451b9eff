"""What nerdctl keeps of a container is found by a label that is not trusted."""

import os

import pytest

from drydock.evidence.containerd.nerdctl import data_roots, read_nerdctl
from drydock.evidence.files.sizes import Measure
from drydock.model.names import RawPath
from drydock.model.records import Container
from drydock.model.roots import Engine, Root

ID = b"1" * 64
OTHER = b"2" * 64
STORE = b"0123abcd"
LABEL = b"/elsewhere/nerdctl/" + STORE + b"/containers/default/" + ID


@pytest.fixture
def host(tmp_path):
    """A host with nerdctl's data root beside containerd's, and one container."""
    lib = tmp_path / "var/lib"
    (lib / "containerd").mkdir(parents=True)
    at = lib / "nerdctl" / STORE.decode()
    for kind in ("containers", "etchosts"):
        (at / kind / "default" / ID.decode()).mkdir(parents=True)
    (at / "names/default").mkdir(parents=True)
    (at / "names/default/web").write_bytes(ID)
    return tmp_path


def root(host):
    """The containerd root of the host."""
    return Root(RawPath(os.fsencode(host / "var/lib/containerd")), Engine.CONTAINERD, RawPath(os.fsencode(host)))


def found(host, label=LABEL, name=b"web", space=b"default", **labels):
    """What is read of a record with these labels."""
    more = {b"nerdctl/" + key.encode(): value for key, value in labels.items()}
    its = {b"nerdctl/name": name, b"nerdctl/state-dir": label, **more}
    record = Container(space, ID, b"x:1", b"overlayfs", ID, b"", b"runc", its)
    return read_nerdctl(root(host), [record], Measure())[space, ID]


def test_its_folders_and_its_name_are_found(host):
    """Wherever the host was shown when nerdctl wrote the label; one data root that is found twice counts once."""
    assert data_roots(root(host)) == (os.fsencode(host / "var/lib/nerdctl"),)
    read = found(host)
    assert read.doubt is None
    kinds = [each.path for each in read.folders]
    assert kinds == [STORE + b"/" + kind + b"/default/" + ID for kind in (b"etchosts", b"containers")]
    assert read.name is not None
    assert read.name.path == STORE + b"/names/default/web"


@pytest.mark.parametrize(
    "changed",
    [
        {"label": b""},
        {"label": LABEL.replace(ID, OTHER)},
        {"label": LABEL.replace(b"default", b"other")},
        {"label": LABEL.replace(b"default", b"..")},
        {"label": LABEL.replace(STORE, b"..")},
        {"label": LABEL.replace(STORE, b"ffffffff")},
        {"label": LABEL + b"/.."},
        {"label": LABEL.replace(b"/containers/", b"/names/")},
        {"name": b"../web"},
        {"name": b"a/b"},
        {"label": LABEL.replace(b"default", b".."), "space": b".."},
        {"healthcheck": b"{}"},
    ],
)
def test_another_form_gives_nothing(changed, host):
    """A label, a name or a namespace that nerdctl does not write, and a container that needs nerdctl rm."""
    read = found(host, **changed)
    assert read.doubt
    assert (read.name, read.folders) == (None, ())


def test_a_name_of_another_container_is_left(host):
    """As nerdctl rm leaves it."""
    (host / "var/lib/nerdctl" / STORE.decode() / "names/default/web").write_bytes(OTHER)
    assert (found(host).name, found(host).doubt) == (None, None)


def test_a_data_root_that_is_a_link_is_none(host):
    """The container then has no state folder."""
    (host / "var/lib/nerdctl").rename(host / "moved")
    (host / "var/lib/nerdctl").symlink_to(host / "moved")
    assert data_roots(root(host)) == ()
    assert found(host).doubt

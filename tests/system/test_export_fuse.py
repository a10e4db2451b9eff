"""A store whose snapshotter is fuse-overlayfs: its containers come out as a real mount by fuse-overlayfs shows them."""

import subprocess

import pytest
from tests.support.captures import capture
from tests.support.documents import run
from tests.support.mounted import facts, mount, need_fuse, unpack_tar
from tests.support.records import folders, values

pytestmark = pytest.mark.root

SNAPSHOTTER = "io.containerd.snapshotter.v1."


@pytest.fixture
def host(unpacked_anew):
    """A capture of containerd whose overlayfs folder is called fuse-overlayfs: the layout of both is the same.

    Half of its meta.db is lost, so containers are found by the names of rows.
    """
    need_fuse()
    of = capture("containerd-1.6-truncated-metadb")
    made = unpacked_anew(of)
    root = made / of.root
    (root / f"{SNAPSHOTTER}overlayfs").rename(root / f"{SNAPSHOTTER}fuse-overlayfs")
    return made, root / f"{SNAPSHOTTER}fuse-overlayfs"


def _layers(folder, key):
    """The layers of a container, uppermost first, by Go's reading of metadata.db."""
    rows, places = values(folder / "metadata.db"), folders(folder / "metadata.db")
    [name] = [row for row in places if row.endswith(b"/" + key)]
    found = []
    while name:
        found.append(folder / places[name] / "fs")
        name = rows.get((b"v1", b"snapshots", name, b"parent"), b"")
    return found


def test_a_container_of_fuse_overlayfs(host, tmp_path):
    """Deleted, replaced and made opaque by fuse-overlayfs with marks that are files: exported, and listed by diff."""
    where, folder = host
    layers = _layers(folder, b"ran")
    assert len(layers) > 1
    point = tmp_path / "point"
    point.mkdir()
    options = f"lowerdir={':'.join(map(str, layers[1:]))},upperdir={layers[0]},workdir={layers[0].parent / 'work'}"
    script = (
        f"export FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT=1; fuse-overlayfs -o '{options}' '{point}' && cd '{point}' && "
        "rm bin/busybox && rm -r tmp && mkdir tmp && echo new >tmp/new && echo x >made && cd / && umount " + str(point)
    )
    subprocess.run(["unshare", "-m", "bash", "-c", script], check=True)
    assert (layers[0] / "bin/.wh.busybox").is_file()
    archive = tmp_path / "out.tar"
    run("export", "container", "ran", where, "-o", archive, status=0)
    unpack_tar(archive, tmp_path / "out")
    with mount(f"lowerdir={':'.join(map(str, layers))}", tmp_path, "fuse.fuse-overlayfs") as shown:
        assert facts(tmp_path / "out") == facts(shown)
    changes = run("diff", "container", "ran", where, status=0).splitlines()
    assert {"D /bin/busybox", "C /bin", "A /tmp/new", "A /made"} <= set(changes)
    assert not [line for line in changes if ".wh." in line]

"""``export volume``: GNU tar finds no difference; what is elsewhere is refused, and no mount is entered."""

import os
import stat
import subprocess

import pytest
from tests.support.captures import capture
from tests.support.data_roots import add_volume, write_volume_rows
from tests.support.documents import run
from tests.support.exported import fill
from tests.support.mounted import facts, unpack_tar
from tests.support.program import DRYDOCK

import drydock

pytestmark = pytest.mark.root

OF = capture("docker-28.5-killed")
HEX = "c0ffee" + "0" * 58


@pytest.fixture
def host(unpacked_anew):
    """A host with volumes."""
    made = unpacked_anew(OF)
    data = made / OF.docker
    (data / "volumes/metadata.db").unlink()
    fill(add_volume(data, "pgdata"))
    add_volume(data, HEX)
    add_volume(data, "far", options={"MountType": "nfs", "MountDevice": ":/export", "MountOpts": "password=secret"})
    write_volume_rows(data, {"pgdata": ("local", None), "far": ("local", None), "remote": ("rclone", None)})
    return made


def inside(host, name="pgdata"):
    """The data folder of a volume."""
    return host / OF.docker / "volumes" / name / "_data"


def export(host, name, *, status=0):
    """Export a volume, and give the archive."""
    archive = host / f"{name}.tar"
    run("export", "volume", name, host, "-o", archive, status=status)
    return archive


def test_gnu_tar_finds_no_difference(host, tmp_path):
    """Every kind of entry, as tar compares it, and as it is after unpacking: attributes, links and holes too."""
    top = inside(host)
    # Marks of a layer mean nothing in a volume.
    os.mknod(top / "whiteout", stat.S_IFCHR, os.makedev(0, 0))
    os.setxattr(top / "kept", "trusted.overlay.opaque", b"y")
    before = facts(top)
    archive = export(host, "pgdata")
    compared = subprocess.run(
        ["tar", "--compare", "--numeric-owner", "-f", archive, "-C", top], capture_output=True, text=True, check=False
    )
    assert (compared.returncode, compared.stdout) == (0, ""), compared.stderr
    unpack_tar(archive, tmp_path / "out")
    assert facts(tmp_path / "out") == before == facts(top)
    assert (tmp_path / "out/sparse").stat().st_blocks <= (top / "sparse").stat().st_blocks
    assert (
        len(before[0])
        == len(subprocess.run(["tar", "-tf", archive], capture_output=True, check=True).stdout.split(b"\n")) - 1
    )


def test_the_beginning_of_an_anonymous_name(host):
    """As docker takes it; the library takes the same."""
    export(host, "c0ffee")
    done = drydock.export_volume("c0ffee", host, output=host / "again.tar")
    assert (host / "again.tar").read_bytes() == (host / "c0ffee.tar").read_bytes()
    assert (done.what, done.count) == (HEX, 2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("far", "its data is mounted from nfs :/export"),
        ("remote", "its driver is rclone"),
        ("pgdta", "did you mean pgdata"),
    ],
)
def test_what_is_not_here_is_refused(host, name, reason):
    """No file, the reason, and no password."""
    with pytest.raises(drydock.EvidenceUnreadable, match=reason) as refused:
        drydock.export_volume(name, host, output=host / "x.tar")
    assert "secret" not in str(refused.value)
    assert not (host / "x.tar").exists()
    export(host, name, status=8)


def test_a_link_in_the_place_of_the_data(host, tmp_path):
    """It is not followed."""
    top = inside(host)
    top.rename(tmp_path / "moved")
    top.symlink_to("/etc")
    with pytest.raises(drydock.EvidenceUnreadable, match="symbolic link"):
        drydock.export_volume("pgdata", host, output=host / "x.tar")


def test_mounts_are_not_entered(host):
    """One below the volume is named, with status 2; one in the place of its data is refused."""
    top = inside(host, HEX)
    (top / "below").mkdir()
    for place, status in ((top / "below", 2), (top, 8)):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
        try:
            (place / "foreign").touch()
            archive = host / f"{HEX}.tar"
            said = subprocess.run(
                [*DRYDOCK, "export", "volume", HEX, host, "-o", archive], capture_output=True, text=True, check=False
            )
            assert said.returncode == status, said.stderr
            assert ("below" if status == 2 else "mounted") in said.stderr
            if status == 2:
                assert b"foreign" not in archive.read_bytes()
                archive.unlink()
        finally:
            subprocess.run(["umount", place], check=True)

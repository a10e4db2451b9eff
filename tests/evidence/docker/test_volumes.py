"""Volumes: folders, rows of their database, and who mounts each."""

from __future__ import annotations

import pytest
from tests.support import boltwriter
from tests.support.data_roots import add_container, add_volume, container_id, write_volume_rows

from drydock.evidence.docker.containers import read_containers
from drydock.evidence.docker.volumes import note_volume_options, read_volumes
from drydock.model.names import RawPath
from drydock.model.roots import Owners

HEX, OLD = "c" * 64, "d" * 64


def read(data):
    """The volumes of a data root by name, and what could not be read."""
    path = RawPath(bytes(data))
    owners = Owners()
    owners.containers, _ = read_containers(path, owners.findings)
    volumes = read_volumes(path, owners)
    return {each.name.decode(): each for each in volumes.found}, volumes.unread


def test_what_each_volume_is(tmp_path):
    """Named, anonymous by its label or its name, mounted from elsewhere, of a plugin, without a row."""
    for name in ("pgdata", HEX, OLD, "loose"):
        add_volume(tmp_path, name)
    add_volume(tmp_path, "far", options={
        "MountType": "cifs", "MountOpts": "user=me,password=secret", "MountDevice": "//me:secret@host/share",
    })  # fmt: skip
    write_volume_rows(tmp_path, {
        "pgdata": ("local", {"keep": "yes"}), HEX: ("local", {"com.docker.volume.anonymous": ""}),
        OLD: ("local", None), "far": ("local", None), "remote": ("rclone", None), "lost": ("local", None),
    })  # fmt: skip
    add_container(tmp_path, 1, "db", mounts=[("pgdata", "/data"), ("remote", "/far")])
    found, unread = read(tmp_path)
    assert {name for name, each in found.items() if each.is_anonymous} == {HEX, OLD}
    assert found["pgdata"].users[0][:] == (container_id(1).encode(), b"db", b"/data")
    assert found["remote"].users[0].target == b"/far"
    assert found[HEX].users == ()
    assert found["pgdata"].created == (tmp_path / "volumes/pgdata").stat().st_ctime_ns
    assert {name for name, each in found.items() if each.is_mounted} == {"far", "remote", "lost"}
    assert found["far"].device == "cifs host/share"
    assert "secret" not in repr(found)
    assert [name for name, each in found.items() if not each.has_row] == ["loose"]
    assert found["lost"].note == "its folder is missing"
    assert not unread


def test_a_container_that_cannot_be_read_may_mount_any(tmp_path):
    """Then nobody is known to mount a volume."""
    add_volume(tmp_path, "pgdata")
    add_container(tmp_path, 1, "db", mounts=[("pgdata", "/data")])
    (add_container(tmp_path, 2, "web") / "config.v2.json").write_text("{")
    found, unread = read(tmp_path)
    assert found["pgdata"].users is None
    assert any(container_id(2) in each for each in unread)


def test_a_damaged_database_of_volumes(tmp_path):
    """The folders are volumes all the same; whether they are anonymous is not known."""
    add_volume(tmp_path, "pgdata")
    (tmp_path / "volumes/metadata.db").write_bytes(b"x" * 32768)
    found, unread = read(tmp_path)
    assert found["pgdata"].is_anonymous is None
    assert any("metadata.db" in each for each in unread)


def test_rows_that_dockerd_does_not_write(tmp_path):
    """No JSON, no driver, no labels: the volume is listed, and of the driver local if it has a folder."""
    names = (b"empty", b"text", b"list", b"driver", b"labels")
    for name in names[:3]:
        add_volume(tmp_path, name)
    boltwriter.write(tmp_path / "volumes/metadata.db", {b"volumes": {
        b"empty": b"", b"text": b"{", b"list": b"[1]", b"driver": b'{"Driver": 5}',
        b"labels": b'{"Driver": "far", "Labels": ["com.docker.volume.anonymous"]}',
    }})  # fmt: skip
    found, unread = read(tmp_path)
    assert {name: each.driver for name, each in found.items()} == {
        "empty": b"local", "text": b"local", "list": b"local", "driver": None, "labels": b"far",
    }  # fmt: skip
    assert not any(each.is_anonymous for each in found.values())
    assert not unread


@pytest.mark.parametrize(
    ("text", "is_damage"),
    [
        ("", True), ("{", True), ("[1]", True), ("5", True), ('{"MountType": 5}', True), ("[" * 100_000, True),
        ("null", False), ("{}", False), ('{"MountType": null, "Quota": {"Size": 5}}', False),
    ],
)  # fmt: skip
def test_options_that_dockerd_cannot_decode(tmp_path, text, is_damage):
    """A finding and a note say that dockerd does not start on them."""
    options = add_volume(tmp_path, "pgdata").parent / "opts.json"
    options.write_text(text)
    note = read(tmp_path)[0]["pgdata"].note
    found = list(note_volume_options(RawPath(bytes(tmp_path))))
    assert [each.place.file.decode() for each in found] == [str(options)] * is_damage
    assert ("dockerd does not start" in note) is is_damage

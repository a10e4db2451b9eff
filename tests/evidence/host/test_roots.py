"""Discovery of containerd roots, on trees built for each test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tests.support.privilege import needs_root

from drydock.evidence.host.roots import discover
from drydock.model.errors import EvidenceUnreadable
from drydock.model.findings import Severity
from drydock.model.names import RawPath
from drydock.model.roots import Engine, Root


def make_root(path: Path, part: str = "io.containerd.metadata.v1.bolt") -> Path:
    """A folder that is a containerd root by one of its parts."""
    (path / part).mkdir(parents=True)
    return path


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The root of a mounted host that has no store yet."""
    top = tmp_path / "host"
    (top / "etc").mkdir(parents=True)
    (top / "var/lib").mkdir(parents=True)
    return top


def found(where: Path | bytes) -> list[Root]:
    """What discovery finds there."""
    return discover(RawPath(os.fsencode(where)))


def by_path(where: Path) -> dict[str, Root]:
    """What discovery finds there, by path relative to it."""
    return {os.path.relpath(os.fsdecode(root.path), where): root for root in found(where)}


def test_empty_host(host):
    """A host without any store gives no root and no error."""
    assert found(host) == []


@pytest.mark.parametrize(
    ("place", "engine"),
    [
        ("var/lib/docker/containerd/daemon", Engine.DOCKER),
        ("var/lib/docker/containerd", Engine.DOCKER),
        ("var/snap/docker/common/var-lib-docker/containerd/daemon", Engine.DOCKER),
        ("var/lib/containerd", Engine.CONTAINERD),
        ("var/lib/rancher/k3s/agent/containerd", Engine.K3S),
        ("var/lib/rancher/rke2/agent/containerd", Engine.RKE2),
        ("var/snap/microk8s/common/var/lib/containerd", Engine.MICROK8S),
        ("var/lib/k0s/containerd", Engine.K0S),
        ("var/lib/docker/volumes/abc/_data/lib/containerd", Engine.KIND),
        ("var/lib/docker/volumes/abc/_data/agent/containerd", Engine.K3S),
        ("var/lib/docker/volumes/abc/_data/containerd/daemon", Engine.DOCKER),
    ],
)
def test_places(host, place, engine):
    """Every default place is found from the host's root and, given directly, is the same root."""
    path = make_root(host / place)
    assert {name: root.engine for name, root in by_path(host).items()} == {place: engine}
    assert found(path) == found(host)


def test_rootless_places(host):
    """Homes come from passwd and from /home; a store that another user owns is not taken for the user's."""
    (host / "etc/passwd").write_text(
        f"ann:x:{os.getuid()}:1::/srv/ann:/bin/sh\nbob:x:4242:1::/srv/bob:/bin/sh\nbroken\n"
    )
    make_root(host / "srv/ann/.local/share/docker/containerd/daemon")
    make_root(host / "srv/bob/.local/share/containerd")
    make_root(host / "home/eve/.local/share/containerd")
    assert {name: root.engine for name, root in by_path(host).items()} == {
        "srv/ann/.local/share/docker/containerd/daemon": Engine.ROOTLESS,
        "home/eve/.local/share/containerd": Engine.ROOTLESS,
    }


def test_root_without_databases(host):
    """A folder with content alone is a root: data that no record names has to be seen."""
    make_root(host / "var/lib/containerd", "io.containerd.content.v1.content")
    assert list(by_path(host)) == ["var/lib/containerd"]


def test_owners_of_docker_roots(host):
    """System and managed containerd share their owners, remapped data roots included; a bare parent is no owner."""
    make_root(host / "var/lib/docker/containerd/daemon")
    make_root(host / "var/lib/containerd")
    (host / "var/lib/docker/100000.100000/containers").mkdir(parents=True)
    (host / "data/docker/containers").mkdir(parents=True)
    (host / "etc/docker").mkdir()
    (host / "etc/docker/daemon.json").write_text(json.dumps({"data-root": "/data/docker"}))
    owners = {os.fsencode(host / "var/lib/docker/100000.100000"), os.fsencode(host / "data/docker")}
    roots = by_path(host)
    assert set(roots) == {"var/lib/docker/containerd/daemon", "var/lib/containerd"}
    assert all(set(root.docker) == owners and root.docker_known for root in roots.values())
    assert roots["var/lib/containerd"].host == os.fsencode(host)
    assert roots["var/lib/containerd"].states == (os.fsencode(host / "run/containerd"),)
    assert roots["var/lib/docker/containerd/daemon"].states == (os.fsencode(host / "var/run/docker/containerd/daemon"),)


def test_a_link_in_the_place_of_a_remapped_data_root(host):
    """Dockerd follows it, so its containers may own leases: not all owners are known, whichever way it is reached."""
    data = host / "var/lib/docker"
    make_root(data / "containerd/daemon")
    (data / "containers").mkdir()
    (data / "100000.100000").symlink_to(host / "srv")
    (root,) = by_path(host).values()
    assert not root.docker_known
    assert [finding.code for finding in root.findings] == ["config-unreadable"]
    (host / "etc").rmdir()
    for where in (data, data / "containerd/daemon"):
        assert [root.docker_known for root in found(where)] == [False]
    (data / "100000.100000").unlink()
    (data / "100000.100000").write_bytes(b"")
    assert [root.docker_known for root in found(data)] == [True]


def test_data_root_in_a_unit(host):
    """A --data-root that only a systemd drop-in sets is found: its containers own leases."""
    make_root(host / "srv/d/containerd/daemon")
    (host / "srv/d/containers").mkdir()
    drop_in = host / "etc/systemd/system/docker.service.d"
    drop_in.mkdir(parents=True)
    (drop_in / "a.conf").write_text(
        "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H fd:// \\\n --data-root=/srv/d\n"
    )
    assert by_path(host)["srv/d/containerd/daemon"].docker == (os.fsencode(host / "srv/d"),)


@pytest.mark.parametrize(
    ("file", "text", "place"),
    [
        ("etc/default/docker", 'DOCKER_OPTS="--dns 8.8.8.8 -g /srv/d"', "srv/d/containerd/daemon"),
        ("etc/systemd/system/a.service", "ExecStart=/opt/containerd --root /srv/c", "srv/c"),
        ("etc/systemd/system/a.service", "ExecStart=/opt/containerd -c '/opt/c.toml'\n", "srv/t"),
        ("etc/systemd/system/a.service", "ExecStart=dockerd $O\nEnvironmentFile=-/opt/env", "srv/e/containerd/daemon"),
        ("etc/rancher/k3s/config.yaml", 'token: x\ndata-dir: "/srv/k3s"\n', "srv/k3s/agent/containerd"),
        ("etc/rancher/k3s/config.yaml.d/a.yaml", "data-dir: /srv/k3s\n", "srv/k3s/agent/containerd"),
        ("etc/rancher/rke2/config.yaml.d/b.YML", "data-dir: /srv/k3s\n", "srv/k3s/agent/containerd"),
        ("etc/rancher/k3s/config.yaml.d/a.json", "data-dir: /srv/k3s\n", None),
        ("etc/systemd/system/k3s.service", "EnvironmentFile=/opt/env2\n# k3s", "srv/k3s/agent/containerd"),
        ("etc/systemd/system/a.service", "ExecStart=/opt/other --root /srv/c", None),
    ],
)
def test_flags(host, file, text, place):
    """Units, option files, the files they include, and k3s' settings name roots; other programs' units do not."""
    for each in ("srv/d/containerd/daemon", "srv/c", "srv/t", "srv/e/containerd/daemon", "srv/k3s/agent/containerd"):
        make_root(host / each)
    (host / "opt").mkdir()
    (host / "opt/c.toml").write_text('root = "/srv/t"\n')
    (host / "opt/env").write_text("OPTS=--data-root=/srv/e\nEnvironmentFile=/opt/env\n")
    (host / "opt/env2").write_text("K3S_DATA_DIR=/srv/k3s\n")
    (host / file).parent.mkdir(parents=True)
    (host / file).write_text(text)
    assert list(by_path(host)) == ([place] if place else [])


@pytest.mark.parametrize(
    "text", ["ExecStart=/usr/bin/dockerd --data-root ${WHERE}", "# dockerd --data-root=/x\nOther=1"]
)
def test_data_root_known_at_run_time(host, text):
    """A data root that cannot be known makes the owners unknown; one in a comment does not."""
    make_root(host / "var/lib/containerd")
    (host / "etc/systemd/system").mkdir(parents=True)
    (host / "etc/systemd/system/docker.service").write_text(text)
    assert by_path(host)["var/lib/containerd"].docker_known is ("#" in text)


DOCKER = "etc/systemd/system/docker.service"
_VARIABLE = "DOCKER_CONTAINERD_ROOT=/srv/cd"
_DOCKERD = "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (DOCKER, f"{_DOCKERD}Environment={_VARIABLE}\n"),
        (DOCKER, f'{_DOCKERD}Environment="A=1" "{_VARIABLE}"\n'),
        (f"{DOCKER}.d/moved.conf", f"[Service]\nEnvironment='{_VARIABLE}'\n"),
        ("etc/systemd/system/service.d/all.conf", f"[Service]\nEnvironment={_VARIABLE}\n"),
        ("opt/docker.env", f"{_VARIABLE}\n"),
        ("etc/init.d/docker", f"#!/bin/sh\nexport {_VARIABLE}\nexec dockerd\n"),
    ],
)
def test_a_containerd_root_that_a_variable_names(host, file, text):
    """DOCKER_CONTAINERD_ROOT moves the containerd that dockerd starts or holds; its containers own the leases there."""
    make_root(host / "srv/cd")
    make_root(host / "var/lib/docker/containerd/daemon")
    (host / "var/lib/docker/containers").mkdir()
    for name, written in ((DOCKER, f"{_DOCKERD}EnvironmentFile=-/opt/docker.env\n"), (file, text)):
        (host / name).parent.mkdir(parents=True, exist_ok=True)
        (host / name).write_text(written)
    roots = by_path(host)
    assert set(roots) == {"srv/cd", "var/lib/docker/containerd/daemon"}
    moved = roots["srv/cd"]
    assert (moved.engine, moved.docker_known, moved.findings) == (Engine.DOCKER, True, ())
    assert moved.docker == (os.fsencode(host / "var/lib/docker"),)
    assert moved.states == (os.fsencode(host / "var/run/docker/containerd/daemon"),)


@pytest.mark.parametrize("value", ["/srv/gone", "/srv/empty", "relative", '"/srv/two words"'])
def test_a_containerd_root_that_is_not_there(host, value):
    """What a variable of Docker's own service names, and nobody has worked in, is said: storage may be missing."""
    make_root(host / "var/lib/docker/containerd/daemon")
    (host / "srv/empty").mkdir(parents=True)
    (host / "var/lib/docker/containers").mkdir()
    (host / DOCKER).parent.mkdir(parents=True)
    (host / DOCKER).write_text(f"{_DOCKERD}Environment=DOCKER_CONTAINERD_ROOT={value}\n")
    (root,) = by_path(host).values()
    assert [finding.code for finding in root.findings] == ["config-unreadable"]


@pytest.mark.parametrize("kind", ["absent", "mount point", "dangling", "unit", "settings", "default", "link above"])
def test_data_root_that_is_not_reachable(host, kind):
    """What is named and not there, or a link to what is not there, may own leases: the old data root is not all."""
    make_root(host / "var/lib/containerd")
    old = host / "var/snap/docker/common/var-lib-docker"
    (old / "containers").mkdir(parents=True)
    settings = host / "etc/docker/daemon.json"
    if kind != "link above":
        settings.parent.mkdir()
    if kind == "settings":
        settings.symlink_to("/mnt/daemon.json")
    elif kind == "link above":
        settings.parent.symlink_to("/mnt/docker")
    elif kind == "unit":
        units = host / "etc/systemd/system"
        units.mkdir(parents=True)
        (units / "docker.service").symlink_to("/opt/docker.service")
    elif kind == "default":
        (host / "var/lib/docker").symlink_to("/mnt/docker")
    else:
        settings.write_text('{"data-root": "/srv/docker"}')
    if kind in {"mount point", "dangling"}:
        (host / "srv").mkdir()
        (host / "srv/docker").symlink_to("/mnt/docker") if kind == "dangling" else (host / "srv/docker").mkdir()
    (root,) = found(host)
    assert root.docker == (os.fsencode(old),)
    assert not root.docker_known
    assert [finding.severity for finding in root.findings] == [Severity.BLIND]


def test_a_named_data_root_and_links_of_no_engine(host):
    """What is there, through a link too, is known; what removed packages left behind is not an engine's."""
    make_root(host / "var/lib/containerd")
    (host / "mnt/docker/100000.100000/containers").mkdir(parents=True)
    (host / "srv").symlink_to("mnt")
    (host / "etc/docker").mkdir()
    (host / "etc/docker/daemon.json").write_text('{"data-root": "/srv/docker"}')
    (host / "etc/systemd/system").mkdir(parents=True)
    (host / "etc/systemd/system/dbus-x.service").symlink_to("/opt/x.service")
    (root,) = found(host)
    assert root.docker == (os.fsencode(host / "mnt/docker/100000.100000"),)
    assert (root.docker_known, root.findings) == (True, ())


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (DOCKER, 'ExecStart=/usr/bin/dockerd --data-root "/srv/my disk/d"'),
        (DOCKER, 'ExecStart=/usr/bin/dockerd "--data-root=/srv/my disk/d"'),
        (DOCKER, "ExecStart=/usr/bin/dockerd --data-root=/srv/my\\x20disk/d"),
        (DOCKER, "ExecStart=/usr/bin/dockerd --data-root=/srv/'my disk'/d"),
        (DOCKER, "ExecStart=/usr/bin/dockerd --data-root docker"),
        (DOCKER, "EnvironmentFile=-/opt/%i.env\nExecStart=/usr/bin/dockerd $OPTIONS"),
        (DOCKER, "EnvironmentFile=/o*t/env\nExecStart=/usr/bin/dockerd $OPTIONS"),
        (DOCKER, "ExecStart=/usr/local/bin/run-docker"),
        (f"{DOCKER}.d/a.conf", "[Service]\nExecStart=\nExecStart=/usr/local/bin/run-docker"),
    ],
)
def test_a_unit_that_is_not_understood(host, file, text):
    """No owner is provably gone where Docker may be started with a data root that is not known."""
    make_root(host / "var/lib/containerd")
    (host / "var/lib/docker/containers").mkdir(parents=True)
    (host / file).parent.mkdir(parents=True)
    (host / file).write_text(text + "\n")
    (root,) = found(host)
    assert not root.docker_known
    assert Severity.BLIND in {finding.severity for finding in root.findings}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (DOCKER, "ExecStart=/usr/bin/dockerd -g/srv/d"),
        (DOCKER, 'ExecStart=/usr/bin/dockerd "--data-root=/srv/d" -D'),
        (DOCKER, "ExecStart=/usr/bin/dockerd --data-root '/srv/d' -D"),
        (DOCKER, "ExecStart=/bin/sh -c 'exec dockerd --data-root=/srv/d'"),
        (DOCKER, 'Environment="OPTS=--data-root=/srv/d -D"\nExecStart=/usr/bin/dockerd $OPTS'),
        (DOCKER, "EnvironmentFile=/opt/*.conf\nExecStart=/usr/bin/dockerd $OPTS"),
        ("lib/systemd/system/docker.service", "ExecStart=/usr/bin/dockerd --data-root /srv/d"),
        (f"{DOCKER}.d/a.conf", "[Service]\nEnvironmentFile=-/opt/docker.conf"),
        (f"{DOCKER}.d/a.conf", '[Service]\nEnvironment="OPTS=-g /srv/d"'),
        ("etc/systemd/system/service.d/a.conf", "[Service]\nEnvironment=OPTS=--graph=/srv/d"),
    ],
)
def test_a_unit_that_names_a_data_root(host, file, text):
    """In whatever form: its containers own leases too, and nothing of it is a finding."""
    make_root(host / "var/lib/containerd")
    (host / "srv/d/containers").mkdir(parents=True)
    (host / file).parent.mkdir(parents=True)
    (host / file).write_text(text + "\n")
    (host / "opt").mkdir()
    (host / "opt/docker.conf").write_text("OPTS=--data-root=/srv/d\n")
    (root,) = found(host)
    assert root.docker == (os.fsencode(host / "srv/d"),)
    assert (root.docker_known, root.findings) == (True, ())


def test_config_toml(host):
    """Root, state and root_path come from config.toml and its imports, a later file winning; versions 1 and 2."""
    make_root(host / "data/ctd")
    (host / "etc/containerd/conf.d").mkdir(parents=True)
    (host / "etc/containerd/config.toml").write_text(
        'version = 2\nroot = "/elsewhere"\nimports = ["conf.d/*.toml", "config.toml", "/nowhere.toml"]\n'
        '[plugins."io.containerd.snapshotter.v1.overlayfs"]\nroot_path = "/fast/overlay"\n'
    )
    (host / "etc/containerd/conf.d/a.toml").write_text(
        'root = "/data/ctd"\nstate = "/run/ctd"\n[plugins.native]\nroot_path = "/fast/native"\n'
    )
    (root,) = found(host)
    assert root.path == os.fsencode(host / "data/ctd")
    assert root.states == (os.fsencode(host / "run/ctd"), os.fsencode(host / "run/containerd"))
    assert dict(root.snapshotters) == {
        b"overlayfs": os.fsencode(host / "fast/overlay"),
        b"native": os.fsencode(host / "fast/native"),
    }
    assert root.findings == ()


@pytest.mark.parametrize("name", ["c.toml", "containerd.conf"])
@pytest.mark.parametrize("etc", [None, "", "/data/other"])
def test_a_config_elsewhere_moves_the_snapshotters_of_the_default_root(host, name, etc):
    """Whatever /etc/containerd/config.toml says too; a file of another program says nothing of it."""
    make_root(host / "var/lib/containerd")
    moved = '[plugins."io.containerd.snapshotter.v1.overlayfs"]\nroot_path = "%s"\n'
    for folder in ("etc/systemd/system", "etc/containerd", "opt"):
        (host / folder).mkdir(parents=True)
    (host / "etc/systemd/system/containerd.service").write_text(
        f"ExecStartPre=/bin/kubelet --config /opt/kubelet.yaml\nExecStart=/usr/bin/containerd --config /opt/{name}\n"
    )
    (host / "opt" / name).write_text(moved % "/data/overlay")
    (host / "opt/kubelet.yaml").write_text("kind: KubeletConfiguration\n")
    if etc is not None:
        (host / "etc/containerd/config.toml").write_text(moved % etc if etc else "version = 2\n")
    (root,) = found(host)
    places = {where for snapshotter, where in root.snapshotters if snapshotter == b"overlayfs"}
    assert places == {os.fsencode(f"{host}{where}") for where in ("/data/overlay", etc) if where}
    assert root.findings == ()


def test_a_config_of_another_root_says_nothing_of_the_default_one(host):
    """Its root is set in it, and no flag overrides that."""
    for place in ("var/lib/containerd", "srv/c"):
        make_root(host / place)
    (host / "etc/systemd/system").mkdir(parents=True)
    unit = host / "etc/systemd/system/containerd.service"
    unit.write_text("ExecStart=/usr/bin/containerd --config /etc/c.toml\n")
    (host / "etc/c.toml").write_text('root = "/srv/c"\n[plugins.overlayfs]\nroot_path = "/data/overlay"\n')
    moved = {name: len(root.snapshotters) for name, root in by_path(host).items()}
    assert moved == {"var/lib/containerd": 0, "srv/c": 1}
    unit.write_text("ExecStart=/usr/bin/containerd --root /var/lib/containerd --config /etc/c.toml\n")
    assert len(by_path(host)["var/lib/containerd"].snapshotters) == 1


def test_a_config_known_at_run_time(host):
    """Of containerd: where its snapshotters lie is not known. Another program's is none of its business."""
    make_root(host / "var/lib/containerd")
    (host / "etc/systemd/system").mkdir(parents=True)
    unit = host / "etc/systemd/system/containerd.service"
    unit.write_text("ExecStart=/usr/bin/kubelet --endpoint /run/containerd/containerd.sock --config ${CONF}\n")
    assert found(host)[0].findings == ()
    unit.write_text("ExecStart=/usr/bin/containerd --config ${CONF}\n")
    assert [finding.severity for finding in found(host)[0].findings] == [Severity.BLIND]


def test_links_stay_inside_the_host(host, tmp_path):
    """An absolute link of a mounted host is followed inside it, and none leads out."""
    make_root(host / "data/docker/containerd/daemon")
    (host / "var/lib/docker").symlink_to("/data/docker")
    make_root(tmp_path / "outside")
    (host / "var/lib/containerd").symlink_to("../../../outside")
    assert list(by_path(host)) == ["data/docker/containerd/daemon"]


def test_volume_cannot_lead_out(host):
    """A link that a container made in its volume does not lead to another store."""
    make_root(host / "srv/private")
    volume = host / "var/lib/docker/volumes/v/_data"
    (volume / "lib").mkdir(parents=True)
    (volume / "lib/containerd").symlink_to(host / "srv/private")
    (volume / "agent").symlink_to("../../../../../../srv")
    assert found(host) == []


def test_user_settings_cannot_reach_others(host):
    """A user's config cannot put a snapshotter where another user's data lies."""
    (host / "etc/passwd").write_text(f"ann:x:{os.getuid() + 1}:1::/srv/ann:/bin/sh\n")
    root = make_root(host / "srv/ann/.local/share/containerd")
    config = host / "srv/ann/.config/containerd/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[plugins."io.containerd.snapshotter.v1.overlayfs"]\nroot_path = "/var/lib"\n')
    if os.getuid() == 0:
        os.chown(root, 1, 1)
        (each,) = found(host)
        assert each.snapshotters == ()
        assert [finding.severity for finding in each.findings] == [Severity.BLIND]
        assert [finding.code for finding in each.findings] == ["config-foreign"]
    else:
        assert found(host) == []


def test_same_folder_once(host):
    """A root that two settings name is reported once."""
    make_root(host / "var/lib/containerd")
    (host / "etc/containerd").mkdir()
    (host / "etc/containerd/config.toml").write_text('root = "/alias"\n')
    (host / "alias").symlink_to("var/lib/containerd")
    assert len(found(host)) == 1


def test_data_root_given(tmp_path):
    """A copied Docker data root is enough: its containerd, its owners."""
    make_root(tmp_path / "copy/containerd/daemon")
    (tmp_path / "copy/containers").mkdir()
    (root,) = found(tmp_path / "copy")
    assert root.path == os.fsencode(tmp_path / "copy/containerd/daemon")
    assert root.docker == (os.fsencode(tmp_path / "copy"),)
    assert found(tmp_path / "copy/containerd/daemon") == [root]


def test_root_alone_has_no_owner(tmp_path):
    """A root copied on its own names no data root."""
    (root,) = found(make_root(tmp_path / "x"))
    assert (root.engine, root.docker) == (Engine.CONTAINERD, ())


def test_data_root_of_a_system_containerd(host):
    """A data root whose storage lies elsewhere says where, instead of going there."""
    make_root(host / "var/lib/containerd")
    (host / "var/lib/docker/containers").mkdir(parents=True)
    with pytest.raises(EvidenceUnreadable, match=r"/var/lib/containerd holds it"):
        found(host / "var/lib/docker")


@pytest.mark.parametrize("kind", ["missing", "file", "folder", "part", "buildkit"])
def test_no_store(tmp_path, kind):
    """What is no store is one clear line."""
    where = tmp_path / "x\nfake: line"
    if kind == "file":
        where.write_bytes(b"")
    elif kind != "missing":
        where.mkdir()
    if kind == "part":
        (where / "meta.db").touch()
    if kind == "buildkit":
        (where / "containerdmeta.db").touch()
    with pytest.raises(EvidenceUnreadable) as caught:
        found(where)
    assert "\n" not in str(caught.value)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 << 20)


def _nested(path: Path) -> None:
    path.write_text("[" * 200_000)


def _binary(path: Path) -> None:
    path.write_bytes(b'root = "\xff\xfe"\n{"data-root": "\xff"}')


def _null(path: Path) -> None:
    path.write_text('{"data-root": "/a\\u0000b"}' if path.suffix == ".json" else 'root = "/a\\u0000b"')


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [_fifo, _huge, _nested, _binary, _null, _folder, _loop])
@pytest.mark.parametrize("name", ["containerd/config.toml", "docker/daemon.json"])
def test_hostile_settings(host, make, name):
    """Settings that cannot be read neither hang nor stop discovery: the root says so, and owners are unknown."""
    make_root(host / "var/lib/containerd")
    (host / "var/lib/docker/containers").mkdir(parents=True)
    (host / "etc" / name).parent.mkdir()
    make(host / "etc" / name)
    (root,) = found(host)
    assert [finding.code for finding in root.findings] == ["config-unreadable"]
    assert name != "docker/daemon.json" or not root.docker_known


@pytest.mark.parametrize("name", ["dev", "dev/null"])
def test_a_loop_in_the_place_of_dev(host, name):
    """The host's store is found; a unit that is masked by a link into the loop is one that cannot be read."""
    make_root(host / "var/lib/containerd")
    (host / name).parent.mkdir(exist_ok=True)
    (host / name).symlink_to("/" + name)
    assert list(by_path(host)) == ["var/lib/containerd"]
    (host / "etc/systemd/system").mkdir(parents=True)
    (host / "etc/systemd/system/docker.service").symlink_to("/dev/null")
    (host / "var/lib/docker/containers").mkdir(parents=True)
    (root,) = found(host)
    assert [finding.code for finding in root.findings] == ["config-unreadable"]


def test_hostile_settings_and_nothing_else(host):
    """Nothing found while a setting is unreadable is an error, not an empty host."""
    (host / "etc/docker").mkdir()
    (host / "etc/docker/daemon.json").write_text("{")
    with pytest.raises(EvidenceUnreadable, match=r"daemon\.json"):
        found(host)


@pytest.mark.parametrize(
    "text",
    [
        b"\n" * 250_000,
        b" " * 250_000,
        b"--root " * 35_000,
        b"EnvironmentFile=/a\n" * 13_000,
        b"ExecStart=/foo containerd_ " + b"-c $a " * 40_000,
        b"ExecStart=/foo containerd " + b"-c $a " * 40_000,
        b"ExecStart=/foo containerd " + b"".join(b"-c /%d " % number for number in range(20_000)),
        b"ExecStart=/foo containerd -c $A\nEnvironment=" + b"A=" * 100_000,
        b"".join(b"Environment=A=/%d\n" % number for number in range(200))
        + b"ExecStart=containerd "
        + b"-c $A " * 40_000,
        b"".join(b"EnvironmentFile=/names/*%d\n" % number for number in range(8_000)),
        b"EnvironmentFile=/names/*\n" * 9_000,
    ],
    ids=range(11),
)
def test_hostile_units_end(host, text):
    """Units made to keep a scanner busy are read in a moment."""
    make_root(host / "var/lib/containerd")
    (host / "etc/systemd/system").mkdir(parents=True)
    (host / "etc/systemd/system/x.service").write_bytes(text + b"dockerd")
    (host / "names").mkdir()
    for number in range(1024):
        (host / "names" / str(number)).touch()
    start = time.process_time()
    assert len(found(host)) == 1
    assert time.process_time() - start < 5


@pytest.mark.root
@needs_root
def test_closed_to_this_user():
    """A user who may not look into Docker's data root is told so, not that there is nothing."""
    code = (
        "import os, sys; from drydock.evidence.host.roots import discover\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); discover(os.fsencode(sys.argv[1]))"
    )
    with tempfile.TemporaryDirectory() as top:  # pytest's own folders are closed to other users as well
        os.chmod(top, 0o755)
        (Path(top) / "etc").mkdir()
        make_root(Path(top) / "var/lib/docker/containerd/daemon")
        (Path(top) / "var/lib/docker").chmod(0o710)
        result = subprocess.run([sys.executable, "-c", code, top], capture_output=True, text=True, check=False)
    assert "permission denied (run as root)" in result.stderr


def test_cyclic_and_endless_imports(host):
    """Imports that name each other, or far too many, end."""
    make_root(host / "var/lib/containerd")
    (host / "etc/containerd").mkdir()
    (host / "etc/containerd/config.toml").write_text('imports = ["*.toml"]\n')
    for number in range(100):
        (host / f"etc/containerd/{number}.toml").write_text('imports = ["*.toml", "../containerd/config.toml"]\n')
    (root,) = found(host)
    assert [finding.code for finding in root.findings] == ["config-unreadable"]


@pytest.mark.parametrize("entry", ["/names/*", "/names/*%d", "/names/%d", "/n*mes/%d", "\\u0000"])
def test_imports_made_to_keep_a_reader_busy(host, entry):
    """However many entries a config has, few are followed, and that more are not is said."""
    make_root(host / "var/lib/containerd")
    (host / "names").mkdir()
    for number in range(1024):
        (host / "names" / str(number)).touch()
    (host / "etc/containerd").mkdir()
    entries = ",".join(f'"{entry % number if "%" in entry else entry}"' for number in range(20_000))
    (host / "etc/containerd/config.toml").write_text(f"imports = [{entries}]\n")
    start = time.process_time()
    (root,) = found(host)
    assert time.process_time() - start < 5
    assert {finding.code for finding in root.findings} == {"config-unreadable"}
    assert len(root.findings) <= 65


def test_names_that_are_no_text(host):
    """Names that are no UTF-8 are found and kept as bytes."""
    data = os.fsencode(host) + b"/var/lib/docker/volumes/\xff\x1b[2J/_data/lib/containerd"
    os.makedirs(data + b"/io.containerd.metadata.v1.bolt")
    assert [root.path for root in found(host)] == [data]


@pytest.mark.parametrize("place", ["var/lib/docker", "home/ann/.local/share/docker", "srv/docker"])
def test_a_data_root_without_a_containerd_root(host, place):
    """Found where it is asked for: from the host and by its path; not by what works on containerd's stores alone."""
    (host / place / "volumes").mkdir(parents=True)
    (host / "etc/docker").mkdir()
    if place.startswith("srv"):
        (host / "etc/docker/daemon.json").write_text('{"data-root": "/srv/docker"}')
    path = RawPath(bytes(host / place))
    for where in (RawPath(bytes(host)), path):
        (root,) = discover(where, data_roots=True)
        assert (root.path, root.docker, root.has_containerd) == (path, (path,), False)
    assert found(host) == []
    with pytest.raises(EvidenceUnreadable, match="no containerd storage"):
        discover(path)


def test_a_data_root_of_a_containerd_is_no_root_of_its_own(host):
    """One that a managed or a system containerd belongs to; by its own path it is one, because nothing else is."""
    data = host / "var/lib/docker"
    (data / "volumes/v/_data").mkdir(parents=True)
    make_root(host / "var/lib/containerd")
    (root,) = discover(RawPath(bytes(host)), data_roots=True)
    assert root.path == bytes(host / "var/lib/containerd")
    (root,) = discover(RawPath(bytes(data)), data_roots=True)
    assert (root.path, root.has_containerd) == (bytes(data), False)
    make_root(data / "volumes/v/_data/containerd/daemon")  # a Docker in a volume is another's
    assert bytes(data) in {each.path for each in discover(RawPath(bytes(data)), data_roots=True)}
    make_root(data / "containerd/daemon")
    assert all(each.has_containerd for each in discover(RawPath(bytes(data)), data_roots=True))


def make_worker(path: Path, part: str = "content") -> Path:
    """A folder that is a worker of a buildkitd by one of its parts."""
    (path / part).mkdir(parents=True)
    return path


@pytest.mark.parametrize(
    "place",
    ["var/lib/buildkit", "srv/by-config", "srv/by-flag", "var/lib/docker/volumes/buildx_buildkit_x0_state/_data"],
)
def test_the_workers_of_a_buildkitd(host, place):
    """At the default place, where settings put it, and in the volume of a buildx builder; each worker is a root."""
    (host / "etc/buildkit").mkdir()
    (host / "etc/buildkit/buildkitd.toml").write_text('root = "/srv/by-config"\n')
    (host / "etc/systemd/system").mkdir(parents=True)
    unit = "[Service]\nExecStart=/usr/local/bin/buildkitd --root /srv/by-flag --addr unix:///run/x\n"
    (host / "etc/systemd/system/builder.service").write_text(unit)
    for name in ("runc-overlayfs", "runc-fuse-overlayfs"):
        make_worker(host / place / name)
    (host / place / "containerd-overlayfs").mkdir()  # a containerd has the data of that one
    (host / place / "runc-empty").mkdir()
    roots = by_path(host)
    assert set(roots) == {f"{place}/runc-overlayfs", f"{place}/runc-fuse-overlayfs"}
    root = roots[f"{place}/runc-fuse-overlayfs"]
    assert (root.engine, root.layout.worker) == (Engine.BUILDKIT, b"fuse-overlayfs")
    assert root.buildkit == (os.fsencode(host / place),)
    assert root.layout.snapshotter(b"fuse-overlayfs") == b"snapshots"
    assert found(host / place / "runc-fuse-overlayfs") == [root]
    assert {each.path for each in found(host / place)} == {each.path for each in roots.values()}


@pytest.mark.parametrize("part", ["containerdmeta.db", "metadata_v2.db", "snapshots"])
def test_a_worker_without_all_its_parts(tmp_path, part):
    """A worker that lost its databases, or all but one of them, is one; its name tells the snapshotter."""
    make_worker(tmp_path / "x/runc-native", part)
    (root,) = found(tmp_path / "x")
    assert (root.path, root.layout.worker) == (os.fsencode(tmp_path / "x/runc-native"), b"native")
    (tmp_path / "x/runc-native").rename(tmp_path / "x/worker")
    with pytest.raises(EvidenceUnreadable):
        found(tmp_path / "x/worker")


@needs_root
def test_the_buildkitd_of_a_user(host):
    """In the user's home, or where the user's settings put it if the folder is the user's."""
    (host / "home/ann/.config/buildkit").mkdir(parents=True)
    (host / "home/ann/.config/buildkit/buildkitd.toml").write_text('root = "/srv/ann"\n')
    workers = [make_worker(host / place / "runc-overlayfs") for place in ("home/ann/.local/share/buildkit", "srv/ann")]
    for path in (host / "home/ann", *workers, *(each.parent for each in workers)):
        os.chown(path, 1000, 1000)
    assert {os.fsencode(each) for each in workers} == {root.path for root in found(host)}
    os.chown(host / "srv/ann", 0, 0)
    assert [root.path for root in found(host)] == [os.fsencode(workers[0])]


@pytest.mark.parametrize("settings", ["none", "read", "unreadable"])
def test_a_buildkitd_that_works_in_containerd(host, settings):
    """Its records may own leases of the system's containerd, unless a setting that may name another is not known."""
    make_root(host / "var/lib/containerd")
    (host / "var/lib/buildkit/containerd-overlayfs").mkdir(parents=True)
    (host / "etc/buildkit").mkdir()
    if settings != "none":
        (host / "etc/buildkit/buildkitd.toml").write_text("debug = true\n" if settings == "read" else "[")
    (root,) = found(host)
    expected = () if settings == "unreadable" else (os.fsencode(host / "var/lib/buildkit"),)
    assert (root.engine, root.layout.worker, root.buildkit) == (Engine.CONTAINERD, b"", expected)

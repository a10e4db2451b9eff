"""What a host's files say about the store of its dockerd, and which Docker it has."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from drydock.evidence.host.daemon_settings import read_versions
from drydock.evidence.host.filesystem import Host
from drydock.evidence.host.survey import Survey
from drydock.model.names import RawPath
from drydock.model.store_modes import ChoiceRules, DaemonSettings

UNIT = "etc/systemd/system/docker.service"
DROP_IN = "etc/systemd/system/docker.service.d/10.conf"
JSON = "etc/docker/daemon.json"
PLAIN = "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n"
MANAGED = "var/lib/docker/containerd/daemon/io.containerd.metadata.v1.bolt"
V28, V29_0, V29 = ChoiceRules.BEFORE_29, ChoiceRules.V29_0, ChoiceRules.SINCE_29_1


def settings(top: Path, files: dict[str, str], data: str = "var/lib/docker") -> DaemonSettings:
    """The settings of a host with these files and one data root."""
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    (top / data / "image").mkdir(parents=True)
    (top / data / "containerd/daemon/io.containerd.metadata.v1.bolt").mkdir(parents=True)
    (root,) = Survey(Host(RawPath(os.fsencode(top)))).roots()
    ((path, found),) = root.daemons
    assert path == os.fsencode(top / data)
    return found


@pytest.mark.parametrize(
    ("files", "features", "drivers"),
    [
        ({}, [None], [None]),
        ({UNIT: PLAIN}, [None], [None]),
        ({JSON: '{"features": {"containerd-snapshotter": true}}'}, [True], [None]),
        ({JSON: '{"features": {"buildkit": true}, "storage-driver": "overlay2"}'}, [None], ["overlay2"]),
        ({UNIT: "[Service]\nExecStart=/usr/bin/dockerd -s vfs\n"}, [None], ["vfs"]),
        ({UNIT: "[Service]\nExecStart=/usr/bin/dockerd --feature containerd-snapshotter=false\n"}, [False], [None]),
        ({UNIT: "[Service]\nExecStart=/usr/bin/dockerd --feature=containerd-snapshotter\n"}, [True], [None]),
        # A drop-in that may have been reset, and an option file that may not be read.
        ({UNIT: PLAIN, DROP_IN: "[Service]\nExecStart=/usr/bin/dockerd -s vfs"}, [None], [None, "vfs"]),
        ({UNIT: PLAIN, DROP_IN: "[Service]\nEnvironment=DOCKER_DRIVER=overlay2"}, [None], [None, "overlay2"]),
        (
            {
                UNIT: "[Service]\nEnvironmentFile=/etc/default/docker\nExecStart=/usr/bin/dockerd $DOCKER_OPTS\n",
                "etc/default/docker": 'DOCKER_OPTS="--storage-driver=zfs -H fd://"\n',
                JSON: '{"features": {"containerd-snapshotter": false}}',
            },
            [False],
            [None, "zfs"],
        ),
        # Another file of settings, beside the one at the default place.
        (
            {
                UNIT: "[Service]\nExecStart=/usr/bin/dockerd --config-file /opt/d.json\n",
                "opt/d.json": '{"features": {"containerd-snapshotter": true}}',
                JSON: "{}",
            },
            [None, True],
            [None],
        ),
        # -s of another program.
        ({UNIT: PLAIN + "ExecStartPre=/bin/logger -s docker\n"}, [None], [None]),
    ],
)
def test_the_values_that_a_setting_may_have(tmp_path, files, features, drivers):
    """Of daemon.json, of flags, and of the variable that does what a flag does."""
    found = settings(tmp_path, files)
    assert found.features == frozenset(features)
    assert found.drivers == frozenset(each and each.encode() for each in drivers)
    assert found.unread is None


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({JSON: "{"}, "daemon.json"),
        ({UNIT: "[Service]\nExecStart=/usr/bin/dockerd --storage-driver $DRIVER\n"}, "storage-driver $DRIVER"),
        ({UNIT: "[Service]\nExecStart=/usr/bin/start-docker\n"}, "docker.service"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, files, said):
    """A file that is no JSON, a value of run time, and a script that may start dockerd with anything."""
    assert said in settings(tmp_path, files).unread


def test_the_other_settings(tmp_path):
    """Remapping and migration."""
    found = settings(
        tmp_path, {JSON: json.dumps({"userns-remap": "default", "features": {"containerd-migration": True}})}
    )
    assert (found.is_remapped, found.migrates) == (True, True)


def test_a_snap_has_its_own_settings(tmp_path):
    """Neither the system's daemon.json nor its version says anything about the dockerd of a snap."""
    snap = "var/snap/docker/common/var-lib-docker"
    files = {
        JSON: '{"storage-driver": "vfs"}',
        "var/snap/docker/current/config/daemon.json": '{"features": {"containerd-snapshotter": true}}',
        "var/lib/dpkg/status": _dpkg("docker-ce", "5:28.5.2-1"),
    }
    found = settings(tmp_path, files, snap)
    assert (found.features, found.drivers, found.versions) == (frozenset([True]), frozenset([None]), ())


def test_rootless_settings_are_the_users(tmp_path):
    """Those of the user's daemon.json and unit, not the system's."""
    home = "home/me"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"me:x:{os.getuid()}:0::/{home}:/bin/sh\n")
    unit = "[Service]\nExecStart=/usr/bin/dockerd-rootless.sh --storage-driver fuse-overlayfs\n"
    files = {
        JSON: '{"storage-driver": "vfs"}',
        f"{home}/.config/docker/daemon.json": '{"features": {"containerd-snapshotter": false}}',
        f"{home}/.config/systemd/user/docker.service": unit,
    }
    found = settings(tmp_path, files, f"{home}/.local/share/docker")
    assert (found.features, found.drivers) == (frozenset([False]), frozenset([b"fuse-overlayfs"]))


def _dpkg(name: str, version: str, status: str = "install ok installed") -> str:
    before = "Package: adduser\nStatus: install ok installed\nVersion: 3.134\n\n"
    it = f"Package: {name}\nStatus: {status}\nArchitecture: amd64\nVersion: {version}\n\n"
    return f"{before}{it}Package: z\nVersion: 1\n"


@pytest.mark.parametrize(
    ("path", "text", "rules"),
    [
        ("var/lib/dpkg/status", _dpkg("docker-ce", "5:29.0.4-1~debian.13~trixie"), [(V29_0,)]),
        ("var/lib/dpkg/status", _dpkg("docker-ce", "5:29.1.0-1~ubuntu"), [(V29,)]),
        ("var/lib/dpkg/status", _dpkg("docker.io", "26.1.5+dfsg1-9+b1"), [(V28,)]),
        ("var/lib/dpkg/status", _dpkg("docker.io", "20.10.24+dfsg1-1"), [()]),
        ("var/lib/dpkg/status", _dpkg("docker.io", "26.1.5+dfsg1-9", "deinstall ok config-files"), []),
        ("var/lib/dpkg/status", _dpkg("docker-ce-cli", "5:29.1.0-1"), []),
        (
            "lib/apk/db/installed",
            "C:Q1\nP:docker-cli\nV:1\n\nC:Q1\nP:docker-engine\nV:28.3.3-r4\n\nP:z\nV:2\n",
            [(V28,)],
        ),
    ],
)
def test_the_version_of_a_package(tmp_path, path, text, rules):
    """Of Debian's and Alpine's databases of installed packages."""
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    assert [each.rules for each in read_versions(Host(RawPath(os.fsencode(tmp_path))), [])] == rules

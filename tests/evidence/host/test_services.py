"""Whose flags are taken for an engine's, on units and option files written for each test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drydock.evidence.host.filesystem import Host
from drydock.evidence.host.services import Services, read_services
from drydock.model.names import RawPath

DOCKER = "etc/systemd/system/docker.service"
CONTAINERD = "usr/lib/systemd/system/containerd.service"
OPTIONS = "etc/default/docker"
SCRIPT = "etc/init.d/docker"
PLAIN = "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n"
STALE = 'DOCKER_OPTS="-g /mnt/docker"\n'


def read(top: Path, files: dict[str, str]) -> Services:
    """The flags of a host with these files."""
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return read_services(Host(RawPath(os.fsencode(top))))


def said(services: Services) -> list[str]:
    """All that was not understood."""
    return [finding.message for finding in (*services.findings, *services.configs)]


@pytest.mark.parametrize(
    ("files", "configs"),
    [
        ({CONTAINERD: "Environment=CONF=/usr/c.toml\nExecStart=/usr/bin/containerd --config ${CONF}"}, ["/usr/c.toml"]),
        ({CONTAINERD: "Environment='CONF=/usr/c.toml' A=1\nExecStart=/opt/containerd -c $CONF"}, ["/usr/c.toml"]),
        ({CONTAINERD: "EnvironmentFile=/opt/e\nExecStart=containerd -c $CONF", "opt/e": 'CONF="/a"'}, ["/a"]),
        (
            {
                CONTAINERD: "Environment=CONF=/a\nExecStart=/opt/containerd -c $CONF",
                "etc/systemd/system/containerd.service.d/b.conf": "Environment=CONF=/b",
                "etc/systemd/system/service.d/c.conf": "Environment=CONF=/c",
            },
            ["/a", "/b", "/c"],
        ),
        ({CONTAINERD: "Environment='CONF=/my disk/c'\nExecStart=/opt/containerd -c $CONF"}, None),
        (
            {
                CONTAINERD: "ExecStart=/opt/containerd -c $CONF",
                "etc/systemd/system/x.service": "Environment=CONF=/a\nExecStart=/x # containerd",
            },
            None,
        ),
        ({CONTAINERD: "ExecStart=/opt/containerd \\\n# why\n --config $CONF"}, None),
    ],
)
def test_a_config_that_a_variable_names(tmp_path, files, configs):
    """Each path that the variable has in that service can be it; where there is none, it is not known."""
    services = read(tmp_path, files)
    assert sorted(services.flags[b"config"]) == [os.fsencode(each) for each in configs or ()]
    assert [finding.code for finding in services.configs] == ([] if configs else ["config-unknown"])
    assert services.findings == []


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("Environment=D=/srv/d\nExecStart=/usr/bin/dockerd --data-root ${D}", True),
        ("Environment=D=/srv/d\nEnvironment=D=%S/d\nExecStart=/usr/bin/dockerd --data-root ${D}", False),
        ("Environment=D=/srv/d\nEnvironmentFile=-/run/d\nExecStart=/usr/bin/dockerd --data-root ${D}", False),
        ("Environment=D=/srv/d\nEnvironmentFile=-/run/*.d\nExecStart=/usr/bin/dockerd --data-root ${D}", False),
        ("Environment=D=/srv/d\nExecStart=/usr/bin/dockerd --data-root ${D}/e", False),
        ("ExecStart=/usr/bin/dockerd --data-root ${D}", False),
    ],
)
def test_a_data_root_that_a_variable_names(tmp_path, text, places):
    """It is known only where the variable can have no other value."""
    services = read(tmp_path, {DOCKER: text})
    assert bool(said(services)) is not places
    assert not places or services.flags[b"data-root"] == [b"/srv/d"]


@pytest.mark.parametrize(
    "text",
    [
        "ExecStart=/usr/sbin/nginx -g 'daemon off;'",
        "ExecStart=/usr/bin/app --config-file conf.yml",
        "ExecStart=/usr/bin/app --config-file ${CONF}",
        "ExecStart=/usr/bin/install -d -g ${GROUP} /run/app",
        "ExecStart=/usr/bin/etcd --data-dir=${ETCD_DATA_DIR}",
        "ExecStart=/usr/bin/cri-dockerd --config-file ${CONF}",
        "ExecStart=/usr/bin/app --root ${ROOT}",
        "Description=what the docker daemon serves\nExecStart=/usr/bin/app -g $X",
    ],
)
@pytest.mark.parametrize("name", ["app.service", "docker@.service"])
def test_flags_of_other_programs(tmp_path, name, text):
    """They say nothing of Docker, whatever else the unit mentions."""
    services = read(tmp_path, {f"etc/systemd/system/{name}": f"[Unit]\nAfter=containerd.service\n[Service]\n{text}\n"})
    assert said(services) == []
    assert not services.flags


@pytest.mark.parametrize("runs_dockerd", [False, True])
def test_an_environment_file_that_cannot_be_read(tmp_path, runs_dockerd):
    """It says something of Docker where dockerd is started with it, whoever else is."""
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/docker.env").symlink_to("docker.env")  # a loop
    unit = "After=containerd.service\nEnvironmentFile=/opt/docker.env\nExecStart=/usr/bin/"
    files = {"etc/systemd/system/app.service": unit + "app"} | ({DOCKER: unit + "dockerd"} if runs_dockerd else {})
    assert len(said(read(tmp_path, files))) == runs_dockerd


def test_a_template_that_runs_compose(tmp_path):
    """docker@.service is a user's own; one that runs dockerd is Docker's."""
    name = "etc/systemd/system/docker@.service"
    assert said(read(tmp_path, {name: "ExecStart=/usr/bin/docker compose -p %i up"})) == []
    assert said(read(tmp_path, {name: "ExecStart=/usr/bin/dockerd --data-root /srv/%i"}))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docker.service", "ExecStart=/usr/bin/dockerd -g $D"),
        ("docker.service", "ExecStart=/usr/bin/dockerd -g %S/d"),
        ("docker.service", 'ExecStart=/usr/bin/dockerd --data-root "/srv/my disk'),
        ("docker.service", "Environment='D=/srv/my disk'\nExecStart=/usr/bin/dockerd -g $D"),
        ("docker.service", "ExecStart=/usr/bin/dockerd --config-file daemon.json"),
        ("docker.service", "ExecStart = /usr/bin/dockerd \\\n  # why\n --data-root $D"),
        ("docker.service", "ExecStartPre=/bin/sh -c 'echo O=--data-root=$(cat /d) >/o'\nExecStart=/usr/bin/dockerd $O"),
        ("docker.service", 'Environment="O=-g $D"\nExecStart=/usr/bin/dockerd $O'),
        ("a.service", "ExecStart=/usr/bin/dockerd-rootless.sh --data-root $D"),
        ("a.service", "ExecStart=/usr/bin/docker daemon -g $D"),
        ("a.service", "Environment=BIN=/usr/bin/dockerd\nExecStart=/bin/sh -c '$BIN --config-file $F'"),
        ("my-docker.service", "ExecStart=/opt/run --data-root $D"),
    ],
)
def test_flags_that_dockerd_may_be_started_with(tmp_path, name, text):
    """One that is not understood may be where it works."""
    assert said(read(tmp_path, {f"etc/systemd/system/{name}": f"[Service]\n{text}\n"}))


@pytest.mark.parametrize(
    ("files", "is_dockers"),
    [
        ({OPTIONS: STALE}, False),
        ({OPTIONS: STALE, DOCKER: PLAIN}, False),
        ({OPTIONS: STALE, DOCKER: PLAIN + "EnvironmentFile=-/etc/default/docker\n"}, True),
        ({OPTIONS: STALE, DOCKER: "ExecStart=/bin/sh -c '. /etc/default/docker; dockerd $DOCKER_OPTS'\n"}, True),
        ({OPTIONS: STALE, SCRIPT: "$DOCKERD $DOCKER_OPTS\n"}, True),
        ({OPTIONS: STALE, "etc/rc.d/rc.docker": "dockerd $DOCKER_OPTS\n"}, True),
        ({OPTIONS: STALE, SCRIPT: "$DOCKERD $DOCKER_OPTS\n", DOCKER: PLAIN}, True),  # a unit without a systemd
        ({OPTIONS: STALE, SCRIPT: "$DOCKERD $O\n", DOCKER: PLAIN, "usr/lib/systemd/systemd": ""}, False),
        ({OPTIONS: STALE, SCRIPT: "$DOCKERD $O\n", "usr/lib/systemd/systemd": ""}, True),  # systemd makes a unit of it
    ],
)
def test_option_files(tmp_path, files, is_dockers):
    """Those that nothing reads count only where a data root is there."""
    services = read(tmp_path, files)
    assert services.flags[b"data-root"] == ([b"/mnt/docker"] if is_dockers else [])
    assert is_dockers or services.others[b"data-root"] == [b"/mnt/docker"]
    assert said(services) == []


@pytest.mark.parametrize(
    ("file", "text", "flag", "place"),
    [
        (
            "etc/systemd/system/k3s.service",
            "ExecStart=/k3s \\\n server \\\n\t'--data-dir' \\\n\t'/d' \\\n",
            "data-dir",
            "/d",
        ),
        ("etc/systemd/system/k3s.service", "ExecStart=/k3s \\\n server \\\n\t'--data-dir=/d' \\\n", "data-dir", "/d"),
        (DOCKER, 'ExecStart=/usr/bin/dockerd "--data-root" "/d"\n', "data-root", "/d"),
        (DOCKER, "ExecStart=/usr/bin/dockerd '--data-root' /d -D\n", "data-root", "/d"),
        (DOCKER, 'ExecStart=/usr/bin/dockerd -g "/srv/my disk"\n', "data-root", "/srv/my disk"),
        (DOCKER, 'ExecStart=/usr/bin/dockerd "--data-root" "/srv/my disk"\n', "data-root", "/srv/my disk"),
        (DOCKER, "ExecStart=/usr/bin/dockerd --data-root=/srv/'my disk'/d\n", "data-root", "/srv/my disk/d"),
        (DOCKER, "ExecStart=/usr/bin/dockerd --data-root=/srv/my\\x20disk\n", "data-root", "/srv/my disk"),
        (DOCKER, "Environment='D=/srv/my disk'\nExecStart=dockerd -g ${D}\n", "data-root", "/srv/my disk"),
        (DOCKER, "ExecStart=/bin/sh -c \"exec dockerd -g '/srv/my disk'\"\n", "data-root", "/srv/my disk"),
        (DOCKER, "ExecStart=@-/usr/bin/dockerd dockerd -g /d\n", "data-root", "/d"),
        (DOCKER, "ExecStart=/usr/bin/dockerd \\\r\n -g /d\r\n", "data-root", "/d"),
        (DOCKER, "ExecStart=/bin/sh -c 'dockerd -g /d; rm -f /x'\n", "data-root", "/d"),
        (DOCKER, "ExecStart=/bin/sh -c '(dockerd -g /d>/dev/null)'\n", "data-root", "/d"),
        (SCRIPT, 'if [ -d /d ]; then OPTS="-g /d"; fi\ndockerd $OPTS\n', "data-root", "/d"),
        (SCRIPT, "echo 'Docker\nstarts' now; dockerd -g /d\n", "data-root", "/d"),
        (OPTIONS, "DOCKER_OPTS='--data-root=/d\n", "data-root", "/d"),
        (OPTIONS, 'DOCKER_OPTS="\n  -H fd://\n  --data-root /d\n"\n', "data-root", "/d"),
        ("etc/rancher/k3s/config.yaml", '"data-dir": "/d"\n', "data-dir", "/d"),
        ("etc/rancher/k3s/config.yaml", "data-dir: /d # on the large disk\n", "data-dir", "/d"),
        ("etc/rancher/k3s/config.yaml", '{"token": "x", "data-dir": "/my disk"}\n', "data-dir", "/my disk"),
    ],
)
def test_quoted_flags(tmp_path, file, text, flag, place):
    """As k3s' install.sh writes them (quote_indent): a quote stands before what separates flag and value."""
    files = {file: text} | ({DOCKER: PLAIN + f"EnvironmentFile=/{OPTIONS}\n"} if file == OPTIONS else {})
    services = read(tmp_path, files)
    assert services.flags[flag.encode()] == [place.encode()]
    assert said(services) == []


@pytest.mark.parametrize(
    ("text", "flag", "place"),
    [
        ("D=/srv/my disk\n", "${D}", "/srv/my disk"),
        ("D = /srv/my disk  \n", "${D}", "/srv/my disk"),
        ("D='/srv/my disk'\n", "${D}", "/srv/my disk"),
        ('D="/srv/my \\"disk\\""\nE=1\n', "${D}", None),  # a path with quotes is taken for one not understood
        ("# D=/old\nD=/srv/\\\nd\n", "$D", "/srv/d"),
        ("D=/srv/my disk\n", "$D", None),
    ],
)
def test_a_variable_of_an_environment_file(tmp_path, text, flag, place):
    """Its value goes to the end of the line, spaces included; a variable without braces would become two words."""
    unit = f"EnvironmentFile=/opt/e\nExecStart=/usr/bin/dockerd --data-root {flag}\n"
    services = read(tmp_path, {DOCKER: unit, "opt/e": text})
    assert services.flags[b"data-root"] == ([place.encode()] if place else [])
    assert bool(said(services)) is (place is None)


def test_options_of_an_environment_file(tmp_path):
    """They are split them where the unit names the variable: a space in a path ends it there."""
    unit = "EnvironmentFile=/opt/e\nExecStart=/usr/bin/dockerd $OPTS\n"
    services = read(
        tmp_path, {DOCKER: unit, "opt/e": "OPTS=-H fd:// --data-root=/srv/my disk --exec-root '/run/a b'\n"}
    )
    assert services.flags[b"data-root"] == [b"/srv/my"]
    assert services.flags[b"exec-root"] == [b"/run/a b"]


def test_units_beyond_the_bound(tmp_path):
    """So much text is read as no host has of units, and that there is more is said."""
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for number in range(60):
        (units / f"{number}.service").write_bytes(b"ExecStart=containerd " + b"a" * 250_000)
    services = read(tmp_path, {})
    assert [finding.message for finding in services.findings if "the rest is not read" in finding.message]


def test_an_environment_file_of_very_many_units(tmp_path):
    """It counts for the bound as often as it has to be looked at."""
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/e").write_bytes(b"a" * 250_000)
    units = {f"etc/systemd/system/k3s-{number}.service": "EnvironmentFile=/opt/e\n" for number in range(60)}
    services = read(tmp_path, units)
    assert [finding.message for finding in services.findings if "the rest is not read" in finding.message]

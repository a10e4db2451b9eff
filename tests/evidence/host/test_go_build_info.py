"""The build information of Go programs, compared with what Go itself reads of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from drydock.evidence.host.daemon_settings import read_versions
from drydock.evidence.host.filesystem import Host
from drydock.evidence.host.go_build_info import read_build_info
from drydock.model.names import RawPath
from drydock.model.store_modes import ChoiceRules

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="no Go compiler: apt install golang-go")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Builds a program of a module, once for each module."""
    programs = {}

    def build(module: str, *flags: str) -> bytes:
        if (module, *flags) not in programs:
            top = tmp_path_factory.mktemp("go")
            (top / "cmd/dockerd").mkdir(parents=True)
            (top / "go.mod").write_text(f"module {module}\n\ngo 1.18\n")
            (top / "cmd/dockerd/main.go").write_text("package main\n\nfunc main() {}\n")
            environment = {**os.environ, "GO111MODULE": "on", "GOFLAGS": "", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
            command = ["go", "build", "-o", "built", *flags, "./cmd/dockerd"]
            subprocess.run(command, cwd=top, env=environment, check=True)
            programs[(module, *flags)] = os.fsencode(top / "built")
        return programs[(module, *flags)]

    return build


def test_it_is_what_go_reads(built):
    """Each line as `go version -m` prints it."""
    path = built("github.com/docker/docker", "-ldflags", "-X github.com/docker/docker/dockerversion.Version=28.5.2")
    info = read_build_info(RawPath(path))
    printed = subprocess.run(["go", "version", "-m", path], check=True, capture_output=True).stdout
    lines = [line.removeprefix(b"\t") for line in printed.splitlines()[1:]]
    assert [line.rstrip(b"\t") for line in info.settings.splitlines()] == [line.rstrip(b"\t") for line in lines]
    assert info.path == b"github.com/docker/docker/cmd/dockerd"


@pytest.mark.parametrize(
    ("module", "version", "rules"),
    [
        ("github.com/docker/docker", "28.5.2", (ChoiceRules.BEFORE_29,)),
        ("github.com/docker/docker", None, (ChoiceRules.BEFORE_29,)),
        ("github.com/moby/moby/v2", "29.7.2", (ChoiceRules.SINCE_29_1,)),
        ("github.com/moby/moby/v2", None, (ChoiceRules.V29_0, ChoiceRules.SINCE_29_1)),
        ("example.com/other", None, None),
    ],
)
def test_the_version_of_a_program(built, tmp_path, module, version, rules):
    """By the version that was linked in, or else by the module that it is built from."""
    flags = ("-ldflags", f"-X {module}/dockerversion.Version={version}") if version else ()
    (tmp_path / "usr/bin").mkdir(parents=True)
    os.link(built(module, *flags), tmp_path / "usr/bin/dockerd")
    found = list(read_versions(Host(RawPath(os.fsencode(tmp_path))), []))
    assert [each.rules for each in found] == ([] if rules is None else [rules])
    assert not version or found[0].version == version


@pytest.mark.parametrize("damage", [64, 4096, 200000])
def test_damage_is_no_information(built, tmp_path, damage):
    """A program that is cut short, and a file that is none."""
    raw = Path(os.fsdecode(built("example.com/other"))).read_bytes()
    (tmp_path / "cut").write_bytes(raw[:damage])
    assert read_build_info(RawPath(os.fsencode(tmp_path / "cut"))) is None
    (tmp_path / "text").write_bytes(b"#!/bin/sh\n")
    assert read_build_info(RawPath(os.fsencode(tmp_path / "text"))) is None

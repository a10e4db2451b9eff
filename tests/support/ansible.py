"""Plays of deploy/ansible on hosts that are folders of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.support.newcomer import TOP

Play = Callable[..., "tuple[dict[str, dict[str, int]], Path, str]"]


def player(work: Path, roots: Mapping[str, Path], **settings: str) -> Play:
    """What plays deploy/ansible/site.yml with these settings: it gives the recap by host, the reports and the output.

    Args:
        work: an empty folder.
        roots: the containerd roots of hosts, by their names.
        settings: variables of the role.
    """
    program = Path(sys.executable).with_name("ansible-playbook")
    if not program.exists():
        pytest.skip("ansible-core is not installed")
    hosts = {
        name: {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "drydock_where": str(root),
        }
        for name, root in roots.items()
    }
    variables = {
        # One place for all: they are one machine, and are done one after the other.
        "drydock_home": str(work / "home"),
        "drydock_reports": str(work / "reports"),
        "drydock_state": str(work / "state"),
        "ansible_become": False,
        **settings,
    }
    inventory = work / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment.update(
        ANSIBLE_LOCAL_TEMP=str(work / "local"), ANSIBLE_REMOTE_TMP=str(work / "remote"), ANSIBLE_NOCOLOR="1",
        ANSIBLE_LOCALHOST_WARNING="0", ANSIBLE_STDOUT_CALLBACK="default", HOME=str(work), LC_ALL="C.UTF-8",
        ANSIBLE_PIPELINING="1",
    )  # fmt: skip

    def play(status: int = 0, **more: object) -> tuple[dict[str, dict[str, int]], Path, str]:
        command = [str(program), "-i", str(inventory), "--forks", "1", "-e", json.dumps(more), "site.yml"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=TOP / "deploy/ansible", env=environment
        )
        assert done.returncode == status, done.stdout + done.stderr
        recap = {}
        for line in done.stdout.split("PLAY RECAP")[1].splitlines()[1:]:
            name, _, counts = line.partition(":")
            if counts:
                recap[name.strip()] = {key: int(value) for key, value in (each.split("=") for each in counts.split())}
        return recap, work / "reports", done.stdout

    return play

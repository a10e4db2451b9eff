"""Every command in README.md and docs/ is run, block by block, each on a fresh host made of a capture.

The host is this machine in a mount namespace of its own: the capture's Docker data root lies at /var/lib/docker, and
/var/lib is otherwise empty. ``systemctl`` is a stand-in that does nothing. A word in capitals (LEASE, JOURNAL ...) is
filled in with what the capture has, or what an earlier command printed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.captures import capture

import drydock

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([TOP / "README.md", TOP / "CONTRIBUTING.md", *(TOP / "docs").glob("*.md")])
HOST = "docker-28.5-interrupted-pull"
_FENCE = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_WORDS = re.compile(r"\b(LEASE|IMAGE|DIGEST|JOURNAL)\b")
# scan and explain say with 1 that something can be freed, and with 2 that something is damaged.
_FINE = (0, 1, 2, 3)
_SETUP = """
set -e
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/docker
mount --bind "$1/var/lib/docker" /var/lib/docker
exec sleep infinity
"""


def _blocks(document):
    blocks = [block for _, block in _FENCE.findall(document.read_text())]
    return [[line.strip() for line in block.splitlines() if line.strip()] for block in blocks]


def _runnable():
    return [
        pytest.param(block, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, block in enumerate(_blocks(document), 1)
    ]


def test_every_fence_says_what_it_is():
    """A block of commands is marked sh, so that this file runs it; no other block has a line that is a command."""
    for document in DOCUMENTS:
        rest = _FENCE.sub("", document.read_text())
        for block in re.findall(r"```\n(.*?)```", rest, re.DOTALL):
            assert not re.search(r"^ *(sudo )?drydock ", block, re.MULTILINE), (document.name, block)


def test_every_command_is_documented():
    """Each command of the program is in the README's table."""
    from drydock.cli import main

    table = (TOP / "README.md").read_text()
    for name in main.list_commands(None):
        assert f"`drydock {name}" in table


def test_every_finding_is_documented():
    """Each code that the sources give a finding is in docs/findings.md."""
    said = (TOP / "docs/findings.md").read_text()
    made = re.compile(r'(?:Finding|\.blind|\.damage|_say|_blind|_unknown)\(\s*(?:\w+, )?"([a-z]+(?:-[a-z]+)+)"')
    sources = Path(drydock.__file__).parent.rglob("*.py")
    codes = {code for source in sources for code in made.findall(source.read_text())}
    assert len(codes) > 15
    assert [code for code in sorted(codes) if f"`{code}`" not in said] == []


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("block", _runnable())
def test_the_commands_work_in_their_order(block, unpacked_anew, tmp_path):
    """No step of a block fails for someone who types it."""
    of = capture(HOST)
    host = unpacked_anew(of)
    stubs = tmp_path / "bin"
    stubs.mkdir()
    (stubs / "systemctl").write_text("#!/bin/sh\n")
    (stubs / "systemctl").chmod(0o755)
    examples = tmp_path / "examples"
    shutil.copytree(TOP / "examples", examples)
    words = {
        "LEASE": next(iter(of.facts["leases_ended"]["moby"])),
        "IMAGE": of.namespaces["moby"]["images"][0]["name"],
        "DIGEST": of.namespaces["moby"]["content"][0]["digest"],
    }
    path = f"{stubs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    inner = subprocess.Popen(["unshare", "--mount", "sh", "-c", _SETUP, "sh", str(host)], stdin=subprocess.DEVNULL)
    try:
        _wait_for_mount(inner.pid)
        for line in block:
            command = _WORDS.sub(lambda match: words[match[0]], line)
            done = subprocess.run(
                [
                    *("nsenter", f"--target={inner.pid}", "--mount", "env", f"PATH={path}"),
                    *("sh", "-c", f"cd {tmp_path}; {command}"),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode in _FINE, (command, done)
            assert "Traceback" not in done.stderr
            journal = re.search(r"journal:? (\S+\.jsonl)", done.stdout)
            if journal:
                words["JOURNAL"] = journal[1]
    finally:
        inner.kill()
        inner.wait()


def _wait_for_mount(pid):
    for _ in range(200):
        text = Path(f"/proc/{pid}/mountinfo").read_text()
        if " /var/lib/docker " in text:
            return
        subprocess.run(["sleep", "0.05"], check=True)
    raise TimeoutError("the namespace was not set up")


def test_shown_documents_are_json():
    """The facts of the capture that the placeholders are filled from are there."""
    facts = json.loads((TOP / f"fixtures/{HOST}.json").read_text())
    assert facts["leases_ended"]["moby"]

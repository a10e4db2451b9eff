"""``drydock completion``: the scripts work in the shells that they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ASK = {
    "bash": 'eval "$(drydock completion bash)"; COMP_WORDS=({words}); COMP_CWORD={last}; '
    '_drydock_completion drydock; printf "%s\\n" "${{COMPREPLY[@]}}"',
    "fish": 'drydock completion fish | source; complete --do-complete "{text}"',
}


@pytest.mark.parametrize("shell", list(_ASK))
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("drydock sc", {"scan", "schema"}),
        ("drydock scan --form", {"--format"}),
        ("drydock completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_completes(shell: str, typed: str, wanted: set[str]) -> None:
    """A command, an option and a value are completed by the shell itself."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    words = typed.split(" ")
    script = _ASK[shell].format(words=" ".join(f"'{word}'" for word in words), last=len(words) - 1, text=typed)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [shell, "-c", script], capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False
    )
    assert done.stderr == ""
    assert {line.partition("\t")[0].strip() for line in done.stdout.splitlines()} == wanted


def test_zsh_can_read_it() -> None:
    """The script for zsh is one, and names the program."""
    done = subprocess.run(
        [sys.executable, "-m", "drydock", "completion", "zsh"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("#compdef drydock\n")
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    assert subprocess.run(["zsh", "-n"], input=done.stdout, capture_output=True, text=True, check=True).stderr == ""

"""``./run prove`` runs every test file that has a long form, and what CI runs on the one file for aarch64, too."""

import re
import subprocess
from pathlib import Path

TOP = Path(__file__).parents[2]
LONG = ("DRYDOCK_TEST_LONG", "DRYDOCK_TEST_EVERY_KILL", "DRYDOCK_TEST_EVERY_ERROR")


def test_every_long_form_is_run():
    """Each file that asks for one of the settings is named in the script, and nothing else is missing there."""
    script = (TOP / "run").read_text()
    script = re.sub(r"tests/release/test_\{([a-z_,]+)\}\.py", lambda found: " ".join(
        f"tests/release/test_{name}.py" for name in found[1].split(",")), script)  # fmt: skip
    named = set(re.findall(r"tests/[a-z0-9_/]+\.py", script))
    asking = {
        str(path.relative_to(TOP))
        for path in (TOP / "tests").rglob("test_*.py")
        if path != Path(__file__) and any(word in path.read_text() for word in LONG)
    }
    assert len(asking) > 20
    assert asking <= named
    assert all((TOP / name).exists() for name in named)


def test_the_core_is_run_on_the_file_of_each_architecture(tmp_path):
    """CI has this machine's, prove the other; both give pytest the same files, which are there, and its environment."""
    script = (TOP / "run").read_text()
    within = {name: _function(script, name) for name in ("check", "prove", "core")}
    assert '\n  core "$(uname -m)" ' in within["check"]
    assert "\n    core aarch64 " in within["prove"]
    (tmp_path / "drydock-1-linux-aarch64").touch()
    printing = "sh -c 'echo \"$DRYDOCK_TEST_ARCH $DRYDOCK_TEST_PROGRAM $*\"' sh"
    command = f'{within["core"]}core aarch64 "$1" {printing}'
    done = subprocess.run(["bash", "-euc", command, "bash", tmp_path], capture_output=True, text=True, check=True)
    arch, program, *words = done.stdout.split()
    assert (arch, program) == ("aarch64", str(tmp_path / "drydock-1-linux-aarch64"))
    files = [word for word in words if "/" in word]
    assert len(files) > 5
    assert all((TOP / name).exists() for name in files)


def _function(script: str, name: str) -> str:
    (found,) = re.findall(rf"^{name}\(\) {{\n.*?^}}\n", script, re.DOTALL | re.MULTILINE)
    return found

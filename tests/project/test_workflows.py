"""The workflows: what actionlint and shellcheck find in them, and that their commands are there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.engines.modules import BINARIES, Module, built

import drydock

TOP = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((TOP / ".github/workflows").glob("*.yml"))


def lint(*paths):
    """What actionlint prints, shellcheck's part included."""
    program = built(Module.ACTIONLINT) / BINARIES / "actionlint"
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    command = [program, "-no-color", f"-shellcheck={shellcheck}", "-pyflakes=", *paths]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_actionlint_is_clean(tmp_path):
    """It has nothing to say of the workflows, and sees a wrong input, a wrong expression and a wrong shell line."""
    assert [path.name for path in WORKFLOWS] == ["release.yml", "test.yml"]
    done = lint(*WORKFLOWS)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(
        (TOP / ".github/workflows/release.yml")
        .read_text()
        .replace("merge-multiple", "merge-many")
        .replace("matrix.runner", "matrix.runer")
        .replace('"$TAG" --repo', "$TAG --repo")
    )
    found = lint(wrong).stdout
    for word in ("merge-many", "runer", "SC2086"):
        assert word in found


def test_the_scripts_are_clean():
    """The scripts give shellcheck nothing to say: those that the workflows and people start."""
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    command = [shellcheck, "run", ".ci/run"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("tag", "status"), [(f"v{drydock.__version__}", 0), ("v0.0.9", 1)])
def test_a_tag_must_be_the_version(tag, status):
    """The release stops unless the tag is the version, and the changes have a section for it."""
    jobs = yaml.safe_load((TOP / ".github/workflows/release.yml").read_text())["jobs"]
    (script,) = [step["run"] for step in jobs["version"]["steps"] if "run" in step]
    done = subprocess.run(["bash", "-e", "-c", script], cwd=TOP, env={**os.environ, "TAG": tag}, check=False)
    assert done.returncode == status


def test_the_commands_are_there():
    """Each ``./run`` of a workflow is one that ``run`` knows."""
    known = re.findall(r"^([a-z]+)\) ", (TOP / "run").read_text(), re.MULTILINE)
    asked = {name for path in WORKFLOWS for name in re.findall(r"\./run ([a-z]+)", path.read_text())}
    assert asked
    assert asked <= set(known)

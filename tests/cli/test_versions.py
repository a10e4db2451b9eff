"""``drydock --version --verbose``: every part has its version."""

import json
import platform
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from release.onefile import package_versions
from release.sources import FIXES, PACKAGES
from tests.support.newcomer import TOP

from drydock import __version__
from drydock.cli import main, versions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.mark.parametrize("words", [["--version", "--verbose"], ["--verbose", "--version"]], ids=" ".join)
def test_every_part_has_its_version(words):
    """As pip knows them, in any order of the two options."""
    said = CliRunner().invoke(main, words)
    assert said.exit_code == 0
    lines = said.stdout.splitlines()
    assert lines[0] == f"drydock {__version__}"
    assert lines[1].startswith(f"Python {platform.python_version()} (")
    assert lines[2] == f"Linux {platform.release()} {platform.machine()}"
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    )
    installed = {each["name"].lower().replace("-", "."): each["version"] for each in json.loads(listed.stdout)}
    for name in versions.NEEDED:
        assert f"{name} {installed[name]}" in lines
    for name in versions.OPTIONAL:
        (line,) = (line for line in lines if line.split()[0] == name)
        assert line.split()[1] == installed.get(name, "not")


def test_no_library_is_forgotten():
    """They are those of pyproject.toml, with the extras."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    always = {line for line in project["dependencies"] if ";" not in line}
    extras = {line for each in project["optional-dependencies"].values() for line in each}
    others = {*project["dependencies"]} - always | extras

    def names(requirements):
        return {re.match(r"[\w.-]+", line)[0] for line in requirements}

    assert names(always) == set(versions.NEEDED)
    assert names(others) == set(versions.OPTIONAL)


def test_the_one_file_knows_what_is_in_it(monkeypatch, tmp_path):
    """It has no metadata of packages; its build writes down what it puts in."""
    (tmp_path / "packages.json").write_bytes(package_versions())
    monkeypatch.setattr(versions, "files", lambda _: tmp_path)
    lines = list(versions.version_lines())
    assert lines[1].endswith(f"(CPython, inside this file, with the fixes of Debian's {FIXES.version})")
    pinned = {f"{each.name} {each.version}" for each in PACKAGES if each.name in versions.NEEDED}
    assert len(pinned) == len(versions.NEEDED)
    assert pinned <= set(lines)


def test_verbose_alone_means_nothing():
    """Nothing else is verbose."""
    said = CliRunner().invoke(main, ["--verbose", "schema", "scan"])
    assert said.exit_code == 16
    assert "--verbose needs --version" in said.stderr


def test_plain_version_loads_no_command_line():
    """It is answered before click is imported."""
    code = (
        "import sys; sys.argv[1:] = ['--version']\n"
        "from drydock.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: print('click' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"drydock {__version__}\nFalse\n"

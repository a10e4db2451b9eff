"""The check that no test writes to this machine's own state directories."""

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]
_CONFTEST = """\
from tests.support.leftovers import Leftovers

def pytest_configure(config):
    config.pluginmanager.register(Leftovers([{place!r}, b"/nowhere"]))
"""
_TESTS = """\
from pathlib import Path

def test_one():
    Path({place!r}, "old").write_text("again")
    Path({place!r}, "new").touch()
"""


def test_a_session_that_leaves_something_new_fails(tmp_path):
    """With its path; what was there before is nobody's fault."""
    place, tests = tmp_path / "place", tmp_path / "tests"
    place.mkdir()
    tests.mkdir()
    (place / "old").touch()
    (tests / "conftest.py").write_text(_CONFTEST.format(place=bytes(place)))
    (tests / "test_one.py").write_text(_TESTS.format(place=str(place)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={tests}",
               "-c", "/dev/null", tests]  # fmt: skip
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith(f"{place}/")] == [f"{place}/new"]

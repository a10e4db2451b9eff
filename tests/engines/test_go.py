"""Where engines are built from: an older Go is passed over, and what cannot be made is not tried twice."""

import pytest
from tests.engines import go
from tests.engines.cache import kept
from tests.engines.unavailable import EngineUnavailable

_OLD = """\
#!/bin/sh
case $1 in
version) echo go version go1.19.8 linux/amd64 ;;
env) echo direct ;;
esac
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for engines, and Debian 12's Go alone on PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "go").write_text(_OLD)
    (programs / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("DRYDOCK_ENGINES", str(tmp_path / "engines"))
    for name in ("HOME", "GOPATH", "GOCACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_an_older_go_is_passed_over(folder):
    """It does where it is new enough; else one is fetched, and where no proxy may be asked that is the reason."""
    assert go.new_enough("1.19") == folder / "bin/go"
    with pytest.raises(EngineUnavailable, match="GOPROXY names no proxy"):
        go.new_enough("1.19.9")


def test_one_that_was_fetched_is_used(folder):
    """It lies beside the suites, under its version."""
    fetched = folder / f"engines/go-{go.VERSION}/bin/go"
    fetched.parent.mkdir(parents=True)
    fetched.touch()
    assert go.new_enough("1.20") == fetched
    with pytest.raises(EngineUnavailable, match="what is fetched is"):
        go.new_enough("99.0")


def test_go_needs_no_home(folder):
    """Its caches lie below the folder, where the user has not named others."""
    environment = go.environment(folder)
    assert {environment[name] for name in ("GOPATH", "GOCACHE")} == {f"{folder}/go-path", f"{folder}/go-cache"}


def test_what_cannot_be_made_is_not_tried_twice(folder):
    """The second test that asks for it hears the same reason, and waits for nothing."""
    tried = []

    def make(made):
        tried.append(made)
        made.mkdir()
        raise EngineUnavailable("no mirror")

    for _ in range(2):
        with pytest.raises(EngineUnavailable, match="no mirror"):
            kept("unreachable", make)
    assert len(tried) == 1
    assert not (folder / "engines/unreachable").exists()
    assert kept("there", lambda made: made.mkdir()) == folder / "engines/there"

"""The face of the library: every name it promises, what it takes, and the types that a user's checker sees."""

import ast
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from fuzz.stores import put
from tests.support.distributions import build
from tests.support.documents import run
from tests.support.newcomer import TOP, python_blocks

import drydock

NOW = datetime(2001, 9, 9, 2, 0, tzinfo=timezone.utc)
NANOSECONDS = 1_000_000_800_000_000_000
SCRIPTS = sorted((TOP / "examples").glob("*.py"))


@pytest.fixture
def root(tmp_path):
    """A small root with something of every state."""
    put(tmp_path / "root")
    return tmp_path / "root"


def test_every_name_is_listed_and_there():
    """``dir``, ``__all__``, the table of homes and what a type checker sees are the same names; each can be had."""
    assert dir(drydock) == sorted(drydock.__all__)
    for name in drydock.__all__:
        assert getattr(drydock, name).__doc__ or name in {"AnyPath", "Moment", "Name", "Span", "__version__"}
    tree = ast.parse(Path(drydock.__file__).read_text())
    imports = {
        (alias.name, node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("drydock.")
        for alias in node.names
    }
    assert imports == {(name, f"drydock.{home}") for home, names in drydock._HOMES.items() for name in names}
    assert {name for name, _ in imports} == set(drydock.__all__)
    with pytest.raises(AttributeError, match="no attribute 'scam'"):
        drydock.scam  # noqa: B018 - the attribute is what is asked for


def test_what_functions_return_is_in_the_face(root):
    """The values of a scan, and those in them, are of classes that ``drydock`` has."""
    (scan,) = drydock.plan(root, now=NOW)
    seen = [scan, scan.plan, scan.verdict, *scan.verdict.objects, *scan.verdict.leases, *scan.verdict.findings]
    seen += [*scan.plan.removals, *scan.plan.leases, *scan.plan.records, *scan.plan.rows, *scan.plan.fingerprints]
    seen += [*drydock.pulls(root, now=NOW), *drydock.ls("leases", root, now=NOW), *drydock.verify(root, now=NOW)]
    names = {type(each).__name__ for each in seen}
    assert len(names) > 10
    assert names <= set(drydock.__all__)
    assert all(getattr(drydock, type(each).__name__) is type(each) for each in seen)


def test_importing_it_loads_nothing():
    """Its own module alone: what is used is loaded then."""
    code = "import sys, drydock; print(*(name for name in sys.modules if name.partition('.')[0] in %r))"
    ours = ("drydock", "bbolt_reader", "bbolt_surgery", "click", "psutil", "rich", "tqdm", "msgspec")
    done = subprocess.run([sys.executable, "-c", code % (ours,)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["drydock"]


def test_a_path_is_text_bytes_or_a_path(root, tmp_path, monkeypatch):
    """Each is the same place; so is a relative one, and a name that is no text."""
    ways = [str(root), bytes(root), root]
    assert {drydock.scan(way, now=NOW)[0].plan.root for way in ways} == {bytes(root)}
    monkeypatch.chdir(tmp_path)
    assert drydock.scan("root", now=NOW)[0].plan.root == bytes(root)
    odd = os.path.join(bytes(tmp_path), b"\xff")
    root.rename(os.fsdecode(odd))
    assert drydock.scan(os.fsdecode(odd), now=NOW)[0].plan.root == odd
    with pytest.raises(drydock.Usage, match="a path is"):
        drydock.scan(3)


def test_a_time_is_aware_or_nanoseconds(root):
    """Both judge alike, also with another time zone; without one it is refused, whatever the zone of this host."""
    zone = timezone(timedelta(hours=5))
    for time in (NOW, NANOSECONDS, NOW.astimezone(zone)):
        assert drydock.plan(root, now=time)[0].plan.now == NANOSECONDS
    for wrong in (NOW.replace(tzinfo=None), "2001-09-09", 1.5):
        with pytest.raises(drydock.Usage):
            drydock.scan(root, now=wrong)


def test_a_span_is_a_timedelta_or_nanoseconds():
    """A policy keeps nanoseconds of both."""
    spans = (timedelta(hours=1), 3_600_000_000_000)
    assert {drydock.Policy(older_than=span).older_than for span in spans} == {3_600_000_000_000}
    assert drydock.Policy(older_than=timedelta(microseconds=1)).older_than == 1000
    with pytest.raises(drydock.Usage):
        drydock.Policy(older_than=0.5)


def test_a_name_is_text_or_bytes(root):
    """Text may be as it is shown; one name in the place of a list is refused, as its letters would be names."""
    assert drydock.Policy(keep=["a\\xffb", b"c"], leases=("é",)) == drydock.Policy(
        keep=(b"a\xffb", b"c"), leases=["é".encode()]
    )
    assert drydock.explain("c1", root, now=NOW) == drydock.explain(b"c1", root, now=NOW)
    for wrong in ("web", b"web", [3]):
        with pytest.raises(drydock.Usage):
            drydock.Policy(keep=wrong)
    with pytest.raises(drydock.Usage):
        drydock.repair(root, agree=lambda _: False, accept="c1")


def test_an_option_is_a_member_or_its_word(root):
    """A word that is none is refused, with those that there are."""
    assert drydock.scan(root, now=NOW, measure="disk")[0].verdict.store.measured is drydock.SizeSource.DISK
    assert drydock.scan(root, now=NOW, verification=drydock.BlobCheck.NONE)
    assert drydock.ls("images", root, now=NOW) == drydock.ls(drydock.ListKind.IMAGES, root, now=NOW)
    assert drydock.Policy(end="temporary").end is drydock.EndLeases.TEMPORARY
    with pytest.raises(drydock.Usage, match="'disc' is none of recorded, disk"):
        drydock.scan(root, now=NOW, measure="disc")
    with pytest.raises(drydock.Usage):
        drydock.Policy(end="all")


def test_a_plan_is_applied_and_undone(root, tmp_path):
    """A script's whole way: plan, apply with a quarantine, undo; the plan file asks for the same."""
    (scan,) = drydock.plan(root, now=NOW)
    before = sorted(root.rglob("*"))
    quarantine = tmp_path / "aside"
    quarantine.mkdir(mode=0o700)
    (run,) = drydock.apply([drydock.request(scan)], state=tmp_path / "state", quarantine=str(quarantine))
    assert run.root == bytes(root)
    assert not run.failed
    assert sorted(root.rglob("*")) != before
    assert not drydock.undo(os.fsdecode(run.journal)).failed
    assert sorted(root.rglob("*")) == before
    with pytest.raises(drydock.Refused, match="stale"):
        drydock.apply([drydock.request(scan)._replace(hash="0" * 64)], state=tmp_path / "state")
    with pytest.raises(drydock.EvidenceUnreadable):
        drydock.read_plans(tmp_path / "no plan")


def test_a_plan_file_is_that_of_the_command(root, tmp_path):
    """The same bytes as ``drydock plan`` writes, and the requests that the scans themselves give; of no live scan."""
    scans = drydock.plan(root, now=NOW)
    drydock.write_plans(scans, tmp_path / "ours")
    run("plan", "--now", "2001-09-09T02:00:00Z", "-o", tmp_path / "theirs", root)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert drydock.read_plans(tmp_path / "ours") == [drydock.request(scan) for scan in scans]
    with pytest.raises(drydock.Usage, match="live scan"):
        drydock.write_plans(drydock.scan(root, now=NOW, live=True), tmp_path / "live")
    with pytest.raises(drydock.ActionFailed):
        drydock.write_plans(scans, tmp_path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A Python that has this tree's wheel, and the libraries of this one."""
    folder = tmp_path_factory.mktemp("installed")
    wheel = build(TOP, folder, "wheel")
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv/bin/python"


def check(installed, folder, *scripts):
    """What mypy, strict, says of a user's scripts."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--python-executable={installed}"]
    command += [f"--cache-dir={installed.parent / 'cache'}", *map(str, scripts)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_users_checker_sees_the_types(installed, tmp_path):
    """Of the wheel: the examples and the snippets of docs/library.md are right, and what is wrong is an error."""
    snippets = []
    for number, block in enumerate(python_blocks((TOP / "docs/library.md").read_text())):
        snippets.append(tmp_path / f"snippet_{number}.py")
        snippets[-1].write_text(block)
    assert snippets
    done = check(installed, tmp_path, *SCRIPTS, *snippets)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "wrong.py").write_text(
        "import drydock\n"
        "reveal_type(drydock.scan('/')[0].plan.removals[0].bytes)\n"
        "drydock.scan(3)\n"
        "drydock.Policy(older_than='1h')\n"
        "drydock.scam()\n"
    )
    done = check(installed, tmp_path, "wrong.py")
    places = [line.partition(": ")[0] for line in done.stdout.splitlines() if ": error: " in line]
    assert places == ["wrong.py:3", "wrong.py:4", "wrong.py:5"], done.stdout
    assert 'Revealed type is "int"' in done.stdout or "builtins.int" in done.stdout

"""The wheel and the sdist: whole, acceptable to a package index, and the same from either source."""

import email
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest
from fuzz.stores import put
from tests.support.distributions import build
from tests.support.newcomer import TOP

import drydock

pytestmark = pytest.mark.slow

SOURCES = {
    path.relative_to(TOP / "src").as_posix(): path
    for path in (TOP / "src").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts and not path.match("*.egg-info/*")
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree."""
    return build(TOP, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The sdist of this tree."""
    return build(TOP, tmp_path_factory.mktemp("sdist"), "sdist")


def test_an_index_would_take_them(wheel, sdist, tmp_path):
    """Twine finds no fault in their metadata and in the README that an index shows; it finds one in a spoiled wheel."""
    done = twine(wheel, sdist)
    assert done.returncode == 0, done.stdout + done.stderr
    spoiled = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(spoiled, "w") as copy:
        for entry in archive.infolist():
            data = archive.read(entry)
            copy.writestr(entry, data.partition(b"\n\n")[0] if entry.filename.endswith("METADATA") else data)
    assert twine(spoiled).returncode != 0


def twine(*files):
    """What ``twine check --strict`` says of them."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *files]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_wheel_has_the_source_and_nothing_else(wheel):
    """Each file below src/ is in it, with the same bytes, templates and schemas too; no test and no fixture is."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == set(SOURCES)
        for name, path in SOURCES.items():
            assert archive.read(name) == path.read_bytes(), name
        others = {name.partition(".dist-info/")[2] for name in archive.namelist()} - {""}
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        described = email.message_from_bytes(archive.read(metadata))
    assert others == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert described["Version"] == drydock.__version__
    assert described["Requires-Python"] == ">=3.10"
    kinds = {name.rpartition(".")[2] for name in names}
    assert {"py", "json", "html", "css", "js", "typed"} <= kinds


def test_the_sdist_makes_the_same_wheel(wheel, sdist, tmp_path):
    """Byte for byte, from a folder that has neither git nor this tree."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path)
    (source,) = tmp_path.iterdir()
    into = tmp_path / "wheel"
    into.mkdir()
    assert build(source, into, "wheel").read_bytes() == wheel.read_bytes()
    assert not (source / "tests").exists()
    assert (source / "docs/safety.md").exists()
    assert (source / "SECURITY.md").exists()


def test_the_wheel_runs(wheel, tmp_path):
    """What needs its data files works from the unpacked wheel: the page, the schemas, and the version."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    put(tmp_path / "host")

    def said(*words, fine=(0,)):
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in fine, done.stderr
        return done.stdout

    assert said("-c", "import drydock; print(drydock.__file__)").startswith(str(tmp_path / "site"))
    assert drydock.__version__ in said("-m", "drydock", "--version")
    assert "</html>" in said("-m", "drydock", "scan", "--format", "html", "host", fine=(0, 1, 2, 3))
    assert said("-m", "drydock", "schema", "scan") == (TOP / "src/drydock/schemas/scan.json").read_text()

"""What a release consists of: the file, the same as a folder, the list of what is inside, and checksums."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from release.debian import package_name
from release.sources import FIXES, PACKAGES, PYTHON, download, fetched
from tests.engines.unavailable import EngineUnavailable
from tests.release.conftest import NAME, TOP, release
from tests.support.program import ARCH

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = [pytest.mark.root, pytest.mark.slow]

_LARGEST = 18_000_000
"""Bytes of the one file: 20 MB are promised, 2 of them are kept for what comes later."""


def test_files(released: Path) -> None:
    """There are the file, the folder, the list, package and image; the checksums are of all of them, and right."""
    names = sorted(path.name for path in released.iterdir())
    deb = package_name(ARCH)
    assert names == ["SHA256SUMS", NAME, f"{NAME}.cdx.json", f"{NAME}.oci.tar", f"{NAME}.tar.gz", deb]
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=released, capture_output=True, check=True
    )
    assert checked.stdout.count(b": OK") == 5


def test_size_and_needs(released: Path) -> None:
    """The file is as small as promised, is executable, and asks for no loader and no library."""
    program = released / NAME
    assert program.stat().st_size <= _LARGEST
    assert program.stat().st_mode & 0o777 == 0o755
    shown = subprocess.run(
        ["readelf", "--program-headers", "--dynamic", program], capture_output=True, check=True
    ).stdout
    assert b"INTERP" not in shown
    assert b"no dynamic section" in shown


def test_same_as_a_folder(released: Path) -> None:
    """The archive holds the same executable, man pages, completions, and a licence for each thing that is inside."""
    with tarfile.open(released / f"{NAME}.tar.gz") as tar:
        names = tar.getnames()
        file = tar.extractfile(f"{NAME}/drydock")
        assert file is not None
        assert file.read() == (released / NAME).read_bytes()
    for path in (
        "man/man1/drydock-clean.1",
        "bash-completion/completions/drydock",
        "zsh/site-functions/_drydock",
        "fish/vendor_completions.d/drydock.fish",
    ):
        assert f"{NAME}/share/{path}" in names
    listed = json.loads((released / f"{NAME}.cdx.json").read_text())
    parts = [part["name"] for part in listed["components"]]
    assert len(parts) == 21
    for part in parts:
        assert any(name.startswith(f"{NAME}/licenses/{part}/") for name in names), part


def test_bill_of_materials(released: Path) -> None:
    """It is a valid CycloneDX document, with a version, a licence and an origin for each part."""
    text = (released / f"{NAME}.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    for part in json.loads(text)["components"]:
        assert part["version"], part
        assert part["licenses"], part
        assert part["purl"].startswith("pkg:"), part


def test_dependencies_are_pinned() -> None:
    """Each dependency of pyproject.toml, and of browse, is in the one file, at a version that it allows."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    wanted = {Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["browse"]}
    pinned = {source.name: source.version for source in PACKAGES}
    for requirement in wanted:
        if requirement.marker is None or requirement.marker.evaluate({"python_version": "3.13"}):
            assert requirement.specifier.contains(pinned.pop(requirement.name)), requirement
    # jinja2 needs markupsafe, textual two more (what reads Markdown and colours code is left out); zstd is an extra.
    assert pinned.keys() == {"backports.zstd", "markupsafe", "platformdirs", "typing-extensions"}


@pytest.mark.skipif("DRYDOCK_TEST_LONG" not in os.environ, reason="long: ./run prove runs it")
def test_twice_the_same(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second release, for which all is built anew, has the same bytes, file by file."""
    monkeypatch.setenv("DRYDOCK_ENGINES", str(tmp_path / "engines"))
    release(tmp_path / "second", "--arch", ARCH)
    assert (tmp_path / "second/SHA256SUMS").read_bytes() == (released / "SHA256SUMS").read_bytes()


def test_parts(released: Path, tmp_path: Path) -> None:
    """A part alone, of a file that is there, is the same as among all; the image of two architectures is one more."""
    release(tmp_path, "deb", "image", "--arch", ARCH, "--use", str(released))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["SHA256SUMS", f"{NAME}.oci.tar", package_name(ARCH)]
    for name in names[1:]:
        assert (tmp_path / name).read_bytes() == (released / name).read_bytes()
    both = tmp_path / "both"
    both.mkdir()
    for arch in ("aarch64", "x86_64"):
        (both / NAME.replace(ARCH, arch)).write_bytes((released / NAME).read_bytes())
    release(both, "image", "--arch", "x86_64", "--arch", "aarch64", "--use", str(both))
    with tarfile.open(both / f"{NAME.removesuffix(f'-{ARCH}')}.oci.tar") as tar:
        (top,) = json.load(tar.extractfile("index.json"))["manifests"]
        index = json.load(tar.extractfile(f"blobs/sha256/{top['digest'].removeprefix('sha256:')}"))
    assert {each["platform"]["architecture"] for each in index["manifests"]} == {"amd64", "arm64"}


def test_another_place(tmp_path: Path) -> None:
    """What the first place no longer has is taken from the next; where none has it, all are named."""
    (tmp_path / "there").write_bytes(b"bytes")
    places = ((tmp_path / "gone").as_uri(), (tmp_path / "there").as_uri())
    assert download(replace(PYTHON, places=places)) == b"bytes"
    with pytest.raises(EngineUnavailable, match=r"gone.*missing"):
        download(replace(PYTHON, places=(places[0], (tmp_path / "missing").as_uri())))


def test_fixes_of_python(released: Path) -> None:
    """The list of what is inside has a patch for each of Debian's security fixes, by the number of the fault."""
    listed = json.loads((released / f"{NAME}.cdx.json").read_text())
    (python,) = [part for part in listed["components"] if part["name"] == "python"]
    named = {issue.get("id") for patch in python["pedigree"]["patches"] for issue in patch["resolves"]}
    with tarfile.open(fetched() / FIXES.file) as tar:
        names = {Path(name).name for name in tar.getnames()}
    numbers = {number[0] for name in names if (number := re.match(r"CVE-\d+-\d+", name))}
    assert len(numbers) >= 25
    assert numbers <= named
    assert FIXES.version.replace("+", "%2B") in python["purl"]

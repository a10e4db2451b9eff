"""What the one file is made of besides drydock: each source with its version, checksum and licence, fetched once.

Debian's pool has a source package until a newer one takes its place; its archive of former days has it after that.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.engines.cache import kept
from tests.engines.suite import MIRROR
from tests.engines.unavailable import EngineUnavailable


@dataclass(frozen=True, slots=True)
class Source:
    """One source archive or wheel."""

    name: str
    version: str
    file: str
    sha256: str
    licence: str
    """An SPDX expression."""
    places: tuple[str, ...] = ()
    """URLs where it is, the first first; none for what PyPI has."""
    bundled: tuple[tuple[str, str, str], ...] = ()
    """What else lies in it and ends up in the one file: name, version, SPDX expression."""


_POOL = "pool/main/p/python3.13"
_FORMER_DAYS = "https://snapshot.debian.org/archive/debian/20261128T000000Z"

PYTHON = Source(
    "python", "3.13.5", "python3.13_3.13.5.orig.tar.xz",
    "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640", "Python-2.0.1",
    tuple(f"{place}/{_POOL}/python3.13_3.13.5.orig.tar.xz" for place in (MIRROR, _FORMER_DAYS)),
    (("expat", "2.7.1", "MIT"), ("mpdecimal", "2.5.1", "BSD-2-Clause"), ("hacl-star", "2024", "Apache-2.0")),
)  # fmt: skip
"""Of Debian 13."""

FIXES = Source(
    "python3.13", "3.13.5-2+deb13u5", "python3.13_3.13.5-2+deb13u5.debian.tar.xz",
    "a51f456e654ce2c9b40cc1db8005e5041cdb0b2c3aa96ab0871c49fe95280366", "Python-2.0.1",
    tuple(f"{place}/{_POOL}/python3.13_3.13.5-2+deb13u5.debian.tar.xz" for place in (MIRROR, _FORMER_DAYS)),
)  # fmt: skip
"""What Debian 13 has changed in it since: security fixes (``debian/patches/*.patch``), and packaging, which is left."""

PACKAGES = (
    Source(
        "backports.zstd",
        "1.8.0",
        "backports_zstd-1.8.0.tar.gz",
        "9dae4f4c481716e3db473d667457b4f508ff7459c0931b567a5c9677fb3db316",
        "PSF-2.0",
    ),
    Source(
        "click",
        "8.5.1",
        "click-8.5.1-py3-none-any.whl",
        "8bb5376d2006950386f8c6427613334a2acadc5f559cb80e638d00b4df957e37",
        "BSD-3-Clause",
    ),
    Source(
        "construct",
        "2.10.70",
        "construct-2.10.70.tar.gz",
        "4d2472f9684731e58cc9c56c463be63baa1447d674e0d66aeb5627b22f512c29",
        "MIT",
    ),
    Source(
        "jinja2",
        "3.1.6",
        "jinja2-3.1.6-py3-none-any.whl",
        "85ece4451f492d0c13c5dd7c13a64681a86afae63a5f347908daf103ce6d2f67",
        "BSD-3-Clause",
    ),
    Source(
        "markupsafe",
        "3.0.4",
        "markupsafe-3.0.4.tar.gz",
        "2e9ad7dd851bf45fab9f75cbff4cb493fee9979e8d8c7c9c3ee119022518edd6",
        "BSD-3-Clause",
    ),
    Source(
        "msgspec",
        "0.22.0",
        "msgspec-0.22.0.tar.gz",
        "0a13624a4969159fe35d8c2a3d377b2b61bbd8585e327440d5e52725affcce38",
        "BSD-3-Clause",
    ),
    Source(
        "platformdirs",
        "4.14.8",
        "platformdirs-4.14.8-py3-none-any.whl",
        "1e34af590de4d978631b751eb2202f2fee4497537a17c1720b12fcf57b331392",
        "MIT",
    ),
    Source(
        "psutil",
        "7.2.2",
        "psutil-7.2.2.tar.gz",
        "0746f5f8d406af344fd547f1c8daa5f5c33dbc293bb8d6a16d80b4bb88f59372",
        "BSD-3-Clause",
    ),
    Source(
        "pyxattr",
        "0.8.1",
        "pyxattr-0.8.1.tar.gz",
        "48c578ecf8ea0bd4351b1752470e301a90a3761c7c21f00f953dcf6d6fa6ee5a",
        "LGPL-2.1-or-later",
    ),
    Source(
        "rich",
        "15.0.0",
        "rich-15.0.0-py3-none-any.whl",
        "33bd4ef74232fb73fe9279a257718407f169c09b78a87ad3d296f548e27de0bb",
        "MIT",
    ),
    Source(
        "textual",
        "8.2.8",
        "textual-8.2.8-py3-none-any.whl",
        "267375fd402dc8d981457212efa71f0e3365fd17bba144ba9bb3ed7563cb374a",
        "MIT",
    ),
    Source(
        "tqdm",
        "4.70.1",
        "tqdm-4.70.1-py3-none-any.whl",
        "c293e525e6fef9c20e8728fd4612df02a0aa31bb5fe91ecd93e123b1b7bffa73",
        "MPL-2.0 AND MIT",
    ),
    Source(
        "typing-extensions",
        "4.16.0",
        "typing_extensions-4.16.0-py3-none-any.whl",
        "481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8",
        "PSF-2.0",
    ),
)
"""The dependencies of pyproject.toml, zstd, and Textual with what of its own dependencies drydock comes to."""


def fetched() -> Path:
    """A folder with all of them, checked.

    Raises:
        EngineUnavailable: one cannot be fetched, or is not what its checksum says.
    """
    sums = "".join(source.sha256 for source in (PYTHON, FIXES, *PACKAGES))
    return kept(f"release/sources-{hashlib.sha256(sums.encode()).hexdigest()[:16]}", _fetch)


def fixes() -> list[tuple[str, bytes]]:
    """The patches of :data:`FIXES` that are applied, in order: name, text."""
    with tarfile.open(fetched() / FIXES.file) as tar:

        def text(name: str) -> bytes:
            file = tar.extractfile(f"debian/patches/{name}")
            assert file is not None
            return file.read()

        series = text("series").decode().splitlines()
        return [(name, text(name)) for name in series if name.endswith(".patch") and not name.startswith("#")]


def members(path: Path, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[tuple[str, bytes]]:
    """The files of a source archive or wheel whose names are wanted, in order of these names: name, bytes."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            yield from ((name, wheel.read(name)) for name in sorted(wheel.namelist()) if wanted(name))
        return
    found = {}
    with tarfile.open(path) as tar:
        # In the order of the archive: to go back in a compressed one is to begin again.
        for member in tar:
            if wanted(member.name) and (file := tar.extractfile(member)) is not None:
                found[member.name] = file.read()
    yield from sorted(found.items())


def download(source: Source) -> bytes:
    """The bytes of a source that is not PyPI's, from the first of its places that has it.

    Raises:
        EngineUnavailable: no place has it.
    """
    failed = []
    for place in source.places:
        try:
            with urllib.request.urlopen(place, timeout=60) as answer:
                data: bytes = answer.read()
                return data
        except OSError as error:  # noqa: PERF203 - the next place is tried
            failed.append(f"{place}: {error}")
    raise EngineUnavailable("; ".join(failed))


def _fetch(made: Path) -> None:
    made.mkdir()
    for source in (PYTHON, FIXES):
        (made / source.file).write_bytes(download(source))
    for source in PACKAGES:
        wanted = made / "wanted.txt"
        wanted.write_text(f"{source.name}=={source.version} --hash=sha256:{source.sha256}\n")
        kind = "--only-binary" if source.file.endswith(".whl") else "--no-binary"
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", kind, ":all:",
             "--dest", str(made), "--requirement", str(wanted)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise EngineUnavailable(f"pip download {source.name}: {done.stderr.strip()[-500:]}")
        wanted.unlink()
    for source in (PYTHON, FIXES, *PACKAGES):
        if hashlib.sha256((made / source.file).read_bytes()).hexdigest() != source.sha256:
            raise EngineUnavailable(f"{source.file} is not what its checksum says")

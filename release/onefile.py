"""The one file: drydock, Python and all that they need, as a static executable for one architecture."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner
from tests.engines.cache import folder, kept

from drydock.cli import main
from release.build_root import STATIC, build_root, run_inside
from release.manual import pages
from release.sources import PACKAGES, PYTHON, Source, fetched

TOP = Path(__file__).parents[1]
_PROGRAM = Path(__file__).with_name("program")
_PYTHON_PARTS = {
    "backports.zstd": ("src/python/backports/zstd/", "backports/zstd/"),
    "construct": ("construct/", "construct/"),
    "markupsafe": ("src/markupsafe/", "markupsafe/"),
    "msgspec": ("src/msgspec/", "msgspec/"),
    "psutil": ("psutil/", "psutil/"),
}
"""Where the Python files of a source archive are, and what they are called when installed."""
_COMPLETIONS = {
    "bash": "bash-completion/completions/drydock",
    "fish": "fish/vendor_completions.d/drydock.fish",
    "zsh": "zsh/site-functions/_drydock",
}
"""Where each shell looks for a program's completion, below share/."""
_LEFT_OUT = (
    "backports/zstd/_cffi/", "backports/zstd/_shutil.py", "backports/zstd/_zstd.py", "backports/zstd/tarfile.py",
    "backports/zstd/zipfile/", "click/_winconsole.py", "click/testing.py", "psutil/_psaix.py", "psutil/_psbsd.py",
    "psutil/_psosx.py", "psutil/_pssunos.py", "psutil/_pswindows.py", "psutil/tests/",
    "rich/__main__.py", "rich/_win", "rich/jupyter_", "rich/markdown.py", "rich/syntax.py", "tqdm/__main__.py",
    "tqdm/asyncio.py", "tqdm/auto.py", "tqdm/autonotebook.py", "tqdm/cli.py", "tqdm/completion.sh", "tqdm/contrib/",
    "tqdm/dask.py", "tqdm/gui.py", "tqdm/keras.py", "tqdm/notebook.py", "tqdm/rich.py", "tqdm/tk.py", "tqdm/tqdm.1",
)  # fmt: skip
"""What packages hold for other systems, other programs or their own tests."""


def interpreter(arch: str) -> Path:
    """CPython and the C modules of packages as static libraries, built if they are not there (five to ten minutes).

    Raises:
        EngineUnavailable: what it is built with or of cannot be had here.
        BuildFailed: it does not build.
    """
    root, sources, script = build_root(arch), fetched(), _PROGRAM / "interpreter.sh"
    native = None if arch == os.uname().machine else interpreter(os.uname().machine)
    key = hashlib.sha256(script.read_bytes() + f"{sources.name} {root.name}".encode()).hexdigest()[:16]

    def make(made: Path) -> None:
        made.mkdir()
        shown = {"sources": sources, "out": made, "program": script.parent}
        if native is not None:
            shown["native"] = native
        run_inside(
            root, shown, ["sh", "/build/program/interpreter.sh", arch, "/build/native/python" if native else ""],
            made.with_name(f"python-{arch}.log"),
        )  # fmt: skip

    return kept(f"release/python-{arch}-{key}", make)


def executable(arch: str) -> bytes:
    """The one file.

    Raises:
        EngineUnavailable: what it is built with or of cannot be had here.
        BuildFailed: it does not build.
    """
    made, native = interpreter(arch), interpreter(os.uname().machine)
    with tempfile.TemporaryDirectory(prefix="drydock-onefile-") as name:
        work = Path(name)
        (work / "stage").mkdir()
        (work / "out").mkdir()
        for path, data in staged():
            target = work / "stage" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        shown = {
            "program": _PROGRAM, "python": made, "native": native, "stage": work / "stage", "out": work / "out",
        }  # fmt: skip
        run_inside(
            build_root(arch), shown, ["sh", "/build/program/link.sh", arch], folder() / f"release/link-{arch}.log"
        )
        return (work / "out/drydock").read_bytes()


def staged() -> Iterator[tuple[str, bytes]]:
    """The packages that go into it, drydock's own last: paths as installed, and bytes."""
    sources = fetched()
    yield "backports/__init__.py", b""
    for source in PACKAGES:
        for member, data in _members(sources / source.file):
            path = _installed(source, member)
            if path.endswith(".py") and not path.startswith(_LEFT_OUT):
                yield path, data
    yield "drydock/packages.json", package_versions()
    listed = subprocess.run(["git", "ls-files", "-z", "src"], cwd=TOP, capture_output=True, check=True).stdout.decode()
    for path in sorted(filter(None, listed.split("\0"))):
        if (TOP / path).exists():
            yield path.removeprefix("src/"), (TOP / path).read_bytes()


def package_versions() -> bytes:
    """What ``drydock --version --verbose`` prints of the packages: the one file has no metadata of them."""
    return json.dumps({source.name: source.version for source in PACKAGES}).encode()


def archive(arch: str, program: bytes, name: str, time: int) -> bytes:
    """The same as a folder ``name`` in a .tar.gz, with man pages, completions and the licences of all that is in it.

    Args:
        arch: what it was built for.
        program: the executable.
        name: of the folder.
        time: of all in it, seconds since 1970.
    """
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=time) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        readme = ("README.md", (TOP / "README.md").read_bytes())
        shared = {f"share/man/man1/{path}": page.encode() for path, page in pages(time).items()}
        for path, data in (("drydock", program), readme, *shared.items(), *_completions(), *_licences(arch)):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mode, entry.mtime = len(data), 0o755 if path == "drydock" else 0o644, time
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _completions() -> Iterator[tuple[str, bytes]]:
    for shell, path in _COMPLETIONS.items():
        yield f"share/{path}", CliRunner().invoke(main, ["completion", shell]).stdout_bytes


def _licences(arch: str) -> Iterator[tuple[str, bytes]]:
    yield "LICENSE", (TOP / "LICENSE").read_bytes()
    sources = fetched()
    for source in (PYTHON, *PACKAGES):
        for member, data in _members(sources / source.file):
            folder, _, base = member.rpartition("/")
            at_top = "/" not in folder or folder.endswith((".dist-info", ".dist-info/licenses"))
            if at_top and base.startswith(("LICENSE", "LICENCE", "COPYING")):
                yield f"licenses/{source.name}/{base}", data
    for package, (source_name, _) in sorted(STATIC.items()):
        text = build_root(arch) / f"usr/share/doc/{package}/copyright"
        yield f"licenses/{source_name}/copyright", text.read_bytes()


def _installed(source: Source, member: str) -> str:
    """What a member of a source archive or wheel is called when it is installed; empty where it is not."""
    if source.file.endswith(".whl"):
        return member
    before, after = _PYTHON_PARTS.get(source.name, ("", ""))
    path = member.partition("/")[2]
    return after + path.removeprefix(before) if before and path.startswith(before) else ""


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            for name in sorted(wheel.namelist()):
                yield name, wheel.read(name)
        return
    with tarfile.open(path) as tar:
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            if (file := tar.extractfile(member)) is not None and member.isfile():
                yield member.name, file.read()

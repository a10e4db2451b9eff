"""The one file: drydock, Python and all that they need, as a static executable for one architecture."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.engines.cache import folder, kept

from release.build_root import build_root, run_inside
from release.sources import FIXES, PACKAGES, PYTHON, Source, fetched, members

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
_LEFT_OUT = (
    "backports/zstd/_cffi/", "backports/zstd/_shutil.py", "backports/zstd/_zstd.py", "backports/zstd/tarfile.py",
    "backports/zstd/zipfile/", "click/_winconsole.py", "click/testing.py", "psutil/_psaix.py", "psutil/_psbsd.py",
    "psutil/_psosx.py", "psutil/_pssunos.py", "psutil/_pswindows.py", "psutil/tests/",
    "platformdirs/__main__.py", "platformdirs/android.py", "platformdirs/macos.py", "platformdirs/windows.py",
    "rich/__main__.py", "rich/_win", "rich/jupyter_", "rich/markdown.py", "rich/syntax.py",
    "textual/__main__.py", "textual/_doc.py", "textual/_import_app.py", "textual/_markup_playground.py",
    "textual/_tree_sitter.py", "textual/_win_sleep.py", "textual/demo/", "textual/document/",
    "textual/drivers/_byte_stream.py", "textual/drivers/_input_reader_windows.py", "textual/drivers/web_driver.py",
    "textual/drivers/win32.py", "textual/drivers/windows_driver.py", "textual/highlight.py",
    "textual/widgets/_markdown", "textual/widgets/markdown.py", "textual/widgets/_text_area.py",
    "textual/widgets/text_area.py", "tqdm/__main__.py",
    "tqdm/asyncio.py", "tqdm/auto.py", "tqdm/autonotebook.py", "tqdm/completion.sh", "tqdm/contrib/",
    "tqdm/dask.py", "tqdm/keras.py", "tqdm/notebook.py", "tqdm/rich.py", "tqdm/tk.py", "tqdm/tqdm.1",
)  # fmt: skip
"""What packages hold for other systems, other programs or their own tests."""
_TQDM_VERSION = "tqdm/version.py"
"""It asks the metadata of packages, which the one file does not have, and whose reader needs a parser of mail."""


def interpreter(arch: str) -> Path:
    """CPython and the C modules of packages as static libraries, built if they are not there (five to ten minutes).

    Raises:
        EngineUnavailable: what it is built with or of cannot be had here.
        BuildFailed: it does not build.
    """
    root, sources, script = build_root(arch), fetched(), _PROGRAM / "interpreter.sh"
    native = None if arch == os.uname().machine else interpreter(os.uname().machine)
    compiled = "".join(each.sha256 for each in (PYTHON, FIXES, *PACKAGES) if not each.file.endswith(".whl"))
    key = hashlib.sha256(script.read_bytes() + f"{compiled} {root.name}".encode()).hexdigest()[:16]

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
        for member, data in members(sources / source.file):
            path = _installed(source, member)
            if path == _TQDM_VERSION:
                yield path, f'__version__ = "{source.version}"\n'.encode()
            elif path.endswith(".py") and not path.startswith(_LEFT_OUT):
                yield path, data
    yield "drydock/packages.json", package_versions()
    listed = subprocess.run(["git", "ls-files", "-z", "src"], cwd=TOP, capture_output=True, check=True).stdout.decode()
    for path in sorted(filter(None, listed.split("\0"))):
        if (TOP / path).exists():
            yield path.removeprefix("src/"), (TOP / path).read_bytes()


def package_versions() -> bytes:
    """For ``drydock --version --verbose``: the one file has no metadata of packages, and Python none of fixes."""
    return json.dumps({"python": FIXES.version, **{source.name: source.version for source in PACKAGES}}).encode()


def _installed(source: Source, member: str) -> str:
    """What a member of a source archive or wheel is called when it is installed; empty where it is not."""
    if source.file.endswith(".whl"):
        return member
    before, after = _PYTHON_PARTS.get(source.name, ("", ""))
    path = member.partition("/")[2]
    return after + path.removeprefix(before) if before and path.startswith(before) else ""

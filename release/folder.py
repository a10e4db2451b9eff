"""The one file as a folder, with what belongs to it: man pages, completions, and the licences of all that is in it."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner

from drydock.cli import main
from release.build_root import STATIC, build_root
from release.manual import pages
from release.sources import PACKAGES, PYTHON, fetched, members

TOP = Path(__file__).parents[1]
_SHELLS = {
    "bash": "bash-completion/completions/drydock",
    "fish": "fish/vendor_completions.d/drydock.fish",
    "zsh": "zsh/site-functions/_drydock",
}
"""Where each shell looks for a program's completion, below share/."""


def folder_archive(arch: str, program: bytes, name: str, time: int) -> bytes:
    """A folder ``name`` in a .tar.gz.

    Args:
        arch: what the program was built for.
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
        manual = {f"share/man/man1/{path}": page.encode() for path, page in pages(time).items()}
        scripts = {f"share/{_SHELLS[shell]}": script for shell, script in completions().items()}
        for path, data in (("drydock", program), readme, *manual.items(), *scripts.items(), *licences(arch)):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mode, entry.mtime = len(data), 0o755 if path == "drydock" else 0o644, time
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def completions() -> dict[str, bytes]:
    """The completion script of each shell."""
    return {shell: CliRunner().invoke(main, ["completion", shell]).stdout_bytes for shell in _SHELLS}


def licences(arch: str) -> Iterator[tuple[str, bytes]]:
    """The licence of drydock and of all that the one file holds: path, text."""
    yield "LICENSE", (TOP / "LICENSE").read_bytes()
    sources = fetched()
    for source in (PYTHON, *PACKAGES):
        for member, data in members(sources / source.file, _is_licence):
            yield f"licenses/{source.name}/{member.rpartition('/')[2]}", data
    for package, (source_name, _) in sorted(STATIC.items()):
        text = build_root(arch) / f"usr/share/doc/{package}/copyright"
        yield f"licenses/{source_name}/copyright", text.read_bytes()


def _is_licence(member: str) -> bool:
    folder, _, base = member.rpartition("/")
    at_top = "/" not in folder or folder.endswith((".dist-info", ".dist-info/licenses"))
    return at_top and base.startswith(("LICENSE", "LICENCE", "COPYING"))

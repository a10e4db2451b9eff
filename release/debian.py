"""The Debian package: the one file where a package has it, with man pages, completions and licences."""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path

from drydock.version import __version__
from release.build_root import build_root, run_inside
from release.folder import completions, licences
from release.manual import pages

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MAINTAINER = "drydock maintainers <drydock@users.noreply.github.com>"
_SHELLS = {
    "bash": "usr/share/bash-completion/completions/drydock",
    "fish": "usr/share/fish/vendor_completions.d/drydock.fish",
    "zsh": "usr/share/zsh/vendor-completions/_drydock",
}
"""Where Debian's shells look for the completions of packages."""
_CONTROL = """\
Package: drydock
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Section: admin
Priority: optional
Description: fsck for the storage of Docker and containerd
 drydock works while Docker or containerd is stopped. It reads containerd's
 databases, compares them with the data on disk, shows what holds every byte,
 and removes what nothing references.
 .
 The program is one static executable that needs no other package, so that it
 can be copied to a host whose disk is full.
"""
_COPYRIGHT = """\
drydock {version}, under the Apache License 2.0: see
/usr/share/common-licenses/Apache-2.0.

The executable holds what is named below, each under its own licence.
"""
_OVERRIDES = """\
# It is for hosts that have no C library, or one that does not work.
drydock: statically-linked-binary [usr/bin/drydock]
# The same: a library of the host is what may be missing. sources.py and the CycloneDX document name the versions.
drydock: embedded-library * [usr/bin/drydock]
# Words in messages of Python, glibc and SQLite.
drydock: spelling-error-in-binary * [usr/bin/drydock]
"""
_CHANGES = """\
drydock ({version}) unstable; urgency=medium

  * CHANGELOG.md of drydock's source lists the changes.

 -- {maintainer}  {date}
"""
_BLOCK = 1024
"""Bytes of a unit of Installed-Size."""


def package_name(arch: str) -> str:
    """What the package is called."""
    return f"drydock_{__version__}_{_ARCHITECTURES[arch]}.deb"


def package(arch: str, program: bytes, time: int) -> bytes:
    """The package, made by the dpkg-deb of the root that the one file is built in.

    Args:
        arch: what the program was built for.
        program: the one file.
        time: of all in it, seconds since 1970.

    Raises:
        EngineUnavailable: there is no such root, and it cannot be made.
        BuildFailed: dpkg-deb failed.
    """
    files = dict(_files(arch, program, time))
    blocks = sum(-(-len(data) // _BLOCK) for data in files.values())
    control = _CONTROL.format(
        version=__version__, architecture=_ARCHITECTURES[arch], maintainer=_MAINTAINER, size=blocks
    )
    with tempfile.TemporaryDirectory(prefix="drydock-deb-") as name:
        work = Path(name)
        # Against damage, not attacks: dpkg --verify compares them.
        sums = "".join(f"{hashlib.md5(data).hexdigest()}  {path}\n" for path, data in files.items())
        _write(work / "package", {"DEBIAN/control": control.encode(), "DEBIAN/md5sums": sums.encode(), **files}, time)
        run_inside(
            build_root(os.uname().machine), {"deb": work},
            ["env", f"SOURCE_DATE_EPOCH={time}", "dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build",
             "/build/deb/package", "/build/deb/drydock.deb"],
            work / "log",
        )  # fmt: skip
        return (work / "drydock.deb").read_bytes()


def _files(arch: str, program: bytes, time: int) -> Iterator[tuple[str, bytes]]:
    yield "usr/bin/drydock", program
    for path, page in pages(time).items():
        yield f"usr/share/man/man1/{path}.gz", _compressed(page.encode())
    for shell, script in completions().items():
        yield _SHELLS[shell], script
    parts = [_COPYRIGHT.format(version=__version__).encode()]
    for path, text in licences(arch):
        if path == "LICENSE":
            continue
        parts.append(f"\n{'=' * 78}\n{path}\n{'=' * 78}\n\n".encode() + text.strip() + b"\n")
    yield "usr/share/doc/drydock/copyright", b"".join(parts)
    changes = _CHANGES.format(version=__version__, maintainer=_MAINTAINER, date=formatdate(time))
    yield "usr/share/doc/drydock/changelog.gz", _compressed(changes.encode())
    yield "usr/share/lintian/overrides/drydock", _OVERRIDES.encode()


def _compressed(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def _write(folder: Path, files: Mapping[str, bytes], time: int) -> None:
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(0o755 if path == "usr/bin/drydock" else 0o644)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (time, time))

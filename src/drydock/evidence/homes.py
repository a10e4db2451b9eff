"""Home folders of a host's users, where rootless engines keep their storage."""

from __future__ import annotations

import os
from collections.abc import Iterator

from drydock.evidence.file import read_regular
from drydock.evidence.host import Host, is_folder, names

_LARGEST = 1 << 22
_MOST = 16384
_NOWHERE = (b"/", b"/dev", b"/proc", b"/sys", b"/nonexistent")


def homes(host: Host) -> Iterator[tuple[bytes, int]]:
    """(absolute home in that host, user id), each home once.

    Those of its passwd file, and what lies in /home: the users of a directory service are in no passwd file.
    """
    seen: set[bytes] = set()
    for home, uid in (*_listed(host), *_unlisted(host)):
        if home not in seen and home.startswith(b"/") and home not in _NOWHERE:
            seen.add(home)
            yield home, uid


def _listed(host: Host) -> Iterator[tuple[bytes, int]]:
    try:
        text = read_regular(host.reach(b"/etc/passwd"), _LARGEST)
    except OSError:
        return
    for line in text.split(b"\n", _MOST)[:_MOST]:
        fields = line.split(b":")
        if len(fields) >= 7 and fields[2].isdigit() and len(fields[2]) <= 10:
            yield fields[5].rstrip(b"/"), int(fields[2])


def _unlisted(host: Host) -> Iterator[tuple[bytes, int]]:
    folder = host.folder(b"/home")
    for name in sorted(names(folder, _MOST)) if folder else ():
        path = os.path.join(folder or b"", name)
        if is_folder(path):
            yield b"/home/" + name, os.lstat(path).st_uid

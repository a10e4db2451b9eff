"""Walking a merged file system: folders before what is in them, any depth, no recursion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from drydock.model.text import shown
from drydock.recover.overlay import Merged, Overlay


@dataclass(slots=True)
class _Level:
    name: bytes
    directory: Merged
    pending: list[tuple[bytes, Merged]]


def walk(overlay: Overlay, note: Callable[[str], None]) -> Iterator[tuple[bytes, Merged]]:
    """Every entry of a merged file system with its path, the root first with an empty one.

    Args:
        overlay: what to walk. It must not be asked for anything between two entries but the entry's own bytes.
        note: told of folders that could not be listed, in one shown line.

    Raises:
        OSError: the root cannot be read.
    """
    root = overlay.root()
    yield b"", root
    levels = [_Level(b"", root, [])]
    yield from _list(overlay, levels, note)
    while levels:
        level = levels[-1]
        if not level.pending:
            levels.pop()
            overlay.leave(level.directory)
            continue
        name, directory = level.pending.pop()
        levels.append(_Level(name, directory, []))
        yield _path(levels), directory
        yield from _list(overlay, levels, note)


def _list(overlay: Overlay, levels: list[_Level], note: Callable[[str], None]) -> Iterator[tuple[bytes, Merged]]:
    """What is in the last level's folder, folders excepted: those are left pending."""
    level = levels[-1]
    path = _path(levels)
    before = path + b"/" if path else b""
    try:
        for name, merged in overlay.list(level.directory):
            if merged.folders:
                level.pending.append((name, merged))
            else:
                yield before + name, merged
    except OSError as error:
        note(f"/{shown(path)}: could not be listed: {error.strerror}; what is in it is missing")
    level.pending.reverse()


def _path(levels: list[_Level]) -> bytes:
    # Kept in no level: ten thousand of them would hold gigabytes.
    return b"/".join(level.name for level in levels[1:])

"""Walking a merged file system: folders before what is in them, any depth, no recursion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from drydock.model.text import shown
from drydock.recover.overlay import Merged, Overlay


@dataclass(slots=True)
class _Level:
    directory: Merged
    pending: list[tuple[bytes, Merged]] = field(default_factory=list)


def walk(overlay: Overlay, note: Callable[[str], None]) -> Iterator[tuple[bytes, Merged]]:
    """Every entry of a merged file system with its path, the root first with an empty one.

    Args:
        overlay: what to walk. It must not be asked for anything between two entries but the entry's own bytes.
        note: told of folders that could not be listed, in one shown line.

    Raises:
        OSError: the root cannot be read.
    """
    level = _Level(overlay.root())
    levels = [level]
    # No level has its path: ten thousand of them would hold gigabytes.
    names: list[bytes] = []
    yield b"", level.directory
    yield from _list(overlay, level, b"", note)
    while True:
        level = levels[-1]
        if level.pending:
            name, directory = level.pending.pop()
            names.append(name)
            path = b"/".join(names)
            levels.append(_Level(directory))
            yield path, directory
            yield from _list(overlay, levels[-1], path, note)
            continue
        levels.pop()
        if not levels:
            return
        names.pop()
        overlay.leave(level.directory)


def _list(overlay: Overlay, level: _Level, path: bytes, note: Callable[[str], None]) -> Iterator[tuple[bytes, Merged]]:
    """What is in one folder, folders excepted: those are left pending."""
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

"""Progress on stderr, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

    from drydock.evidence.store import Progress


@contextmanager
def show_progress() -> Iterator[Progress | None]:
    """A receiver of progress that draws one bar for what is being read; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm  # noqa: PLC0415 - not needed in a pipe

    tqdm.monitor_interval = 0  # its thread would keep evidence.crew from forking

    bar: tqdm[Any] | None = None

    def told(what: str, done: int) -> None:
        nonlocal bar
        if bar is None or bar.desc != f"{what}: ":
            if bar is not None:
                bar.close()
            bar = tqdm(desc=what, leave=False, unit_scale=True, file=sys.stderr)
        bar.update(done)

    try:
        yield told
    finally:
        if bar is not None:
            bar.close()

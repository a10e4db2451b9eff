"""Long work in a thread of its own, so that keys are answered. It can be stopped where it reports progress."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from drydock.model.errors import DrydockError, Refused
from drydock.model.progress import Progress
from drydock.report.wording import show_bytes

_BYTES: Final = "bytes "


class Stopped(Refused):
    """The user stopped the work."""


class Work:
    """One piece of work. A receiver of progress."""

    def __init__(self, name: str, do: Callable[[Progress], Any], tell: Callable[[Work], None]) -> None:
        """Begin it.

        Args:
            name: for the user.
            do: the work; it calls its argument with its progress.
            tell: called in the thread of the work when it has ended.
        """
        self.name = name
        self.result: Any = None
        self.error: DrydockError | None = None
        self.bug: BaseException | None = None
        self._do = do
        self._tell = tell
        self._task: tuple[str, int | None] = (name, None)
        self._done = 0
        self._stops = False
        self._lock = threading.Lock()
        # Nothing waits for it when the program ends.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __call__(self, what: str, done: int, total: int | None = None) -> None:
        """``done`` more of the task ``what`` is done (:class:`drydock.model.progress.Progress`).

        Raises:
            Stopped: the user stopped the work.
        """
        with self._lock:
            if self._task != (what, total):
                self._task, self._done = (what, total), 0
            self._done += done
        if self._stops:
            raise Stopped(f"{self.name}: stopped")

    def stop(self, seconds: float = 0) -> None:
        """Have it end where it next reports progress, and wait for that at most this long."""
        self._stops = True
        self._thread.join(seconds)

    def text(self) -> str:
        """What it is at, on one line."""
        with self._lock:
            (what, total), done = self._task, self._done
        amount = show_bytes(done) if what.startswith(_BYTES) else f"{done:,}"
        whole = "" if total is None else f" of {show_bytes(total) if what.startswith(_BYTES) else f'{total:,}'}"
        share = "" if not total else f" ({100 * min(done, total) // total} %)"
        return f"{what} ..." if not done else f"{what}: {amount}{whole}{share}"

    def _run(self) -> None:
        try:
            self.result = self._do(self)
        except DrydockError as error:
            self.error = error
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            self.bug = error
        self._tell(self)

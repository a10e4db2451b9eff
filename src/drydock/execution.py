"""Carrying out plans: locks as a writer, one run a root, and what to know where it is interrupted."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, TypeVar

from drydock.evidence.containerd.store import Held
from drydock.model.errors import DrydockError
from drydock.model.names import RawPath
from drydock.model.progress import Progress
from drydock.model.roots import Root
from drydock.model.text import shown
from drydock.reclaim.guard import refuse_if_used
from drydock.reclaim.state_dir import find_unfinished, places_with

if TYPE_CHECKING:
    from drydock.model.plans import Plan
    from drydock.model.runs import Run
    from drydock.model.store import Store

_Held = TypeVar("_Held")


def hold_unused(stack: ExitStack, root: Root, holding: AbstractContextManager[_Held]) -> _Held:
    """Enter what takes a root's locks as a writer, with nothing that uses the root before it or after.

    Raises:
        Refused: an engine, a shim or a mount uses it.
    """
    refuse_if_used(root)
    held = stack.enter_context(holding)
    # Something may have started since the first look; from here on the locks keep containerd itself out.
    refuse_if_used(root)
    return held


def carry_out(
    parts: Iterable[tuple[Plan, Held, Store]],
    *,
    state: RawPath | None = None,
    quarantine: RawPath | None = None,
    progress: Progress | None = None,
) -> list[Run]:
    """Carry out the plans of several roots, each with its databases held exclusively, and with what it was made of.

    Returns:
        One run for each plan that is not empty. What goes wrong before anything was changed is raised for the first,
        and a warning of its run for the others.

    Raises:
        KeyboardInterrupt: with the journals of what was begun.
    """
    from drydock.model.runs import Run  # noqa: PLC0415 - a scan must start fast
    from drydock.reclaim.execute import execute  # noqa: PLC0415 - a scan must not load what changes a store
    from drydock.reclaim.plan_file import plan_hash  # noqa: PLC0415 - a scan must start fast

    runs: list[Run] = []
    for made, held, store in parts:
        if made.is_empty:
            continue
        mark = plan_hash(made)
        try:
            run = execute(made, held, store, plan_hash=mark, state=state, quarantine=quarantine, progress=progress)
        except DrydockError as error:
            if not runs:
                raise
            # Of the roots before, something was changed: that must be told.
            run = Run(made.root, None, "", warnings=[f"nothing was done: {error}"])
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_what_is_left(made.root, state, runs)) from None
        runs.append(run)
    return runs


def _what_is_left(root: RawPath, state: RawPath | None, runs: Iterable[Run]) -> str:
    """What to know of a run that was interrupted, on one shown line; empty where nothing was begun."""
    ended = [run.journal for run in runs if run.journal is not None]
    begun = [journal.path for journal in find_unfinished(root, places_with(state))[-1:]]
    said = [f"journal: {shown(path)}" for path in (*ended, *begun)]
    return "; ".join(
        [*said, "drydock clean --apply, with the options it had, finishes what was begun"] if begun else said
    )

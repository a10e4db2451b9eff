"""One module for each command: what it does to a place, as a function with types."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drydock.commands import (
        apply,
        bolt,
        browse,
        explain,
        export,
        listing,
        plan,
        pulls,
        repair,
        runs,
        scan,
        undo,
        verify,
    )

__all__ = [
    "apply",
    "bolt",
    "browse",
    "explain",
    "export",
    "listing",
    "plan",
    "pulls",
    "repair",
    "runs",
    "scan",
    "undo",
    "verify",
]


if not TYPE_CHECKING:  # a checker would take every name for one that is there

    def __getattr__(name: str) -> ModuleType:
        """A module of this package, loaded when a command first uses it: help and completion need none."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module(f"{__name__}.{name}")

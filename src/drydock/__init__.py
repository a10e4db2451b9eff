"""fsck for container storage: what is there, why, and what can go.

The commands as functions (docs/library.md); each is loaded when it is first asked for, so that a start stays fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drydock.pipeline import apply, clean, explain, plan, pulls, read_plans, request, scan, undo
    from drydock.recovery import repair, verify

__version__ = "0.1.0.dev0"

__all__ = ["apply", "clean", "explain", "plan", "pulls", "read_plans", "repair", "request", "scan", "undo", "verify"]
_RECOVERY = ("repair", "verify")


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each of the functions has its own type
    if name not in __all__:
        raise AttributeError(f"module 'drydock' has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - a start without it is faster

    return getattr(importlib.import_module("drydock.recovery" if name in _RECOVERY else "drydock.pipeline"), name)

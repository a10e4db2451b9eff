"""fsck for container storage: what is there, why, and what can go.

The commands as functions (docs/library.md); each is loaded when it is first asked for, so that a start stays fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drydock.pipeline import explain, pulls, scan
    from drydock.recovery import repair, verify
    from drydock.removal import apply, clean, plan, read_plans, request, undo
    from drydock.takeout import diff_container, export_container, export_image, ls
    from drydock.version import __version__

__all__ = [
    "__version__",
    "apply",
    "clean",
    "diff_container",
    "explain",
    "export_container",
    "export_image",
    "ls",
    "plan",
    "pulls",
    "read_plans",
    "repair",
    "request",
    "scan",
    "undo",
    "verify",
]
_HOMES = {
    "__version__": "drydock.version",
    **dict.fromkeys(("diff_container", "export_container", "export_image", "ls"), "drydock.takeout"),
    **dict.fromkeys(("repair", "verify"), "drydock.recovery"),
    **dict.fromkeys(("apply", "clean", "plan", "read_plans", "request", "undo"), "drydock.removal"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each of the functions has its own type
    if name not in __all__:
        raise AttributeError(f"module 'drydock' has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - a start without it is faster

    return getattr(importlib.import_module(_HOMES.get(name, "drydock.pipeline")), name)

"""Documents, tables, pages and texts about values of the model; nothing here reads a store."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drydock.report import (
        bolt,
        comparison,
        comparison_page,
        csv,
        document,
        explanation,
        fleet,
        fleet_sql,
        listing,
        markdown,
        page,
        parquet,
        plan_text,
        prometheus,
        pulls,
        repair,
        rows,
        runs,
        scan_files,
        table,
        terminal,
        tree,
        verification,
        wording,
    )

__all__ = [
    "bolt",
    "comparison",
    "comparison_page",
    "csv",
    "document",
    "explanation",
    "fleet",
    "fleet_sql",
    "listing",
    "markdown",
    "page",
    "parquet",
    "plan_text",
    "prometheus",
    "pulls",
    "repair",
    "rows",
    "runs",
    "scan_files",
    "table",
    "terminal",
    "tree",
    "verification",
    "wording",
]


if not TYPE_CHECKING:  # a type checker would accept every name

    def __getattr__(name: str) -> ModuleType:
        """A module of this package, loaded at its first use: a scan loads only the format that it prints."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module(f"{__name__}.{name}")

"""Verdicts made into documents, tables and text. Knows only values."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drydock.report import (
        bolt,
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
        table,
        tree,
        verification,
        wording,
    )

__all__ = [
    "bolt",
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
    "table",
    "tree",
    "verification",
    "wording",
]


if not TYPE_CHECKING:  # a checker would take every name for one that is there

    def __getattr__(name: str) -> ModuleType:
        """A module of this package, loaded when it is first used: a scan loads the one format that it prints."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module(f"{__name__}.{name}")

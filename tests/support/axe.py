"""axe-core, which finds in a page what keeps people out of it; a package of PyPI brings it, so npm is not needed."""

from __future__ import annotations

from importlib.resources import files
from typing import Any


def axe_script() -> str:
    """The script that defines ``axe`` in a page."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def violations(page: Any) -> list[str]:
    """What axe finds in an opened page as it is now: how serious, which rule, and where."""
    page.evaluate(f"{axe_script()}\n;undefined")
    return listed(page.evaluate("axe.run(document)"))


def listed(found: dict[str, Any]) -> list[str]:
    """Each violation of what ``axe.run`` gave, in a line; a run that checked hardly anything fails."""
    assert len(found["passes"]) > 5
    return [
        f"{each['impact']} {each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]

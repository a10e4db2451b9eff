"""Write docs/findings.md anew, from the registry of findings: ``python -m tests.docs``."""

from pathlib import Path

from tests.docs.findings_page import findings_page

Path(__file__).parents[2].joinpath("docs/findings.md").write_text(findings_page(), encoding="utf-8")

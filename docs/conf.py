"""The documentation as a site: ``./run docs``. Sphinx, because it is as old as Read the Docs and has the most keepers.

furo needs nothing from a network when it is read: its fonts are those of the system, and its search is a script in the
site. MkDocs Material is in maintenance, and Zensical, its successor, has no release that others build on yet.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from drydock.version import __version__

project = "drydock"
release = __version__
html_title = f"drydock {__version__}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
# A hyphen of an option stays a hyphen.
smartquotes = False
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["print.css"]
html_copy_source = False
html_show_copyright = False
# Headings have the anchors that GitHub gives them, so that a link works in both.
myst_heading_anchors = 4
autodoc_typehints = "description"
autodoc_member_order = "bysource"
suppress_warnings = [
    "misc.highlighting_failure",  # json.md has documents with the names of fields alone
    "ref.python",  # several classes have an attribute "bytes", like the type
]


def setup(app: Sphinx) -> None:
    """What the theme leaves out, for those who hear the pages or have no mouse."""
    app.connect("build-finished", _complete)


def _complete(app: Sphinx, error: Exception | None) -> None:
    """Say which level the captions of the side bar have, and let the keyboard come to blocks that scroll."""
    if error is None and app.builder.name == "html":
        for page in Path(app.outdir).glob("*.html"):
            text = page.read_text(encoding="utf-8")
            text = text.replace('role="heading"', 'role="heading" aria-level="2"').replace(
                "<pre>", '<pre tabindex="0">'
            )
            page.write_text(text, encoding="utf-8")

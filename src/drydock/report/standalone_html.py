"""Pages that need nothing else: text, data, style and scripts in one file.

No shown text is trusted: Jinja2 escapes text, data is JSON in which no markup can begin, scripts set text and never
markup, and a policy in the page allows its own style and script by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


def render_file(template: str, styles: Sequence[str], scripts: Sequence[str], **values: object) -> str:
    """A page.

    Args:
        template: path of the template below this package; it uses ``style``, ``script`` and ``policy``.
        styles: paths of style sheets below this package, beside the one of all pages.
        scripts: paths of scripts below this package; they run as one script, in this order.
        values: other values that the template uses.
    """
    # Not PackageLoader: it looks for folders, and in the one file there are none.
    environment = Environment(
        loader=FunctionLoader(_read), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    style = "\n".join(map(_read, ("look.css", *styles)))
    own = "\n".join(map(_read, scripts))
    script = f'(() => {{\n"use strict";\n{own}}})();\n'
    return environment.get_template(template).render(
        **values,
        # Both are files of this package without "</".
        style=Markup(style),  # noqa: S704 - the same
        script=Markup(script),  # noqa: S704 - the same
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
    )


def _read(name: str) -> str:
    return files("drydock.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

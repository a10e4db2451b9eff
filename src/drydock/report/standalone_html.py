"""Pages that need nothing else: text, data, style and scripts in one file.

Nothing that is shown is trusted: text goes through Jinja2's escaping, data is JSON in which no markup can begin,
scripts set text and never markup, and a policy in the page allows its own style and script by their hashes and nothing
else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render_file(template: str, styles: Sequence[str], scripts: Sequence[str], **values: object) -> str:
    """A page.

    Args:
        template: its path below this package; it puts in ``style``, ``script`` and ``policy``.
        styles: the same, of style sheets; after them all pages look alike.
        scripts: the same; they run as one, in their order.
        values: what else the template puts in.
    """
    environment = Environment(
        loader=PackageLoader("drydock", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    style = "\n".join(map(_read, ("look.css", *styles)))
    own = "\n".join(map(_read, scripts))
    script = f'(() => {{\n"use strict";\n{own}}})();\n'
    return environment.get_template(template).render(
        **values,
        # Both are this package's own files, and hold no "</".
        style=Markup(style),  # noqa: S704 - the same
        script=Markup(script),  # noqa: S704 - the same
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
    )


def _read(name: str) -> str:
    return files("drydock.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

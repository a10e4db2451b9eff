"""docs/findings.md, from the registry of findings."""

from __future__ import annotations

from textwrap import wrap
from typing import Final

from drydock.model.guidance import GUIDANCE
from drydock.model.messages import texts_of

_HEAD: Final = """\
# Findings

A finding is something that drydock noticed in the files of an engine. It has a code, a severity, and the place where it
was seen: the file, and where it applies the page, the offset and the bucket. There are three severities:

- *damage*: an engine will fail on it, or reports something that is not true. The exit status includes 2.
- *blind*: drydock could not read or understand something, and so keeps everything that may depend on it. The exit
  status includes 8. Damage that makes drydock keep something adds 8 as well.
- *note*: worth knowing. The exit status is not affected.

Where a section lists messages, the words in braces stand for names, paths and numbers.
"""


def findings_page() -> str:
    """The text of docs/findings.md: an index of all codes, then a section for each."""
    codes = sorted(code for group in GUIDANCE.values() for code in group)
    lines = [*_HEAD.split("\n"), *_wrapped(" · ".join(f"[{code}](#{code})" for code in codes))]
    for subject, group in GUIDANCE.items():
        lines += ["", f"## {subject}"]
        for code, guidance in group.items():
            lines += ["", f"### {code}", ""]
            severities = " or ".join(f"*{severity.name.lower()}*" for severity in code.severities)
            lines += _wrapped(f"{severities.capitalize()}. {guidance.meaning}")
            more = f"See [{guidance.page.removesuffix('.md')}]({guidance.page})." if guidance.page else ""
            if guidance.to_do or more:
                to_do = f"What to do: {guidance.to_do}" if guidance.to_do else ""
                lines += ["", *_wrapped(" ".join(filter(None, (to_do, more))))]
            texts = [f"- `{text}`" for text in texts_of(code) if "{problem}" not in text]
            lines += ["", "Messages:", "", *texts] if texts else []
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    return wrap(text, 120, break_long_words=False, break_on_hyphens=False)

"""The JSON Schemas of all documents, generated from their declarations.

The package has them as files, ``schemas/NAME.json``, because ``drydock schema`` prints them without loading the
declarations. ``python -m tests.schemas`` writes these files.
"""

from __future__ import annotations

import json
from typing import Final

from msgspec import Struct

from drydock.model.documents.common import json_schema
from drydock.model.documents.plan import PlanDocument

DOCUMENTS: Final[dict[str, tuple[str, tuple[type[Struct], ...]]]] = {
    "plan": ("What drydock plan writes: a field that is not named here is refused.", (PlanDocument,)),
}
"""Title and structs by name; of several structs a document, or a line of it, is one."""


def schema_text(name: str) -> str:
    """The JSON Schema of a document as the package has it."""
    title, kinds = DOCUMENTS[name]
    return json.dumps(json_schema(name, title, *kinds), indent=1, ensure_ascii=False) + "\n"

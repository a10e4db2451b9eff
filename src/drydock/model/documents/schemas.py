"""The JSON Schemas of all documents, generated from their declarations.

The package has them as files, ``schemas/NAME.json``, because ``drydock schema`` prints them without loading the
declarations. ``python -m tests.schemas`` writes these files.
"""

from __future__ import annotations

import json
from typing import Final, get_args

from msgspec import Struct

from drydock.model.documents.common import json_schema
from drydock.model.documents.compare import CompareDocument
from drydock.model.documents.explain import ExplainDocument
from drydock.model.documents.fleet import FleetDocument
from drydock.model.documents.journal import JournalLine
from drydock.model.documents.ls import DiffDocument, ListDocument
from drydock.model.documents.plan import PlanDocument
from drydock.model.documents.pulls import PullsDocument
from drydock.model.documents.repair import RepairDocument
from drydock.model.documents.runs import RunsDocument
from drydock.model.documents.scan import ScanDocument
from drydock.model.documents.verify import VerifyDocument

DOCUMENTS: Final[dict[str, tuple[str, tuple[type[Struct], ...]]]] = {
    "scan": ("What drydock scan --format json prints. Fields may be added.", (ScanDocument,)),
    "plan": ("What drydock plan writes: a field that is not named here is refused.", (PlanDocument,)),
    "journal": (
        "One line of a journal: a field that is not named here is refused.",
        get_args(JournalLine),
    ),
    "explain": ("What drydock explain --format json prints. Fields may be added.", (ExplainDocument,)),
    "pulls": ("What drydock pulls --format json prints. Fields may be added.", (PullsDocument,)),
    "verify": ("What drydock verify --format json prints. Fields may be added.", (VerifyDocument,)),
    "repair": ("What drydock repair --format json prints. Fields may be added, except in plans.", (RepairDocument,)),
    "ls": ("What drydock ls --format json prints. Fields may be added.", (ListDocument,)),
    "diff": ("What drydock diff container --format json prints. Fields may be added.", (DiffDocument,)),
    "runs": ("What drydock runs --format json prints. Fields may be added.", (RunsDocument,)),
    "compare": ("What drydock compare --format json prints. Fields may be added.", (CompareDocument,)),
    "fleet": ("What drydock fleet --format json prints. Fields may be added.", (FleetDocument,)),
}
"""Title and structs by name; of several structs a document, or a line of it, is one."""


def schema_text(name: str) -> str:
    """The JSON Schema of a document as the package has it."""
    title, kinds = DOCUMENTS[name]
    return json.dumps(json_schema(name, title, *kinds), indent=1, ensure_ascii=False) + "\n"

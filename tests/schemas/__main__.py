"""Write the JSON Schemas that the package has anew, from the declared documents: ``python -m tests.schemas``."""

from pathlib import Path

import drydock
from drydock.model.documents.schemas import DOCUMENTS, schema_text

for name in DOCUMENTS:
    Path(drydock.__file__).with_name("schemas").joinpath(f"{name}.json").write_text(schema_text(name), encoding="utf-8")

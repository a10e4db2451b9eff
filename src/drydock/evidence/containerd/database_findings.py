"""The findings about the pages of an open database."""

from __future__ import annotations

from collections.abc import Iterable

from bbolt_reader import Damage, Database
from drydock.model import messages
from drydock.model.findings import Finding, Place, Severity
from drydock.model.names import RawPath


def database_findings(database: Database, path: RawPath, damages: Iterable[Damage]) -> list[Finding]:
    """What is wrong with an open database, and that it was rebuilt.

    Args:
        database: the open file.
        path: its name in findings.
        damages: what :func:`bbolt_reader.verify.verify` finds in it.
    """
    found: list[Finding] = []
    if database.meta.is_rebuilt:
        place = Place(path, database.meta.index, database.meta.offset)
        found.append(messages.REBUILT_DATABASE(file=path).at(place))
    found.extend(
        messages.bolt_damage(damage.code)(
            file=path, page="" if damage.page is None else f" page {damage.page}", problem=damage.message
        ).at(
            Place(path, damage.page, damage.offset),
            # The lost meta may have been the newer one: then the data of its transaction looks unnamed.
            severity=Severity.DAMAGE if damage.severe else Severity.BLIND,
        )
        for damage in damages
    )
    return found

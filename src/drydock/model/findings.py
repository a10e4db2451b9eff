"""Findings: damage and blind spots in the evidence, as data with the place where each was seen."""

from __future__ import annotations

import enum
from typing import NamedTuple

from drydock.model.names import RawPath


class Severity(enum.IntEnum):
    """How much a finding matters."""

    NOTE = 10
    """Worth knowing; nothing is wrong."""
    BLIND = 20
    """Something could not be read or understood: what might depend on it is withheld."""
    DAMAGE = 30
    """The engine will fail on it, or lies about it."""


class Place(NamedTuple):
    """Where in the evidence a statement was read."""

    file: RawPath
    page: int | None = None
    offset: int | None = None
    bucket: tuple[bytes, ...] = ()


class Finding(NamedTuple):
    """One statement about the evidence."""

    code: str
    """A short word of docs/findings.md, the same for every finding of its kind."""
    severity: Severity
    message: str
    """One line, ready to show: raw names in it have been through :func:`drydock.model.text.shown`."""
    place: Place
    subject: str = ""
    """The shown id of the object it is about; empty where it is about a whole file."""
    remedy: str = ""
    """What to run or do next; empty where there is nothing to do."""

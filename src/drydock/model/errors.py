"""The one exception root: an exception means drydock cannot go on; damage in the evidence is a Finding instead."""

from __future__ import annotations

from typing import ClassVar


class DrydockError(Exception):
    """Root of every exception drydock raises; the message is one line, ready for stderr."""

    exit_code: ClassVar[int] = 8
    """Exit status of the command that ends with this error (README.md, exit status)."""


class EvidenceUnreadable(DrydockError):
    """What was asked about is not there, is not a store, or cannot be read at all."""

    exit_code = 8


class ActionFailed(DrydockError):
    """Something that was to be changed could not be."""

    exit_code = 4


class DiskFull(ActionFailed):
    """There was no room for it; nothing was changed."""


class Usage(DrydockError):
    """The words of a call do not fit together."""

    exit_code = 16


class Refused(DrydockError):
    """Going on could hurt: an engine runs, a lock is held, a plan is stale. Names what to stop and how."""

    exit_code = 32


class InUse(Refused):
    """Another process has a lock that is needed, as an engine does for as long as it runs."""

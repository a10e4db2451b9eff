"""The exceptions of drydock: one means that drydock cannot go on. Damage in the evidence is a Finding instead."""

from __future__ import annotations

from typing import ClassVar


class DrydockError(Exception):
    """Root of every exception drydock raises; the message is one line, ready for stderr."""

    exit_code: ClassVar[int] = 8
    """Exit status of the command that ends with this error (README.md, exit status)."""


class EvidenceUnreadable(DrydockError):
    """The subject of the command does not exist, is not a store, or cannot be read at all."""

    exit_code = 8


class ActionFailed(DrydockError):
    """A change could not be made."""

    exit_code = 4


class DiskFull(ActionFailed):
    """The disk has no room for the change; nothing was changed."""


class Usage(DrydockError):
    """The arguments of a command or a function are wrong, or contradict each other."""

    exit_code = 16


class Refused(DrydockError):
    """Going on may do harm: an engine runs, a lock is held, a plan is stale. The message names what to stop and how."""

    exit_code = 32


class InUse(Refused):
    """Another process holds a lock that the command needs, as an engine does while it runs."""

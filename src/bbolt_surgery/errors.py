"""Why an edit was not made: one root, and for each error what the file holds now."""

from __future__ import annotations


class SurgeryError(Exception):
    """Root of every exception of this package; ``str`` of it is one line without control characters.

    Raised itself where the descriptor cannot be used: the file is as it was.

    Attributes:
        message: what is wrong.
        file: the name the caller gave, as raw bytes (not part of the message).
    """

    def __init__(self, message: str, *, file: bytes = b"") -> None:
        self.message = message
        self.file = file
        super().__init__(message)


class Damaged(SurgeryError):
    """The database is not sound, or cannot be read: its cause, a bbolt_reader.BoltError, has the place.

    Nothing was written.
    """


class Moved(SurgeryError):
    """The database is not the one the receipt left: someone else committed since. Nothing was written."""


class NotCommitted(SurgeryError):
    """Writing failed before the commit was in force, or it was taken back: the database holds what it held before.

    Attributes:
        errno: what the system reported; 0 where the file changed under the edit.
    """

    def __init__(self, message: str, *, file: bytes = b"", errno: int = 0) -> None:
        super().__init__(message, file=file)
        self.errno = errno


class Uncertain(SurgeryError):
    """The system would neither sync the commit nor let it be taken back.

    The database holds the contents before the edit or those after it, whole either way; which, the next reading tells.

    Attributes:
        errno: what the system reported first.
    """

    def __init__(self, message: str, *, file: bytes = b"", errno: int = 0) -> None:
        super().__init__(message, file=file)
        self.errno = errno


class Unfit(SurgeryError):
    """A key, a value or the depth of what is to be put in is more than a bbolt file can hold. Nothing was written."""


class NotWritten(SurgeryError):
    """A new file was not made: its name is taken, or writing failed. Nothing was left behind.

    Attributes:
        errno: what the system reported; 0 where something else is wrong.
    """

    def __init__(self, message: str, *, file: bytes = b"", errno: int = 0) -> None:
        super().__init__(message, file=file)
        self.errno = errno

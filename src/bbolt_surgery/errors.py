"""Why an edit failed: one base class, and for each error the state of the file."""

from __future__ import annotations


class SurgeryError(Exception):
    """The base class of every exception of this package; its ``str`` is one line without control characters.

    It is raised itself if the descriptor cannot be used: the file is unchanged.

    Attributes:
        message: the problem.
        file: the name from the caller, as raw bytes; not part of the message.
    """

    def __init__(self, message: str, *, file: bytes = b"") -> None:
        self.message = message
        self.file = file
        super().__init__(message)


class Damaged(SurgeryError):
    """The database is not sound, or cannot be read; its cause, a bbolt_reader.BoltError, has the place.

    Nothing was written.
    """


class Moved(SurgeryError):
    """The database has another commit since that of the receipt. Nothing was written."""


class NotCommitted(SurgeryError):
    """Writing failed before the commit was in force, or the commit was taken back: the database has its old contents.

    Attributes:
        errno: the error of the system; 0 if another program changed the file meanwhile.
    """

    def __init__(self, message: str, *, file: bytes = b"", errno: int = 0) -> None:
        super().__init__(message, file=file)
        self.errno = errno


class Uncertain(SurgeryError):
    """The system would neither sync the commit nor let it be taken back.

    The database has its old contents or the new ones, and is sound in both cases; the next reading tells which.

    Attributes:
        errno: the first error of the system.
    """

    def __init__(self, message: str, *, file: bytes = b"", errno: int = 0) -> None:
        super().__init__(message, file=file)
        self.errno = errno


class Unfit(SurgeryError):
    """A bbolt file cannot have a key, a value or a depth of buckets to put in. Nothing was written."""


class NotWritten(SurgeryError):
    """A new file was not made, because its name is taken or writing failed. Nothing was left behind.

    Attributes:
        errno: the error of the system; 0 for another problem.
    """

    def __init__(self, message: str, *, file: bytes = b"", errno: int = 0) -> None:
        super().__init__(message, file=file)
        self.errno = errno

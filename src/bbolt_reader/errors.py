"""Why a bbolt file cannot be read: one base class, and the place of the problem."""

from __future__ import annotations


class BoltError(Exception):
    """The base class of every exception of this package; its ``str`` is one line without control characters.

    Attributes:
        message: the problem, without its place.
        file: the name that the file was opened under, as raw bytes; not part of the message.
        page: the page with the problem; None if it concerns the whole file.
        offset: the byte of the file with the problem, or None.
    """

    def __init__(self, message: str, *, file: bytes = b"", page: int | None = None, offset: int | None = None) -> None:
        self.message = message
        self.file = file
        self.page = page
        self.offset = offset
        place = "" if page is None else f"page {page}"
        if offset is not None:
            place += f"{', ' if place else ''}offset {offset:#x}"
        super().__init__(f"{place}: {message}" if place else message)


class Unreadable(BoltError):
    """The operating system reports an error, or the file is no regular file."""


class NotBolt(BoltError):
    """Neither meta is valid: it is no bbolt file, or one that lost both."""


class Truncated(BoltError):
    """A page, or a part of it, is behind the end of the file."""


class Corrupt(BoltError):
    """The file has bytes that no bbolt writes: reading on would mean guessing."""

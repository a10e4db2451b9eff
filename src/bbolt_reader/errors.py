"""What can keep a bbolt file from being read: one root, and always the place."""

from __future__ import annotations


class BoltError(Exception):
    """Root of every exception of this package; ``str`` of it is one line without control characters.

    Attributes:
        message: what is wrong, without the place.
        file: the name the file was opened under, as raw bytes (not part of the message).
        page: the page it was seen on, or None where it is about the whole file.
        offset: the byte of the file it was seen at, or None.
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
    """The operating system would not give the bytes, or the file is no regular file."""


class NotBolt(BoltError):
    """Neither meta page is valid: not a bbolt file, or one that lost both."""


class Truncated(BoltError):
    """A page lies, wholly or in part, behind the end of the file."""


class Corrupt(BoltError):
    """Bytes that no bbolt writes: going on would mean guessing."""

"""A file in memory, and how much of it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bbolt_reader.source import Source

NAME = b"fuzzed.db"


class Counting(Source):
    """A source that counts the bytes it gives.

    Attributes:
        given: bytes, so far.
    """

    __slots__ = ("given",)

    def __init__(self, fd: int) -> None:
        self.given = 0
        super().__init__(fd, NAME, owned=False, mapped=False)

    def read(self, offset: int, length: int, page: int | None = None) -> bytes:
        """Read and count."""
        self.given += length
        return super().read(offset, length, page)


@contextmanager
def held(data: bytes) -> Iterator[int]:
    """A descriptor of a file with these bytes."""
    fd = os.memfd_create("fuzzed")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


def contents(fd: int) -> bytes:
    """All bytes of the file."""
    return os.pread(fd, os.fstat(fd).st_size, 0)

"""One open bbolt file."""

from __future__ import annotations

import copy
import os
from types import TracebackType
from typing import final

from bbolt_reader.bucket import Bucket
from bbolt_reader.errors import NotBolt, Truncated
from bbolt_reader.meta import Meta, choose, read_metas
from bbolt_reader.page import HEADER, Page, formats
from bbolt_reader.source import READ_LIMIT, Source
from bbolt_reader.tree import Tree


@final
class Database:
    """A bbolt file in the state of its newest valid meta. Takes no lock: that is up to the caller.

    Attributes:
        metas: both metas, valid or not.
        meta: the one in use.
        page_size: in bytes, 1 KiB to 16 MiB.
        size: of the file, in bytes.
        name: of the file in errors.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.metas = read_metas(source)
        self.meta = choose(self.metas)
        self.page_size = self.meta.page_size
        self.size = source.size
        self.name = source.name
        self.root = self.root_of(self.meta)

    @classmethod
    def open(cls, path: bytes | str | os.PathLike[str] | os.PathLike[bytes], *, mapped: bool = True) -> Database:
        """Open a file by its name, read-only.

        Args:
            path: its name; a link is followed.
            mapped: False if others may write to the file or shorten it meanwhile; see Source.

        Raises:
            Unreadable: it cannot be opened or read.
            NotBolt: neither of its metas is valid.
        """
        source = Source.open(os.fsencode(path), mapped=mapped)
        try:
            return cls(source)
        except BaseException:
            source.close()
            raise

    @classmethod
    def from_fd(cls, fd: int, name: bytes, *, mapped: bool = True, bounded: bool = False) -> Database:
        """Read a file that is open already, and stays so when this database is closed.

        Args:
            fd: a descriptor that can be read.
            name: of the file in errors.
            mapped: as for :meth:`open`.
            bounded: keep the mapping small, whatever the file's size; see Source.

        Raises:
            Unreadable: it cannot be read.
            NotBolt: neither of its metas is valid.
        """
        return cls(Source(fd, name, owned=False, mapped=mapped, bounded=bounded))

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; its buckets cannot be read any more."""
        self.source.close()

    def release(self) -> None:
        """Give back the memory that reading took. The file stays open, and in the page cache."""
        self.root.tree.forget()
        self.source.release()

    def root_of(self, meta: Meta) -> Bucket:
        """The root bucket in the state of one of the metas, also of the older one.

        Raises:
            NotBolt: the meta is not valid.
        """
        if not meta.valid:
            raise NotBolt(meta.reason, file=self.name, page=meta.index, offset=meta.offset)
        rest = meta.sequence.to_bytes(8, "little")
        return Bucket(Tree(self.source, meta), None, b"", 0, meta.root, rest, meta.offset + 2 * HEADER)

    def as_of(self, meta: Meta) -> Database:
        """The same open file in the state of another meta: the older one, or one of a commit whose pages still exist.

        Raises:
            NotBolt: the meta is not valid.
        """
        other = copy.copy(self)
        other.meta, other.root = meta, self.root_of(meta)
        return other

    @property
    def pages(self) -> int:
        """How many whole pages the file has; at least as many as the high-water mark of its meta, if it is complete."""
        return self.size // self.page_size

    def page(self, pgid: int, *, whole: bool = True) -> Page:
        """The page at a position, whatever its header says.

        Args:
            pgid: 0 to ``pages - 1``.
            whole: read its overflow too, if that is in the file.

        Raises:
            Truncated: the file has no such page.
            Unreadable: the file cannot be read.
        """
        if not 0 <= pgid < self.pages:
            raise Truncated(f"there is no page {pgid}: the file has {self.pages} pages", file=self.name)
        offset = pgid * self.page_size
        data = self.source.read(offset, self.page_size, pgid)
        header = formats().header.unpack_from(data)
        overflow = header[3]
        length = (overflow + 1) * self.page_size
        if whole and overflow and offset + length <= self.size and length <= READ_LIMIT:
            data += self.source.read(offset + len(data), length - len(data), pgid)
        return Page(pgid, offset, header, data)

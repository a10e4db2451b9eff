"""The files of the content store: committed blobs, and ingests, which are downloads in progress.

Source: containerd plugins/content/local/store.go, writer.go (v2.1).
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter

from drydock.evidence.files.directory import fingerprint, folder, names, open_folder
from drydock.evidence.files.regular import NotRegular, TooLarge, read_regular
from drydock.evidence.files.sizes import Measure
from drydock.evidence.files.worker import Worker, Write
from drydock.model import messages
from drydock.model.data import BlobFile, BlobFiles, Content, IngestDirectory, Junk, WorkerBlobFile, pack_facts
from drydock.model.findings import Place
from drydock.model.messages import Text
from drydock.model.names import Digest, RawPath, UnixNano, are_digests, is_digest
from drydock.model.records import Metadata
from drydock.model.roots import CONTAINERD_LAYOUT, RootLayout
from drydock.model.times import parse_time

_ALGORITHMS = (b"sha256", b"sha384", b"sha512")
_INGEST_FILES = frozenset((b"data", b"ref", b"startedat", b"updatedat", b"total", b"startedat.tmp", b"updatedat.tmp"))
_REF_LIMIT = 1 << 20
_SMALL_LIMIT = 64
_BLOCK = 512
_PART = 1000
# As fingerprint(), without a named tuple for each of very many files.
_fingerprint = attrgetter("st_dev", "st_ino", "st_mode", "st_size", "st_mtime_ns", "st_ctime_ns")
_TYPE = 0o170000  # S_IFMT: S_ISREG would be a call for each file


def read_content(
    root: RawPath,
    progress: Callable[[int], None] | None = None,
    records: Metadata | None = None,
    *,
    live: bool = False,
    layout: RootLayout = CONTAINERD_LAYOUT,
    listing: BlobListing | None = None,
) -> Content:
    """List the blobs and ingests of a root.

    Args:
        root: absolute path of the root.
        progress: called with the number of entries seen since its last call.
        records: those of the root: a valid digest that they name is the same object then, to save memory.
        live: an engine may be at work: a file that it removes meanwhile counts as missing.
        layout: where the root has its content store.
        listing: a worker that lists the blobs already.
    """
    return _ContentStoreReader(root, progress, records, live=live, layout=layout, listing=listing).read()


class BlobListing(Worker):
    """A worker that lists the folders below ``blobs/``, except one in which it meets something unusual.

    Args:
        root: absolute path of the root.
        layout: where the root has its content store.
    """

    def __init__(self, root: RawPath, layout: RootLayout) -> None:
        super().__init__(partial(_list_blobs, root, layout.content))

    def folders(self) -> set[bytes]:
        """The names of the folders that it listed. Waits until it has ended, in whatever way."""
        return {algorithm for algorithm, count, _, _ in self.read() if not count}

    def files(self) -> Iterator[tuple[bytes, int, bytes, bytes]]:
        """The files of these folders by parts: folder, how many, their digests end to end, and so their packed facts.

        They are in the order of their digests.
        """
        listed = self.folders()
        for algorithm, count, digests, facts in self.read():
            if count and algorithm in listed:
                yield algorithm, count, digests, facts


def _list_blobs(root: RawPath, content: bytes, write: Write) -> None:
    with folder(root, content, b"blobs") as blobs:
        for algorithm in names(blobs):
            if algorithm in _ALGORITHMS:
                descriptor = open_folder(algorithm, blobs)
                try:
                    _list_folder(algorithm, descriptor, write)
                finally:
                    os.close(descriptor)


def _list_folder(algorithm: bytes, descriptor: int, write: Write) -> None:
    entries = os.listdir(descriptor)
    prefix = algorithm.decode() + ":"
    # Together, because a call for each name takes as long as its stat. No digest has a line feed.
    listed = "\n".join([prefix + name for name in entries]).encode(errors="surrogateescape").split(b"\n")
    if not entries or len(listed) != len(entries) or not are_digests(listed):
        return  # the starter lists this folder, and reports what is unusual
    facts: list[bytes] = []
    for name in entries:
        found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        if found.st_mode & _TYPE != stat.S_IFREG:
            return
        facts.append(pack_facts(_fingerprint(found), found.st_blocks * _BLOCK))
    # As the records are: what is used together lies together in the memory then.
    order = sorted(range(len(entries)), key=entries.__getitem__)
    for start in range(0, len(order), _PART):
        part = order[start : start + _PART]
        write(
            (algorithm, len(part), b"".join([listed[each] for each in part]), b"".join([facts[each] for each in part]))
        )
    write((algorithm, 0, b"", b""))


class _ContentStoreReader:
    """Lists one content store."""

    def __init__(
        self,
        root: RawPath,
        progress: Callable[[int], None] | None,
        records: Metadata | None,
        *,
        live: bool,
        layout: RootLayout,
        listing: BlobListing | None,
    ) -> None:
        self._known: Mapping[bytes, Digest] = {} if records is None else records.digests
        self._recorded: Sequence[Digest] = () if records is None else records.blobs.digests
        self._listing = listing
        self._root = root
        self._folder = layout.content
        self._file = WorkerBlobFile if layout.worker else BlobFile
        self._live = live
        self._content = Content()
        self._columns: defaultdict[bytes, tuple[list[Digest], bytearray]] = defaultdict(lambda: ([], bytearray()))
        self._measure = Measure()
        self._progress = progress

    def read(self) -> Content:
        self._list((self._folder, b"blobs"), self._algorithms)
        digests: list[Digest] = []
        facts = bytearray()
        for algorithm in sorted(self._columns):
            column, packed = self._columns.pop(algorithm)
            digests, facts = (digests + column, facts + packed) if digests else (column, packed)
        self._content.blobs = BlobFiles(digests, facts, self._file)
        self._list((self._folder, b"ingest"), self._ingests)
        return self._content

    def _list(self, parts: tuple[bytes, ...], read: Callable[[int], None]) -> None:
        there = False
        try:
            with folder(self._root, *parts) as descriptor:
                there = True
                read(descriptor)
        except OSError as error:
            # A folder that is missing is empty; one that goes while it is read is not known.
            if there or not isinstance(error, FileNotFoundError):
                self._unreadable(b"/".join(parts), error)

    def _algorithms(self, blobs: int) -> None:
        listed = self._listing.folders() if self._listing is not None else frozenset[bytes]()
        if self._listing is not None:
            self._add_listed(self._listing)
        for name in names(blobs):
            if name in listed:
                continue
            path = b"/".join((self._folder, b"blobs", name))
            if name not in _ALGORITHMS:
                found = os.stat(name, dir_fd=blobs, follow_symlinks=False)
                # containerd's walk skips such a folder (store.go Walk), so its contents are neither used nor freed.
                self._report(messages.FOREIGN_NAME(path=path), path)
                self._add_junk(RawPath(path), found, blobs)
                continue
            try:
                descriptor = open_folder(name, blobs)
            except OSError as error:
                self._unreadable(path, error)
                continue
            try:
                self._blobs(name, descriptor)
            except OSError as error:
                self._unreadable(path, error)
            finally:
                os.close(descriptor)

    def _add_listed(self, listing: BlobListing) -> None:
        known, recorded = self._known, self._recorded
        for algorithm, count, digests, facts in listing.files():
            column, packed = self._columns[algorithm]
            size = len(digests) // count
            # Nearly always the files of a part are the next blobs that are recorded, in that order.
            place = bisect_left(recorded, digests[:size])
            same = recorded[place : place + count]
            if b"".join(same) == digests and set(map(len, same)) == {size}:
                column += same
            else:
                raws = (digests[start : start + size] for start in range(0, len(digests), size))
                column += [known.get(raw) or Digest(raw) for raw in raws]
            packed += facts
            if self._progress is not None:
                self._progress(count)

    def _blobs(self, algorithm: bytes, descriptor: int) -> None:
        files: list[tuple[Digest, bytes]] = []
        try:
            self._list_files(algorithm, descriptor, files)
        finally:  # what was listed before an error counts
            files.sort()
            column, packed = self._columns[algorithm]
            for digest, facts in files:
                column.append(digest)
                packed += facts

    def _list_files(self, algorithm: bytes, descriptor: int, files: list[tuple[Digest, bytes]]) -> None:
        seen = 0
        above, prefix = b"/".join((self._folder, b"blobs", algorithm, b"")), algorithm + b":"
        known, type_, regular = self._known, _TYPE, stat.S_IFREG
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = entry.name.encode() if entry.name.isascii() else os.fsencode(entry.name)
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    if self._live:
                        continue
                    raise
                seen += 1
                if self._progress is not None and not seen % 1000:
                    self._progress(1000)
                digest = known.get(prefix + name) or Digest(prefix + name)
                if found.st_mode & type_ == regular and (digest in known or is_digest(digest)):
                    files.append((digest, pack_facts(_fingerprint(found), found.st_blocks * _BLOCK)))
                    continue
                path = RawPath(above + name)
                self._add_junk(path, found, descriptor)
                self._report(messages.JUNK_NAME(path=path), path)
        if self._progress is not None:
            self._progress(seen % 1000)

    def _add_junk(self, path: RawPath, found: os.stat_result, parent: int) -> None:
        allocated = self._measure.folder(path.rpartition(b"/")[2], parent).allocated
        self._content.junk.append(Junk(path, allocated, fingerprint(found)))

    def _ingests(self, descriptor: int) -> None:
        for name in names(descriptor):
            path = RawPath(b"/".join((self._folder, b"ingest", name)))
            try:
                self._content.ingests.append(_ingest(descriptor, name, path))
            except OSError as error:
                if not (self._live and isinstance(error, FileNotFoundError)):
                    self._unreadable(path, error)

    def _unreadable(self, path: bytes, error: OSError) -> None:
        self._content.complete = False
        self._report(messages.UNREADABLE(problem=error.strerror or str(error), path=path), path)

    def _report(self, text: Text, path: bytes) -> None:
        self._content.findings.append(text.at(Place(RawPath(os.path.join(self._root, path))), path))


def _ingest(parent: int, name: bytes, path: RawPath) -> IngestDirectory:
    top = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(top.st_mode):
        return IngestDirectory(name, path, None, 0, top.st_blocks * _BLOCK, None, None, fingerprint(top), False)
    descriptor = open_folder(name, parent)
    try:
        allocated, received, plain = top.st_blocks * _BLOCK, 0, True
        measure = Measure()
        for file in names(descriptor):
            found = os.stat(file, dir_fd=descriptor, follow_symlinks=False)
            allocated += measure.folder(file, descriptor).allocated
            plain = plain and file in _INGEST_FILES and stat.S_ISREG(found.st_mode)
            if file == b"data":
                received = found.st_size
        total = _read(b"total", descriptor, _SMALL_LIMIT)
        return IngestDirectory(
            name,
            path,
            _read(b"ref", descriptor, _REF_LIMIT),
            received,
            allocated,
            int(total) if total is not None and total.isdigit() else None,
            _time(_read(b"updatedat", descriptor, _SMALL_LIMIT)),
            fingerprint(top),
            plain,
        )
    finally:
        os.close(descriptor)


def _read(name: bytes, parent: int, limit: int) -> bytes | None:
    try:
        return read_regular(name, limit, parent)
    except (FileNotFoundError, NotRegular, TooLarge):
        return None


def _time(raw: bytes | None) -> UnixNano | None:
    return None if raw is None else parse_time(raw)

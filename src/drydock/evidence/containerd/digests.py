"""Hashing blobs: whether the bytes of each fit its digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from drydock.evidence.files.regular import open_below
from drydock.interrupts import Deferral, defer_interrupt
from drydock.model import messages
from drydock.model.data import BlobFile
from drydock.model.findings import Finding, Place
from drydock.model.names import Digest, RawPath

_CHUNK = 1 << 20


def hash_blobs(
    root: RawPath,
    blobs: Iterable[BlobFile],
    progress: Callable[[int], None] | None = None,
    *,
    told: Callable[[BlobFile, bool], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[frozenset[Digest], list[Finding]]:
    """Hash blobs of a root, on every core.

    Args:
        root: absolute path of the containerd root.
        blobs: the blobs to hash.
        progress: called with the number of bytes done since its last call, from several threads.
        told: called from one thread with each blob that was read to its end, and whether its bytes fit.
        stop: called again and again; once it returns True, no more is read, and blobs read in part are not told.

    Returns:
        The digests of blobs whose bytes do not fit, and findings on blobs that could not be read.
    """
    wrong: set[Digest] = set()
    findings: list[Finding] = []

    def check(blob: BlobFile, deferral: Deferral) -> bool | None:
        try:
            fits = _fits(root, blob, progress, lambda: deferral() or stop())
        except OSError as error:
            place, problem = Place(RawPath(os.path.join(root, blob.path))), error.strerror or str(error)
            findings.append(messages.UNREADABLE_BLOB(path=blob.path, problem=problem).at(place, blob.digest))
            return None
        if fits is False:
            wrong.add(blob.digest)
        return fits

    ordered = sorted(blobs, key=lambda blob: -blob.size)
    # hashlib lets other threads run while it hashes, so threads use all cores.
    with defer_interrupt() as deferral, ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for blob, fits in zip(ordered, pool.map(partial(check, deferral=deferral), ordered), strict=True):
            if told is not None and fits is not None:
                told(blob, fits)
    return frozenset(wrong), sorted(findings, key=lambda finding: finding.message)


def _fits(
    root: RawPath, blob: BlobFile, progress: Callable[[int], None] | None, stop: Callable[[], bool]
) -> bool | None:
    """Whether the bytes of a blob fit its digest; None if the hashing was stopped."""
    if stop():
        return None
    algorithm, _, wanted = blob.digest.partition(b":")
    descriptor = open_below(root, blob.path)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        digest = hashlib.new(algorithm.decode())
        # Most blobs are small, and clearing a megabyte takes longer than hashing a manifest.
        buffer = memoryview(bytearray(min(_CHUNK, max(1, blob.size))))
        while got := os.readv(descriptor, [buffer]):
            digest.update(buffer[:got])
            if stop():
                return None
            if progress is not None:
                progress(got)
        return digest.hexdigest().encode() == wanted
    finally:
        os.close(descriptor)

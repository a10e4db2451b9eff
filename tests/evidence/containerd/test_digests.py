"""Hashing blobs: exactly those whose bytes are not what their name says."""

from __future__ import annotations

import hashlib
import os
import threading

import pytest

from drydock.evidence.containerd.content import read_content
from drydock.evidence.containerd.digests import hash_blobs
from drydock.model.findings import Severity
from drydock.model.names import CONTENT, RawPath


@pytest.fixture
def root(tmp_path):
    """A root with an intact blob of every algorithm and size."""
    for algorithm in ("sha256", "sha384", "sha512"):
        folder = tmp_path / os.fsdecode(CONTENT) / "blobs" / algorithm
        folder.mkdir(parents=True)
        for size in (0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1):
            data = os.urandom(size)
            (folder / hashlib.new(algorithm, data).hexdigest()).write_bytes(data)
    return tmp_path


def blobs(root):
    """All blobs of a root."""
    return list(read_content(RawPath(bytes(root))).blobs.values())


def test_intact_blobs_are_not_wrong(root):
    """None of them, and every byte is told to the progress, from whatever thread."""
    lock, told = threading.Lock(), []

    def tell(done):
        with lock:
            told.append(done)

    wrong, findings = hash_blobs(RawPath(bytes(root)), blobs(root), tell)
    assert (wrong, findings) == (frozenset(), [])
    assert sum(told) == sum(blob.size for blob in blobs(root))


@pytest.mark.parametrize("change", ["bit", "longer", "shorter", "zeros"])
def test_changed_blobs_are_wrong(root, change):
    """One bit, one byte more or less, or zeros after a power loss: each changed blob, and no other."""
    every = blobs(root)
    changed = [blob for blob in every if blob.size > 1][::2]
    for blob in changed:
        with open(os.fsencode(root) + b"/" + blob.path, "r+b") as file:
            data = file.read()
            file.seek(0)
            new = {"bit": data[:-1] + bytes([data[-1] ^ 1]), "longer": data + b"x", "shorter": data[:-1],
                   "zeros": bytes(len(data))}[change]  # fmt: skip
            file.write(new)
            file.truncate(len(new))
    wrong, findings = hash_blobs(RawPath(bytes(root)), every)
    assert wrong == {blob.digest for blob in changed}
    assert findings == []


@pytest.mark.parametrize("kind", ["gone", "link", "fifo", "folder", "parent link"])
def test_what_cannot_be_read_is_said(root, kind):
    """Changed since it was listed: a finding with the place, nothing followed, and the others are hashed."""
    every = blobs(root)
    victim = root / os.fsdecode(every[0].path)
    data = victim.read_bytes()
    if kind == "parent link":
        folder = victim.parent
        folder.rename(root / "moved")
        folder.symlink_to(root / "moved")
    else:
        victim.unlink()
        if kind == "link":
            (root / "real").write_bytes(data)
            victim.symlink_to(root / "real")
        elif kind == "fifo":
            os.mkfifo(victim)
        elif kind == "folder":
            victim.mkdir()
    wrong, findings = hash_blobs(RawPath(bytes(root)), every)
    assert wrong == frozenset()
    assert len(findings) == (5 if kind == "parent link" else 1)
    assert {finding.code for finding in findings} == {"unreadable-blob"}
    assert findings[0].severity is Severity.DAMAGE
    assert all("None" not in finding.message for finding in findings)

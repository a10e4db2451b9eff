"""Every input that a fuzzer kept, replayed without atheris: what it once broke stays mended."""

import importlib
import struct
import tracemalloc

import pytest
from fuzz.__main__ import CORPUS, TARGETS
from fuzz.pages import File, checked
from fuzz.stores import METADATA, ROWS
from tests.support import boltwriter

INPUTS = {
    target: [*importlib.import_module(f"fuzz.{target}").seeds(), *(p.read_bytes() for p in (CORPUS / target).iterdir())]
    for target in TARGETS
}


@pytest.mark.parametrize("target", TARGETS)
def test_replays(target):
    """The seeds and the corpus of each target hold what the target asserts."""
    one = importlib.import_module(f"fuzz.{target}").one
    assert len(INPUTS[target]) > 20
    for data in INPUTS[target]:
        one(data)


@pytest.mark.parametrize("target", ["bolt_reader", "records", "rows", "surgery", "salvage"])
def test_memory_is_a_small_multiple_of_the_file(target):
    """No input of a few KiB makes the readers, or an edit, take megabytes."""
    one = importlib.import_module(f"fuzz.{target}").one
    one(INPUTS[target][0])  # imports, and what is kept for good
    for data in INPUTS[target]:
        tracemalloc.start()
        one(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 60 * len(data) + (1 << 20)


def test_the_corpus_is_small():
    """It is part of every clone."""
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 1_000_000


@pytest.mark.parametrize("tree", [METADATA, ROWS])
def test_the_second_reader_agrees_with_the_writer(tree):
    """What the fuzzers compare edits with is what was written."""
    data = bytes(boltwriter.image(tree, page_size=1024).data)
    found = File(data).contents

    def values(tree, path=()):
        for key, value in tree.items():
            yield from values(value, (*path, key)) if isinstance(value, dict) else [((*path, key), value)]

    assert {path: value for path, value in found.items() if isinstance(value, bytes)} == dict(values(tree))
    assert checked(data) == data
    broken = bytearray(data)
    struct.pack_into("<Q", broken, 72, 1)
    assert checked(broken) == data

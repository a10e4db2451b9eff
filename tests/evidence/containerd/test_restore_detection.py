"""Rows from after a meta.db was copied."""

import copy
import os

import pytest
from fuzz.stores import META_DB, METADATA, METADATA_DB, NOW, ROWS, SEQUENCES, lay_out
from tests.support import boltwriter

from drydock import scan
from drydock.model.findings import Severity
from drydock.model.names import RawPath, UnixNano


@pytest.mark.parametrize(("last", "rows"), [(2, 2), (3, 1), (4, 1), (8, 0), (9, 0)])
def test_rows_that_meta_db_never_numbered_are_told(tmp_path, last, rows):
    """Rows 1, 2, 3, 4 and 9 are there: from a newer meta.db is what is above the next number, which a crash leaves."""
    lay_out(tmp_path)
    sequences = {(b"v1", b"moby", b"snapshots", b"overlayfs"): last}
    boltwriter.write(tmp_path / META_DB, METADATA, sequences=sequences)
    boltwriter.write(tmp_path / METADATA_DB, ROWS, sequences=SEQUENCES)
    (found,) = scan(RawPath(os.fsencode(tmp_path)), now=UnixNano(NOW))
    told = [each for each in found.verdict.findings if each.code == "older-database"]
    assert [each.severity for each in told] == [Severity.NOTE] * bool(rows)
    assert all(f"the numbers of some rows of namespace moby ({rows})" in each.message for each in told)


def test_a_number_of_any_length_is_survived(tmp_path):
    """A hostile row's name has more digits than Python reads: it is passed over, and the others are told."""
    lay_out(tmp_path)
    rows = copy.deepcopy(ROWS)
    rows[b"v1"][b"snapshots"][b"moby/" + b"9" * 5_000 + b"/x"] = rows[b"v1"][b"snapshots"].pop(b"moby/9/rowless")
    boltwriter.write(tmp_path / META_DB, METADATA, sequences={(b"v1", b"moby", b"snapshots", b"overlayfs"): 2})
    boltwriter.write(tmp_path / METADATA_DB, rows, sequences=SEQUENCES)
    (found,) = scan(RawPath(os.fsencode(tmp_path)), now=UnixNano(NOW))
    (told,) = [each for each in found.verdict.findings if each.code == "older-database"]
    assert "the numbers of some rows of namespace moby (1)" in told.message

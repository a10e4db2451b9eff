"""Receipts outlive the process that got them."""

import json

import pytest
from tests.support import boltwriter
from tests.support.surgery import dump, edit, undo

from bbolt_surgery import Deletion, Receipt


def test_a_receipt_read_back_from_json_undoes(tmp_path):
    """Its numbers are enough."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"b": {b"k": b"v", b"l": b"w"}}, sequences={(): 5})
    before = dump(path)
    receipt = edit(path, [Deletion((b"b",), b"k")])
    undo(path, Receipt.of_numbers(json.loads(json.dumps(receipt.numbers()))))
    assert dump(path) == before


@pytest.mark.parametrize("value", [None, "7", 7.0, True, -1])
def test_a_receipt_with_something_else_in_it_is_refused(tmp_path, value):
    """Each of the numbers must be there and be one."""
    path = tmp_path / "file.db"
    boltwriter.write(path, {b"b": {b"k": b"v"}})
    numbers = edit(path, [Deletion((b"b",), b"k")]).numbers()
    for field in numbers:
        with pytest.raises(ValueError, match=field):
            Receipt.of_numbers({**numbers, field: value})

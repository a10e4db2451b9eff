"""``drydock explain`` where meta.db cannot be read: the cause is said, and 8 is the status."""

import os

import pytest
from click.testing import CliRunner
from tests.support.adoptable import IMAGE, NAME, lay_out, namespace
from tests.support.records import METADATA

from drydock.cli import main

NOBODY = "nowhere:9"


@pytest.fixture
def store(tmp_path):
    """A root with one image."""
    return lay_out(tmp_path / "store", {b"default": namespace()})


def explain(word, where, *options):
    """Exit status, stdout and stderr."""
    said = CliRunner().invoke(main, ["explain", word, str(where), *options])
    return said.exit_code, said.stdout, said.stderr


def spoil(root):
    """Every page but the metas is noise."""
    with (root / METADATA).open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * (os.path.getsize(root / METADATA) - 4096 * 2))


@pytest.mark.parametrize("options", [(), ("--format", "json")], ids=["text", "json"])
def test_not_all_read_is_8(store, options):
    """As ls, pulls and scan have it, with the file named on stderr; 0 and no word where all could be read."""
    digest = IMAGE.manifest.digest
    assert explain(digest, store, *options)[::2] == (0, "")
    spoil(store)
    status, text, errors = explain(digest, store, *options)
    assert status == 8
    assert "not all could be read" in text
    assert METADATA in errors


def test_a_name_that_is_not_found_has_the_cause_beside_it(store):
    """What it could not read is said with what it could not find, as export image does; else only the latter."""
    assert explain(NOBODY, store) == (8, "", f"drydock: nothing here is called {NOBODY}\n")
    spoil(store)
    name = NAME.decode()
    status, _, errors = explain(name, store)
    assert status == 8
    assert errors.startswith(f"drydock: nothing here is called {name}; ")
    assert METADATA in errors
    exported = CliRunner().invoke(main, ["export", "image", name, str(store), "-o", str(store.parent / "x.tar")])
    assert exported.stderr.partition("; ")[2] == errors.partition("; ")[2]

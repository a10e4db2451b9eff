"""``drydock repair``: what it knows of verifications, and the status of what was asked and not done."""

import os

import pytest
from tests.support.adoptable import IMAGE, blob_path, lay_out, namespace, without
from tests.support.documents import run
from tests.support.shell import words
from tests.support.terminal import answered

from drydock.reclaim import state_dir


@pytest.fixture
def corrupt(tmp_path):
    """A root in which the bytes of one layer are wrong, which only reading them shows."""
    root = lay_out(tmp_path / "store", {b"default": namespace()})
    blob = blob_path(root, IMAGE.layers[0])
    blob.write_bytes(bytes(blob.stat().st_size))
    return root


def test_verify_names_the_repair_that_finds_the_same(corrupt, tmp_path, monkeypatch):
    """With the --state that verify had: nowhere else is it known which bytes were wrong."""
    monkeypatch.setattr(state_dir, "PLACES", (os.fsencode(tmp_path / "default"),))
    said = run("verify", corrupt, "--data", "--state", tmp_path / "it's", status=2)
    (command,) = (line.partition("#")[0] for line in said.splitlines() if "drydock repair --" in line)
    run("repair", corrupt, status=0)
    assert IMAGE.layers[0].digest.partition(":")[2] in run(*map(os.fsdecode, words(command)), status=2)


def test_what_a_verification_found_is_known_with_any_state(corrupt, tmp_path, monkeypatch):
    """Where journal and backups go does not change what is mended."""
    monkeypatch.setattr(state_dir, "PLACES", (os.fsencode(tmp_path / "default"),))
    assert "--state" not in run("verify", corrupt, "--data", status=2)
    other = ("--state", tmp_path / "other", "--accept-loss", "example.org/shop:1")
    run("repair", corrupt, *other, status=2)
    run("repair", corrupt, *other, "--apply", "--yes", status=0)
    assert not blob_path(corrupt, IMAGE.layers[0]).exists()


@pytest.mark.parametrize("option", [(), ("--adopt",)])
def test_a_no_has_the_status_of_what_was_found(tmp_path, option):
    """As without --apply: the damage is still there, whatever the plan would have mended."""
    root = lay_out(tmp_path / "store", {b"default": without(namespace(), IMAGE.layers[0])})
    blob_path(root, IMAGE.layers[1]).unlink()
    command = ("repair", root, *option, "--accept-loss", "example.org/shop:1", "--state", tmp_path / "state")
    run(*command, status=2)
    said = answered(*command, "--apply", answer="n")
    assert "Do this?" in said.stdout
    assert said.returncode == 2
    assert not list(tmp_path.glob("state/*"))

"""``drydock explain`` where meta.db cannot be read, and of paths that belong to no object."""

import os
import re
import subprocess

import pytest
from click.testing import CliRunner
from tests.support.adoptable import IMAGE, NAME, lay_out, namespace
from tests.support.classic_root import ClassicRoot
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


@pytest.fixture
def host(tmp_path):
    """A host with Docker and its classic store, a volume, and a folder of no known kind in the data root."""
    top = tmp_path / "host"
    ClassicRoot(top / "var/lib/docker").directory("before-the-upgrade")
    (top / "var/lib/docker/volumes/pgdata/_data").mkdir(parents=True)
    (top / "var/lib/docker/old-backup").mkdir()
    (top / "var/lib/docker/old-backup/dump").write_bytes(b"x" * 10_000)
    return top


def test_any_path_of_a_data_root_is_explained(host):
    """By its absolute path, its path on the host that is mounted elsewhere, and its path in the data root."""
    top = f"{host}/var/lib/docker"
    size = sum(os.lstat(path).st_blocks * 512 for path in (f"{top}/old-backup", f"{top}/old-backup/dump"))
    texts = set()
    for word in (f"{top}/old-backup", f"{top}/old-backup/", "/var/lib/docker/old-backup", "old-backup"):
        status, text, errors = explain(word, host)
        assert (status, errors) == (0, "")
        texts.add(text)
    (text,) = texts
    assert text.startswith(f"path {top}/old-backup: unknown\n")
    assert f"({size} bytes)" in text
    assert "  freed by: you\n" in text
    # What is an object, a log or a volume is still explained as that.
    assert explain("overlay2/before-the-upgrade", host)[1].startswith("layer-directory ")
    assert explain(f"{top}/volumes/pgdata", host)[1].startswith("volume pgdata: ")


def test_a_path_of_no_place_is_not_explained(host):
    """One that is not there, one outside, and one that only a symbolic link brings into the data root."""
    top = host / "var/lib/docker"
    (top / "link").symlink_to("/etc")
    for word in (
        top / "nothing",
        host / "etc",
        top / "link/passwd",
        "/etc/passwd",
        "",
        ".",
        "..",
        "/",
        "../etc/passwd",
    ):
        status, text, errors = explain(str(word), host)
        assert (status, text) == (8, "")
        assert errors.startswith(f"drydock: nothing here is called {word}"), word
    status, text, _ = explain(str(top / "link"), host)
    assert (status, text.partition("\n")[0]) == (0, f"path {top}/link: unknown")


@pytest.mark.root
def test_a_mount_in_a_data_root_is_not_entered(host):
    """Its size is not told, and the reason is."""
    top = host / "var/lib/docker"
    (top / "aside").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", top / "aside"], check=True)
    try:
        (top / "aside/file").write_bytes(b"x" * 100_000)
        for word in ("aside/file", "aside"):
            status, text, _ = explain(word, host)
            assert status == 0
            assert "size:" not in text
            assert re.search(r"not all of it was measured: .*a mount\b.*not entered\n", text)
    finally:
        subprocess.run(["umount", top / "aside"], check=True)

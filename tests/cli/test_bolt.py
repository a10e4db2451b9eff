"""``drydock bolt`` shows what is in a file, and ends with the exit statuses of docs/bolt.md."""

import fcntl
import json
import os

import pytest
from click.testing import CliRunner
from tests.support import boltwriter, gobbolt

from drydock.cli import main

TREE = {b"v1": {b"version": b"\x06", b"a/b\n": {b"\xff": b"\x1b[31m"}, b"deep": {b"er": {}}}}


@pytest.fixture
def file(tmp_path):
    """A file with names that are not fit to print."""
    boltwriter.write(tmp_path / "meta.db", TREE, sequences={(b"v1",): 3})
    return tmp_path / "meta.db"


def run(*arguments):
    """Exit code and what was printed."""
    result = CliRunner().invoke(main, ["bolt", *map(str, arguments)])
    return result.exit_code, result.output


def test_info_names_the_meta_that_counts(file):
    """Page size, transaction and state of both metas, as text and as JSON."""
    code, text = run("info", file)
    assert code == 0
    assert "page size  4096" in text
    document = json.loads(run("info", file, "--format", "json")[1])
    assert [meta["state"] for meta in document["metas"]] == ["in use", "valid, older"]


def test_check_says_sound_or_damaged(file):
    """0 for a sound file; 2 and the place for a damaged one; a torn older meta is a note."""
    assert run("check", file) == (0, "sound\n")
    boltwriter.write(file, TREE).patch(4096 + 20, b"\xff")
    code, text = run("check", file)
    assert (code, text.splitlines()[-1]) == (0, "sound")
    assert text.startswith("note: page 1 ")
    layout = boltwriter.write(file, TREE)
    layout.patch_page(layout.root, 8, b"\x10")
    code, text = run("check", file)
    assert code == 2
    assert f"corrupt: page {layout.root} " in text
    assert text.splitlines()[-1].startswith(f"drydock bolt salvage {file} ")
    assert json.loads(run("check", file, "--format", "json")[1])["damage"][0]["severe"] is True


def test_check_says_what_comes_next_where_nothing_is_a_database(tmp_path):
    """The command that reads pages without a meta, after the reason."""
    (tmp_path / "a file").write_bytes(bytes(8192))
    code, text = run("check", tmp_path / "a file")
    assert code == 8
    assert f"drydock bolt salvage '{tmp_path}/a file' " in text.splitlines()[-1]


def test_lists_buckets_and_keys_on_one_line_each(file):
    """No name reaches the terminal raw, and a shown one can be typed back."""
    assert [line.split("\t")[0] for line in run("buckets", file)[1].splitlines()] == [
        "v1",
        r"v1/a\x2fb\x0a",
        "v1/deep",
        "v1/deep/er",
    ]
    assert run("keys", file, "v1") == (0, "a/b\\x0a/\ndeep/\nversion\t1 bytes\n")
    assert run("get", file, "v1", r"a/b\x0a", r"\xff") == (0, "\\x1b[31m\n")
    assert run("get", file, "v1", "version", "--format", "hex") == (0, "06\n")
    assert run("get", file, "v1", "version", "--format", "raw") == (0, "\x06")


@pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")
def test_dumps_what_go_dumps(tmp_path):
    """The dump of a file is, byte for byte, what a Go program that uses bbolt prints."""
    path = gobbolt.fill(tmp_path / "mixed.db", "mixed", 1024)
    assert run("dump", path) == (0, gobbolt.dump(path))


def test_dumps_a_part(file):
    """A dump of one bucket has its lines of the whole dump."""
    whole = run("dump", file)[1].splitlines()
    part = run("dump", file, "v1", "deep")[1].splitlines()
    assert part == [line for line in whole if "/64656570" in line]


def test_lists_pages(file):
    """Every page by position, with its kind."""
    lines = run("pages", file)[1].splitlines()
    assert [line.split("\t")[1] for line in lines] == ["meta", "meta", *["leaf"] * (len(lines) - 3), "freelist"]
    assert len(json.loads(run("pages", file, "--format", "json")[1])["pages"]) == len(lines)


@pytest.mark.parametrize("command", ["info", "check", "buckets", "keys", "dump", "pages"])
@pytest.mark.parametrize("content", [b"", b"no bbolt", bytes(100_000), b"\xff" * 9000])
def test_says_that_a_file_is_none(tmp_path, command, content):
    """8 and one line for what is no bbolt file."""
    path = tmp_path / "x.db"
    path.write_bytes(content)
    code, text = run(command, path)
    assert code == 8
    assert text.count("\n") == 1


@pytest.mark.parametrize("name", ["none", "", "/dev/null"])
def test_nothing_is_salvaged_of_what_is_no_file(tmp_path, name):
    """Of what is not there, of a folder and of a device nothing can be read: no command is told."""
    code, text = run("check", tmp_path / name)
    assert code == 8
    assert "drydock bolt salvage" not in text


def test_names_that_are_not_there(file, tmp_path):
    """8 for a file, bucket or key that is not there, and for a bucket where a value was asked for; 16 for no words."""
    assert run("info", tmp_path / "none")[0] == 8
    assert run("keys", file, "v2")[0] == 8
    assert run("get", file, "v1", "nothing")[0] == 8
    code, text = run("get", file, "v1", "deep")
    assert (code, "a bucket" in text) == (8, True)
    assert run("get", file)[0] == 16


@pytest.mark.parametrize("command", ["info", "check", "buckets", "keys", "dump", "pages"])
def test_refuses_while_an_engine_holds_the_file(file, command):
    """32 while another open file description has bbolt's exclusive lock; readers do not exclude each other."""
    with file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert run(command, file)[0] == 32
        fcntl.flock(other, fcntl.LOCK_SH)
        assert run(command, file)[0] == 0


def test_reading_leaves_no_trace(file):
    """Neither bytes nor times of the file change."""
    os.utime(file, ns=(10**18, 10**18))
    before = file.stat()
    content = file.read_bytes()
    os.utime(file, ns=(10**18, 10**18))
    for command in ("info", "check", "buckets", "keys", "dump", "pages"):
        run(command, file)
    after = file.stat()
    assert (after.st_atime_ns, after.st_mtime_ns) == (before.st_atime_ns, before.st_mtime_ns)
    assert file.read_bytes() == content

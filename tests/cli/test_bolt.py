"""``drydock bolt`` shows what is in a file, and ends with the exit statuses of docs/bolt.md."""

import fcntl
import json
import os
import subprocess
import sys

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
    """The command that reads pages without a meta, after the reason; not where there are no pages either."""
    layout = boltwriter.write(tmp_path / "a file", TREE)
    layout.patch(0, bytes(8192))
    code, text = run("check", tmp_path / "a file")
    assert code == 8
    assert f"drydock bolt salvage '{tmp_path}/a file' " in text.splitlines()[-1]
    assert run("salvage", tmp_path / "a file")[0] == 2
    for nothing in (b"", bytes(8192), b"text"):
        (tmp_path / "a file").write_bytes(nothing)
        code, text = run("check", tmp_path / "a file")
        assert (code, "salvage" in text) == (8, False)


@pytest.mark.parametrize("command", ["info", "check", "buckets", "keys", "dump", "pages", "salvage"])
def test_a_symbolic_link_is_followed(file, tmp_path, command):
    """A link that the user names is as good as the file; one that leads nowhere is not there."""
    (tmp_path / "link.db").symlink_to(file)
    of_file = run(command, file)
    assert of_file[0] == 0
    assert run(command, tmp_path / "link.db") == of_file
    (tmp_path / "dangling.db").symlink_to("none")
    code, text = run(command, tmp_path / "dangling.db")
    assert (code, "No such file" in text) == (8, True)


def test_an_empty_file_is_called_empty(tmp_path):
    """Not a short meta."""
    (tmp_path / "x.db").write_bytes(b"")
    assert "the file is empty" in run("info", tmp_path / "x.db")[1]


def test_lists_buckets_and_keys_on_one_line_each(file):
    """No name reaches the terminal raw, and a shown one can be typed back."""
    assert [line.split("\t")[0] for line in run("buckets", file)[1].splitlines()] == [
        "v1",
        r"v1/a\x2fb\x0a",
        "v1/deep",
        "v1/deep/er",
    ]
    assert run("keys", file, "v1") == (0, "a/b\\x0a/\ndeep/\nversion\t1 byte\n")
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


def test_shows_every_field_of_a_page(file):
    """Names escaped, the offset in the file on each line, 80 columns where there is no terminal; JSON has all bytes."""
    boltwriter.write(file, {b"v1": {b"\x1b[31m\n": b"\x07" * 500}}, inline=False)
    lines = run("pages", file, "--page", "2")[1].splitlines()
    assert lines[0] == "page 2: leaf, 4096 bytes from offset 0x2000"
    assert all(len(line) <= 80 and line.isprintable() for line in lines)
    (key,) = (line.split() for line in lines if "[0].key" in line)
    assert key == ["0x2020", "6", "[0].key", r"\x1b[31m\x0a"]
    assert file.read_bytes()[0x2020:0x2026] == b"\x1b[31m\n"
    document = json.loads(run("pages", file, "--page", "2", "--format", "json")[1])
    (value,) = (field for field in document["fields"] if field["field"] == "[0].value")
    assert (value["offset"], value["bytes"], value["hex"]) == (0x2026, 500, "07" * 500)


def test_pages_are_shown_where_no_meta_is_valid(file):
    """Both metas lost: the pages are listed and shown all the same; info cannot say anything."""
    layout = boltwriter.write(file, {b"v1": {b"key%03d" % i: b"value" for i in range(900)}})
    layout.patch(16, bytes(64)).patch(4096 + 16, bytes(64))
    code, text = run("pages", file)
    assert (code, len(text.splitlines()) > 5) == (0, True)
    code, text = run("pages", file, "--page", "0")
    assert (code, text.splitlines()[-1]) == (0, "problem: not valid: magic 0x00000000, not 0xed0cdaed")
    assert run("info", file)[0] == 8


def test_there_is_no_such_page(file):
    """8 for a page behind the end of the file; 16 for what is no number."""
    code, text = run("pages", file, "--page", "4000")
    assert (code, text.count("\n")) == (8, 1)
    assert "there is no page 4000: the file has" in text
    assert run("pages", file, "--page", "-1")[0] == 16


@pytest.mark.parametrize("command", ["info", "check", "pages", "salvage"])
def test_pages_are_decoded_by_the_declarations(file, command):
    """With fields declared in another order these commands read another file: it is the declarations that they use."""
    code = """
import sys
from construct import Int16ul, Int32ul, Int64ul, Struct
from bbolt_reader import layout
if {}:
    layout.PAGE_HEADER = Struct("id" / Int64ul, "count" / Int16ul, "flags" / Int16ul, "overflow" / Int32ul)
    layout.META = Struct(*(field for field in layout.META.subcons[:4]), "sequence" / Int64ul, "root" / Int64ul,
                         *layout.META.subcons[6:])
from drydock.__main__ import main
sys.exit(main())
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", code.format(wrong), "bolt", command, file],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        for wrong in (False, True)
    }
    assert len(said) == 2


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


@pytest.fixture
def sparse(file, monkeypatch, tmp_path):
    """A file that is mostly free pages, on a host without runs."""
    monkeypatch.setattr("drydock.reclaim.state_dir.PLACES", (os.fsencode(tmp_path / "no runs"),))
    boltwriter.write(file, TREE, free=300)
    return file


def test_compact_shows_what_is_free_and_changes_nothing(sparse):
    """Without --apply the file is not written; --yes alone is a mistake."""
    before = sparse.read_bytes()
    code, text = run("compact", sparse)
    assert code == 0
    assert text.startswith(f"{sparse}: 1.2 MiB, of which about 1.2 MiB (98 %) are free\n")
    assert sparse.read_bytes() == before
    assert run("compact", "--yes", sparse)[0] == 16


@pytest.mark.skipif(bool(gobbolt.why_not()), reason=gobbolt.why_not() or "Go is there")
def test_compact_gives_free_pages_back(sparse):
    """The blocks come back, Go reads the same, and a second run has nothing to do."""
    old, blocks = gobbolt.dump(sparse), sparse.stat().st_blocks
    code, text = run("compact", "--apply", "--yes", sparse)
    assert code == 0
    assert f"the file system got {(blocks - sparse.stat().st_blocks) / 2048:.1f} MiB back" in text
    assert gobbolt.dump(sparse) == old
    assert gobbolt.check(sparse) == (0, "")
    code, text = run("compact", "--apply", "--yes", sparse)
    assert code == 0
    assert "nothing to do" in text


def test_compact_refuses_what_is_locked_or_damaged(sparse):
    """32 where an engine has the file, 4 where the file is damaged, 8 where there is none."""
    with sparse.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert run("compact", sparse)[0] == 32
    layout = boltwriter.write(sparse, TREE, free=300)
    layout.patch_page(layout.root, 8, b"\x10")
    before = sparse.read_bytes()
    assert run("compact", "--apply", "--yes", sparse)[0] == 4
    assert sparse.read_bytes() == before
    assert run("compact", sparse.with_name("missing"))[0] == 8

"""Words and flags of command lines, as systemd and shells take them apart."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import subprocess

import pytest

from drydock.evidence.host.command_lines import last_flag, read_flags, split_shell, split_words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"foobar waldo", [b"foobar", b"waldo"]),
        (b"\"foobar\" 'waldo'", [b"foobar", b"waldo"]),
        (b"'fooo'b\"ar\" 'w'a'ldo'", [b"fooobar", b"waldo"]),
        (b"", []),
        (b"  ", []),
        (b"''", [b""]),
        # A backslash escapes in single quotes, and C's letters are those of C.
        (b"'a\\'b' \\t\\s\\101\\u00fc \\xfc", [b"a'b", b"\t A\xc3\xbc", b"\xfc"]),
        # What is not known stays; so does a quote that is not closed, and a backslash at the end.
        (b"\\q \\x00 \\u00zz a\\", [b"\\q", b"\\x00", b"\\u00zz", b"a\\"]),
        (b"a 'b c", [b"a", b"'b c"]),
        (b"--data-root=/srv/my\\x20disk '--exec-root=/a b'", [b"--data-root=/srv/my disk", b"--exec-root=/a b"]),
    ],
)
def test_words_of_systemd(line, words):
    """Quotes anywhere in a word, and C's escapes."""
    assert split_words(line) == words


_PLAIN = ["a", "b=", "--g", "/", "\\x41", "\\101", "\\u00fc", "\\\\", "\\'", '\\"', "\\s", "\\q"]


def _segment(rng):
    """A part of a line whose quotes are closed; blanks are between words, or in quotes."""
    quote, other = rng.choice([("", ""), ("'", '"'), ('"', "'")])
    inner = "".join(rng.choices([*_PLAIN, " ", *([other] if quote else [])], k=rng.randrange(1, 5)))
    return f"{quote}{inner}{quote}"


def test_words_as_systemd_has_them(tmp_path):
    """Lines made at random, compared with what systemd itself says of a unit with them."""
    analyze = shutil.which("systemd-analyze") or pytest.skip("no systemd-analyze")
    rng = random.Random(1)
    lines = ["".join(_segment(rng) for _ in range(rng.randrange(1, 6))) for _ in range(400)]
    unit = tmp_path / "x.service"
    starts = "".join(f"ExecStart=/bin/true {number} {line} end\n" for number, line in enumerate(lines))
    unit.write_text(f"[Service]\nType=oneshot\n{starts}")
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "debug", "SYSTEMD_UNIT_PATH": str(tmp_path), "LC_ALL": "C.UTF-8"}
    told = subprocess.run(
        [analyze, "verify", "--man=no", unit], env=environment, capture_output=True, text=True, check=False
    )
    found = {}
    for line in (told.stdout + told.stderr).splitlines():
        if line.strip().startswith("Command Line: /bin/true "):
            number, *words = shlex.split(line.partition("/bin/true ")[2])
            found[int(number)] = [word.encode() for word in words]
    assert found == {number: split_words(line.encode() + b" end") for number, line in enumerate(lines)}


@pytest.mark.parametrize(
    "line", ['a \'b  c\' "d\\"e" f\\ g', "X='-g /d'\"$y\" z", "''", "\u00fc\xff", "a'b'c", "\"a'b\" 'c\"d' \\'"]
)
def test_words_of_a_shell(line):
    """As a shell has them."""
    shown = subprocess.run(["sh", "-c", f"y='$y'; printf '%s\\0' {line}"], capture_output=True, check=True)
    assert split_shell(line.encode()) == shown.stdout.split(b"\0")[:-1]


def test_words_of_a_shell_line_that_is_none():
    """Nothing is lost where a quote is an apostrophe."""
    assert split_shell(b"don't --data-root /d") == [b"don't --data-root /d"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("dockerd -g /a --data-root=/b", [("g", "/a"), ("data-root", "/b")]),
        ("dockerd --data-root /a -g=/b -g/c", [("data-root", "/a"), ("g", "/b"), ("g", "/c")]),
        ("dockerd -data-root /a --data-root", [("data-root", "/a")]),
        ("dockerd --data-root= --debug data-root=/x --data-rooted=/y -gx", [("data-root", "")]),
    ],
)
def test_flags_in_every_spelling(words, found):
    """One dash or two, with = or the next word, and the value right behind a letter."""
    flags = read_flags(words.encode().split(), frozenset((b"g", b"data-root")))
    assert [(flag.name.decode(), flag.value.decode()) for flag in flags] == found


def test_the_last_flag_counts():
    """Of all names that a flag has."""
    words = b"containerd -c /a --config=/b --root /r".split()
    assert last_flag(words, b"config", b"c") == b"/b"
    assert last_flag(words, b"state") is None

"""Units, files of variables, scripts and YAML settings: what each kind says of a start."""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import time

import pytest

from drydock.evidence.host.unit_files import parse_environment, parse_rancher, parse_shell, parse_unit

UNIT = b"""\
# ExecStart=/old
[Unit]
Description=ExecStart=/no
ExecStart=/of/another/section
[Service]
ExecStart=
ExecStart = -@/usr/bin/dockerd dockerd \\
  ; why
  # --data-root=/x
   --data-root '/srv/my disk' \\
   -D
  ExecStartPre=!/bin/true a\\\\
Environment="A=1 2" B=3
EnvironmentFile=-/etc/default/my docker
Nothing
[Install]
ExecStart=/no"""


def test_a_unit():
    """Sections, continued lines with comments between them, prefixes of commands, and quotes."""
    found = parse_unit(UNIT)
    assert [(line.key, list(line.words)) for line in found.lines] == [
        (b"ExecStart", [b"/usr/bin/dockerd", b"dockerd", b"--data-root", b"/srv/my disk", b"-D"]),
        (b"ExecStartPre", [b"/bin/true", b"a\\"]),
        (b"Environment", [b"A=1 2", b"B=3"]),
    ]
    assert [line.is_command for line in found.lines] == [True, True, False]
    assert found.environment_files == [b"/etc/default/my docker"]


def test_a_unit_that_ends_in_a_continued_line():
    """As k3s' install.sh writes it."""
    (line,) = parse_unit(b"[Service]\nExecStart=/k3s \\\n\tserver \\\n").lines
    assert list(line.words) == [b"/k3s", b"server"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"A=1\nB = two words  \n\nC=", [b"A=1", b"B=two words", b"C="]),
        (b"; A=1\n  # B=2\nC\nD=4", [b"D=4"]),
        (b"A='a b' \"c\" d 'e'\n", [b"A=a bcd 'e'"]),
        (b'A="x\\"\\$\\\\\\n\\\ny"\nB=\\"z\\ \n', [b'A=x"$\\\\ny', b'B="z ']),
        (b"A='one\ntwo'\nB=it's\n", [b"A=one\ntwo", b"B=it's"]),
        (b"A=a\\\nb\nB=1", [b"A=ab", b"B=1"]),
        (b"# it goes on \\\nA=1\n", [b"A=1"]),
        (b"A='never closed", [b"A=never closed"]),
        (b"not a name=1\n1A=1\n", []),
    ],
)
def test_a_file_of_variables(text, values):
    """By the states of systemd's parser (src/basic/env-file.c, v254): quotes count at the start of a value alone."""
    assert [word for line in parse_environment(text).lines for word in line.words] == values


_GENERATOR = "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator"


def test_variables_as_systemd_has_them(tmp_path):
    """Files made at random, compared with what systemd's own parser makes of them."""
    if not os.access(_GENERATOR, os.X_OK):
        pytest.skip("no systemd")
    rng = random.Random(2)
    parts = ["a", " ", "'b c'", '"d \\\\ \\" e\\z"', "\\ ", "\\\\", "\\'", "=", "/x", "\\\n", "#", ";"]
    text = "".join(f"V{number} = x{''.join(rng.choices(parts, k=rng.randrange(1, 9)))}\n" for number in range(150))
    text += "".join(
        f"V{number} = {''.join(rng.choices(parts, k=rng.randrange(1, 9)))}x\n" for number in range(150, 300)
    )
    folder = tmp_path / "environment.d"
    folder.mkdir()
    (folder / "a.conf").write_text(text)
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": "/nonexistent"}
    told = subprocess.run([_GENERATOR], env=environment, capture_output=True, text=True, check=True).stdout
    values = [word for line in told.splitlines() if line.startswith("V") for word in shlex.split(line)]
    wanted = dict(word.split("=", 1) for word in values)
    assert len(wanted) == 300
    words = [word.decode() for line in parse_environment(text.encode()).lines for word in line.words]
    assert dict(word.split("=", 1) for word in words) == wanted


def test_a_script(tmp_path):
    """The same words as a shell has, line by line; quoted values over several lines; apostrophes do no harm."""
    script = tmp_path / "script"
    script.write_bytes(
        b"#!/bin/sh\n# it's --data-root=/x\nOPTS=\"\n -g '/my disk'\n\"\nexport B=1 \\\n C='2 3'\necho don\\'t\n"
    )
    lines = [list(line.words) for line in parse_shell(script.read_bytes()).lines]
    assert lines == [[b"OPTS=\n -g '/my disk'\n"], [b"export", b"B=1", b"C=2 3"], [b"echo", b"don't"]]
    shown = subprocess.run(
        ["sh", "-c", '. "$0"; printf "%s\\0" "$OPTS" "$B" "$C"', script], capture_output=True, check=True
    ).stdout
    values = [word.partition(b"=")[2] for line in lines for word in line if b"=" in word]
    assert shown.removeprefix(b"don't\n").split(b"\0")[:-1] == values


def test_an_apostrophe_in_a_script():
    """What follows it in other lines is read as it is."""
    lines = [list(line.words) for line in parse_shell(b"echo it's\ndockerd -g /d\necho it's\n").lines]
    assert [b"dockerd", b"-g", b"/d"] in lines


def test_options_without_quotes():
    """A file that systemd reads, and no shell."""
    lines = parse_shell(b"OPTS=--data-root /d -D\n").lines
    assert [b"OPTS=--data-root /d -D"] in [list(line.words) for line in lines]


def test_command_lines_within_a_line():
    """What a shell is given, and what a variable holds, at any depth that people write; and where each word stands."""
    (line,) = parse_unit(b"""ExecStart=/bin/sh -c "export X='-g /a' && exec sh -c 'dockerd -D'" end\n""").lines
    groups = {place: list(words) for place, words in line.groups}
    assert groups == {
        (): [b"/bin/sh", b"-c", b"export X='-g /a' && exec sh -c 'dockerd -D'", b"end"],
        (2,): [b"export", b"X=-g /a", b"&&", b"exec", b"sh", b"-c", b"dockerd -D"],
        (2, 1): [b"-g", b"/a"],
        (2, 6): [b"dockerd", b"-D"],
    }


def test_groups_end():
    """However deep words are quoted."""
    (line,) = parse_unit(b"ExecStart=a " + b"b=-" * 50_000).lines
    assert len(list(line.groups)) < 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"token: x\n# data-dir: /o\ndata-dir: /d # why\n", [b"--data-dir=/d"]),
        (b"\"data-dir\": '/my disk'\nnode-label:\n  - a=b\n", [b"--data-dir=/my disk"]),
        (b'{"data-dir": "/d", "n": 1}', [b"--data-dir=/d"]),
        (b"data-dir:\n  /d\n", [b"--data-dir=/d"]),
        (b'# of a tool\n{"data-dir": "/d"}\n', [b"--data-dir=/d"]),
        (b'---\n{"n": [1, 2],\n "data-dir": "/d"}\n', [b"--data-dir=/d"]),
        (b"data-dir: &d >-\n  /d\n", [b"--data-dir=/d"]),
        (b"{n: 1, data-dir: /d}", [b"--data-dir=/d}", b"--data-dir=/d"]),
        (b"data-dir: /a,b\r\n", [b"--data-dir=/a,b", b"--data-dir=/a"]),
        (b"my-data-dir: /d\ndata-dir:", []),
        (b"[1]", []),
        (b"{", []),
        (b"{}", []),
    ],
)
def test_settings_of_k3s(text, words):
    """YAML in the forms that it is written in, and JSON."""
    assert [word for line in parse_rancher(text).lines for word in line.words] == words


@pytest.mark.parametrize("parse", [parse_unit, parse_environment, parse_shell, parse_rancher])
def test_bytes_of_any_kind(parse):
    """No file raises, whatever is in it."""
    rng = random.Random(3)
    quotes = [b'"', b"'", b"\\", b"\\x4", b"\\u00", b"\\777", b"\\ud800", b"\\\n"]
    parts = [
        b"[Service]\n",
        b"ExecStart=",
        b"A=",
        b"data-dir",
        *quotes,
        *(bytes([char]) for char in b"\n =-x#\0\xff{}:,$`\r"),
    ]
    for _ in range(3_000):
        for line in parse(b"".join(rng.choices(parts, k=rng.randrange(40)))).lines:
            assert all(isinstance(word, bytes) for _, words in line.groups for word in words)


@pytest.mark.parametrize(
    "text",
    [
        b"X='\n" * 60_000 + b"'\"",
        b'X="a b c d" ' * 10_000,
        b"ExecStart=/bin/sh -c '" + b"a b " * 30_000 + b"'",
        b"A=" + b"'\"" * 100_000,
        b"\\\n" * 100_000,
        b"data-dir: " * 25_000,
        b"a;" * 100_000,
        b"data-dir:" + b"! " * 100_000,
    ],
    ids=range(8),
)
def test_files_made_to_keep_a_reader_busy(text):
    """Every kind of parser ends in a moment."""
    start = time.process_time()
    for parse in (parse_unit, parse_environment, parse_shell, parse_rancher):
        for line in parse(text).lines:
            assert line.groups
    assert time.process_time() - start < 10

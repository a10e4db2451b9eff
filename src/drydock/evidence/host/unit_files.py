"""The files that say how a service is started, each kind parsed by its own rules to lines of words.

Sources: systemd src/shared/conf-parser.c (v252) for units and drop-ins, src/basic/env-file.c (v254) for environment
files. Option files and scripts of other init systems are shell code. k3s and RKE2 have settings in YAML (k3s
pkg/configfilearg/parser.go).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from drydock.evidence.host.command_lines import split_shell, split_words

_BLANK: Final = b" \t\r"
_BLANKS: Final = (b" ", b"\t", b"\n")
_QUOTES: Final = (b'"', b"'")
_COMMENTS: Final = (b"#", b";")
_PREFIXES: Final = b"@-:+!|"
"""Characters that may stand in front of a command (systemd.service(5), v257)."""
_OPENED: Final = re.compile(rb"""=(["'])[^"']*\Z""")
"""The start of a quoted value that goes on in the next line."""
_LINE_END: Final = re.compile(rb"\r\n|\n\r|[\r\n\0]")
"""Ends of lines (systemd src/basic/fileio.c read_line_full, v252)."""
_COMMENT_LINE: Final = re.compile(rb"(?m)^[ \t]*#[^\n]*\n?")
_DATA_DIR: Final = re.compile(
    rb"""(?<![\w-])["']?data-dir["']?[ \t\r]*:\s*(?:(?:[&!]\S+|[>|][-+0-9]*)\s+)*(\S[^\n]*)"""
)
"""The setting, with its value behind a tag, an anchor, or the sign of a block of text."""
_FLOW_END: Final = re.compile(rb"[,\]}]")
_NEEDS_ESCAPE: Final = b'"\\`$'
_DEEPEST: Final = 4
_LONGEST: Final = 32 * 4096
"""Bytes of the longest argument that Linux passes to a program (include/uapi/linux/binfmts.h, MAX_ARG_STRLEN)."""

Position = tuple[int, ...]
"""The position of a word in a line: its index, behind the indexes of the words that it is a part of."""


class CommandLine:
    """One command, or one assignment of variables.

    Attributes:
        key: the setting of the unit, such as ``ExecStart`` or ``Environment``; empty in another kind of file.
        words: the words of the line.
    """

    def __init__(self, key: bytes, words: Sequence[bytes]) -> None:
        self.key = key
        self.words = words

    @property
    def is_command(self) -> bool:
        """Whether it is a command that systemd runs."""
        return self.key.startswith(b"Exec")

    @cached_property
    def groups(self) -> list[tuple[Position, Sequence[bytes]]]:
        """The command line, and the command lines in its words: arguments of ``sh -c``, and values of variables.

        Each has the position of the word with the command line, and the words of it. Positions compare in the order of
        the words in the line.
        """
        return list(_unfold((), self.words))


class UnitFile(NamedTuple):
    """The part of one file that concerns the start of a service."""

    lines: list[CommandLine]
    environment_files: list[bytes]
    """Paths of environment files. systemd takes the whole rest of the line as the path, with spaces and quotes."""


def assignment(word: bytes) -> tuple[bytes, bytes] | None:
    """The name and the value of the variable that a word sets; None if it sets none."""
    name, equals, value = word.partition(b"=")
    return (name, value) if equals and _is_name(name) else None


def _is_name(text: bytes) -> bool:
    """Whether a variable can have this name."""
    return text.replace(b"_", b"a").isalnum() and not text[:1].isdigit()


def parse_unit(text: bytes) -> UnitFile:
    """The commands and variables of a unit or a drop-in; a file without any section header counts as a service's."""
    found = UnitFile([], [])
    section = b"Service"
    for line in _unit_lines(text):
        if line.startswith(b"["):
            section = line[1:-1] if line.endswith(b"]") else section
            continue
        key, equals, value = (part.strip() for part in line.partition(b"="))
        if section != b"Service" or not equals or not value:
            continue
        if key.startswith(b"Exec"):
            found.lines.append(CommandLine(key, split_words(value.lstrip(_PREFIXES))))
        elif key == b"Environment":
            found.lines.append(CommandLine(key, split_words(value)))
        elif key == b"EnvironmentFile":
            found.environment_files.append(value.removeprefix(b"-"))
    return found


def _unit_lines(text: bytes) -> Iterator[bytes]:
    """The lines without comments. A line that a backslash continues is joined with the next, with a space between."""
    parts: list[bytes] = []
    for line in _LINE_END.split(text):
        stripped = line.strip()
        if stripped.startswith(_COMMENTS):  # a comment may stand between the parts of one line
            continue
        backslashes = len(line) - len(line.rstrip(b"\\"))
        if backslashes % 2:
            parts.append(line[:-1] + b" ")
            continue
        if parts:
            stripped = b"".join((*parts, line)).strip()
            parts.clear()
        if stripped:
            yield stripped
    if parts:
        yield b"".join(parts).strip()


def parse_environment(text: bytes) -> UnitFile:
    """The variables that an environment file sets. A value without quotes goes to the end of its line."""
    found = UnitFile([], [])
    at, end = 0, len(text)
    while at < end:
        stop = text.find(b"\n", at)
        stop = end if stop < 0 else stop
        equals = text.find(b"=", at, stop)
        if equals < 0 or text[at:equals].lstrip().startswith(_COMMENTS):
            at = stop + 1
            continue
        name = text[at:equals].strip()
        value, at = _take_value(text, equals + 1)
        if _is_name(name):
            found.lines.append(CommandLine(b"", [name + b"=" + value]))
    return found


def _take_value(text: bytes, at: int) -> tuple[bytes, int]:
    """The value of a variable, and the position of the next line."""
    parts: list[bytes] = []
    while True:
        while text[at : at + 1] and text[at] in _BLANK:
            at += 1
        first = text[at : at + 1]
        if first == b"'":
            end = text.find(b"'", at + 1)
            end = len(text) if end < 0 else end
            parts.append(text[at + 1 : end])
            at = end + 1
        elif first == b'"':
            part, at = _take_quoted(text, at + 1)
            parts.append(part)
        elif first in (b"", b"\n"):
            return b"".join(parts), at + 1
        else:  # quotes mean nothing from here on
            part, at = _take_plain(text, at)
            return b"".join((*parts, part)), at


def _take_quoted(text: bytes, at: int) -> tuple[bytes, int]:
    """The text in double quotes, and the position behind them."""
    part = bytearray()
    while at < len(text):
        end = min(each if each >= 0 else len(text) for each in (text.find(b'"', at), text.find(b"\\", at)))
        part += text[at:end]
        escaped = text[end + 1 : end + 2]
        if text[end : end + 1] != b"\\":
            return bytes(part), end + 1
        if escaped != b"\n":
            part += escaped if escaped and escaped in _NEEDS_ESCAPE else b"\\" + escaped
        at = end + 2
    return bytes(part), at


def _take_plain(text: bytes, at: int) -> tuple[bytes, int]:
    """The text without quotes up to the end of the line, and the position of the next line."""
    part = bytearray()
    kept = 0
    while True:
        end = min(each if each >= 0 else len(text) for each in (text.find(b"\n", at), text.find(b"\\", at)))
        part += text[at:end]
        if text[end : end + 1] != b"\\":
            return bytes(part[:kept] + part[kept:].rstrip()), end + 1
        escaped = text[end + 1 : end + 2]
        part += b"" if escaped == b"\n" else escaped
        kept = len(part)  # a blank behind a backslash is kept
        at = end + 2


def parse_shell(text: bytes) -> UnitFile:
    """The commands and variables of a script, or of a file that a script reads.

    A quote that is not closed in its line goes on in the next line if it begins a value. Otherwise it ends with its
    line, because it is most likely an apostrophe. A value without quotes that begins with a dash goes to the end of its
    line, as systemd reads such a file.
    """
    found = UnitFile([], [])
    text = text.replace(b"\\\n", b"")
    at, left = 0, 2 * len(text)
    while at < len(text):
        end = text.find(b"\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end].strip()
        if opened := _OPENED.search(line):
            closed = text.find(opened[1], end)
            stop = text.find(b"\n", closed) if closed >= 0 else -1
            whole = text[at : stop if stop >= 0 else len(text)] if closed >= 0 else b""
            left -= len(whole)  # a hostile file may open a quote in every line
            if whole and left > 0 and _is_closed(whole):
                line, end = whole.strip(), at + len(whole)
        at = end + 1
        if not line or line.startswith(_COMMENTS):
            continue
        found.lines.append(CommandLine(b"", split_shell(line)))
        set_to = assignment(line)
        if set_to is not None and set_to[1].startswith(b"-") and b"'" not in line and b'"' not in line:
            found.lines.append(CommandLine(b"", [line]))
    return found


def _is_closed(line: bytes) -> bool:
    try:
        shlex.split(line.decode("latin-1"))
    except ValueError:
        return False
    return True


def parse_rancher(text: bytes) -> UnitFile:
    """The data directory of a k3s or RKE2 configuration, as the flag that k3s makes of the setting.

    The setting is found anywhere in the YAML, in a JSON object too. A value without quotes goes to the end of its line;
    where it has a bracket or a comma, the part before is a second value, because a JSON object may end there.
    """
    found = UnitFile([], [])
    for match in _DATA_DIR.finditer(_COMMENT_LINE.sub(b"", text)):
        value, quote = match[1].strip(), match[1][:1]
        if quote in (b'"', b"'"):
            values = [value[1:].partition(quote)[0]]
        else:
            plain = value.partition(b" #")[0].rstrip()
            values = list(dict.fromkeys((plain, _FLOW_END.split(plain, 1)[0].rstrip())))
        found.lines.extend(CommandLine(b"", [b"--data-dir=" + each]) for each in values if each)
    return found


def _unfold(place: Position, words: Sequence[bytes]) -> Iterator[tuple[Position, Sequence[bytes]]]:
    yield place, words
    if len(place) == _DEEPEST:
        return
    for index, word in enumerate(words):
        if len(word) > _LONGEST:
            continue
        set_to = assignment(word)
        inner = set_to[1] if set_to is not None else word
        if word.startswith(b"-"):
            inner = word.partition(b"=")[2] or word
        is_open = inner.startswith(_QUOTES)  # its quote is not closed
        inner = inner.lstrip(b"\"'") if is_open else inner
        if is_open or any(blank in inner for blank in _BLANKS) or (set_to is not None and inner.startswith(b"-")):
            parts = split_shell(inner, has_operators=inner is word)
            if parts == [inner]:  # the rest of a quoted text that began in another line
                parts = inner.translate(None, b"\"'").split()
            yield from _unfold((*place, index), parts)

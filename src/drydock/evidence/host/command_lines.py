r"""Command lines: their words, as systemd and as a shell split them, and the flags in a list of words.

systemd's rules are those of extract_first_word in src/basic/extract-word.c (v257). They differ from a shell's: a
backslash escapes within single quotes too, and ``\x20`` and the like are C's escapes. So its words are split here,
and those of a shell by the standard library's ``shlex``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_PLAIN = re.compile(rb"""[^ \t\r\n"'\\]+""")
_BLANKS = b" \t\r\n"
_QUOTES = (b'"', b"'")
_ESCAPE = re.compile(rb"x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{3}|.", re.DOTALL)
_LETTERS = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"s": b" ",
}  # fmt: skip
_PUNCTUATION = (b"\\", *_QUOTES)
_LARGEST_CHARACTER = 0x10FFFF


class Flag(NamedTuple):
    """A flag of a command line."""

    name: bytes
    """Without its dashes."""
    value: bytes
    at: int
    """Which of the words it is."""


def split_words(line: bytes) -> list[bytes]:
    """The words of a line in a unit file. A quote that is not closed stays in its word, which ends with the line."""
    words: list[bytes] = []
    word: bytearray | None = None
    at, end = 0, len(line)
    while at < end:
        first = line[at : at + 1]
        if first in _BLANKS:
            at += 1
            if word is not None:
                words.append(bytes(word))
            word = None
            continue
        word = bytearray() if word is None else word
        if first in _QUOTES:
            at = _take_quoted(line, at + 1, first, word)
        elif first == b"\\":
            at = _take_escape(line, at + 1, word)
        else:
            match = _PLAIN.match(line, at)
            assert match is not None  # it is none of the others
            word += match[0]
            at = match.end()
    if word is not None:
        words.append(bytes(word))
    return words


def _take_quoted(line: bytes, at: int, quote: bytes, word: bytearray) -> int:
    """Add what is quoted to the word; give the byte behind the closing quote."""
    begin = len(word)
    while (closed := line.find(quote, at)) >= 0:
        escape = line.find(b"\\", at, closed)
        if escape < 0:
            word += line[at:closed]
            return closed + 1
        word += line[at:escape]
        at = _take_escape(line, escape + 1, word)
    word[begin:begin] = quote
    word += line[at:]
    return len(line)


def _take_escape(line: bytes, at: int, word: bytearray) -> int:
    """Add what an escape stands for to the word; one that systemd does not know stays as it is written."""
    match = _ESCAPE.match(line, at)
    if match is None:  # the backslash ends the line
        word += b"\\"
        return at
    code = match[0]
    if code in _LETTERS:
        word += _LETTERS[code]
    elif code in _PUNCTUATION:
        word += code
    elif len(code) == 1 or (character := _character(code)) is None:
        word += b"\\" + code
    else:
        word += character
    return match.end()


def _character(code: bytes) -> bytes | None:
    """What the number of an escape stands for: a byte, or of ``u`` and ``U`` a character in UTF-8; never a NUL."""
    is_byte = code[:1] not in (b"u", b"U")
    number = int(code, 8) if code.isdigit() else int(code[1:], 16)
    if not 0 < number <= (0xFF if is_byte else _LARGEST_CHARACTER):
        return None
    return bytes([number]) if is_byte else chr(number).encode("utf-8", "surrogatepass")


def split_shell(line: bytes) -> list[bytes]:
    """The words of a line of a shell script; by systemd's rules where its quotes are not closed."""
    try:
        # Latin-1 has a character for each byte.
        return [word.encode("latin-1") for word in shlex.split(line.decode("latin-1"))]
    except ValueError:
        return split_words(line)


def read_flags(words: Sequence[bytes], names: frozenset[bytes]) -> Iterator[Flag]:
    """Each flag of a command line that has one of these names and a value, in order.

    In any spelling of Go's flag packages: ``-x v``, ``--x v``, ``-x=v``, ``--x=v``, and pflag's ``-x/v``.
    """
    for at, word in enumerate(words):
        if not word.startswith(b"-"):
            continue
        name, equals, value = word.partition(b"=")
        name = name[2:] if name.startswith(b"--") else name[1:]
        if name in names:
            if equals:
                yield Flag(name, value, at)
            elif at + 1 < len(words):
                yield Flag(name, words[at + 1], at)
        elif word[1:2] in names and word[2:3] == b"/":
            yield Flag(word[1:2], word[2:], at)


def last_flag(words: Sequence[bytes], *names: bytes) -> bytes | None:
    """The value that counts of a flag with several names: the last one; None where there is none."""
    last = None
    for flag in read_flags(words, frozenset(names)):
        last = flag.value
    return last

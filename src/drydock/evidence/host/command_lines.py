r"""Command lines: their words, as systemd and as a shell split them, and the flags in a list of words.

The rules of systemd are those of ``extract_first_word`` (src/basic/extract-word.c, v252). They differ from those of a
shell: a backslash escapes in single quotes too, and ``\x20`` and the like are the escapes of C. So this module splits
the words of units itself, and the words of shells with the standard library's ``shlex``.
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
_OPERATORS = (b";", b"&", b"|", b"<", b">", b"(", b")")
_LARGEST_CHARACTER = 0x10FFFF


class Flag(NamedTuple):
    """A flag of a command line."""

    name: bytes
    """Without its dashes."""
    value: bytes
    at: int
    """The index of the flag in the list of words."""


def split_words(line: bytes) -> list[bytes]:
    """The words of a line in a unit file. A quote that is not closed stays in its word, up to the end of the line."""
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
    """Add the quoted text to the word, and return the position behind the closing quote."""
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
    """Add the meaning of an escape to the word; an escape that systemd does not know is added as it is written."""
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
    """The meaning of a numeric escape: a byte, or for ``u`` and ``U`` a character in UTF-8; None for a wrong number."""
    is_byte = code[:1] not in (b"u", b"U")
    number = int(code, 8) if code.isdigit() else int(code[1:], 16)
    if not 0 < number <= (0xFF if is_byte else _LARGEST_CHARACTER):
        return None
    return bytes([number]) if is_byte else chr(number).encode("utf-8", "surrogatepass")


def split_shell(line: bytes, *, has_operators: bool = True) -> list[bytes]:
    """The words of a line of a shell script. If its quotes are not closed, systemd's rules split it.

    Args:
        line: the line.
        has_operators: operators such as ``;`` end a word; not in the value of a variable.
    """
    special = (*_PUNCTUATION, *_OPERATORS) if has_operators else _PUNCTUATION
    if not any(char in line for char in special):  # most lines, and much faster
        return line.split()
    # Latin-1 has a character for each byte.
    lexer = shlex.shlex(line.decode("latin-1"), posix=True, punctuation_chars=has_operators)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        return [word.encode("latin-1") for word in lexer]
    except ValueError:
        return split_words(line)


def read_flags(words: Sequence[bytes], names: frozenset[bytes]) -> Iterator[Flag]:
    """The flags of a command line that have one of these names and a value, in order.

    All spellings of Go's flag packages count: ``-x v``, ``--x v``, ``-x=v``, ``--x=v``, and pflag's ``-x/v``.
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
    """The last value of a flag with these names, which is the one that counts; None if it is not there."""
    last = None
    for flag in read_flags(words, frozenset(names)):
        last = flag.value
    return last

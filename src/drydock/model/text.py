"""Escapes raw names, reversibly: the text has one line, no control sequence, and nothing that reorders text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_PLAIN = re.compile(rb"[\w@%+=:,./-]+", re.ASCII)
_ESCAPE = re.compile(r"\\(?:(\\)|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


def shown(raw: bytes) -> str:
    r"""``raw`` as text for a terminal, a page or a document.

    UTF-8 is kept where it is printable. Everything else is escaped as in Python's literals: a backslash doubled, bytes
    that are no UTF-8 as ``\xNN``, control, format (so every bidirectional mark), separator and unassigned characters
    as ``\xNN`` below U+0080 and ``\uNNNN`` or ``\UNNNNNNNN`` above. :func:`unshown` gives the same bytes back.
    """
    text = raw.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escape, text))


def printable(text: str) -> str:
    """Escapes a text that may contain raw words, such as the message of a library; backslashes stay single."""
    if text.isprintable():
        return text
    return "".join(char if char == "\\" else _escape(char) for char in text)


def unshown(text: str) -> bytes:
    """The bytes from which :func:`shown` made ``text``; any other text is encoded in UTF-8."""
    if "\\" not in text:
        return _encode(text)
    parts: list[bytes] = []
    end = 0
    for match in _ESCAPE.finditer(text):
        parts.append(_encode(text[end : match.start()]))
        backslash, byte, short, long = match.groups()
        if backslash:
            parts.append(b"\\")
        elif byte:
            parts.append(bytes.fromhex(byte))
        else:
            code = int(short or long, 16)
            parts.append(chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else _encode(match.group()))
        end = match.end()
    parts.append(_encode(text[end:]))
    return b"".join(parts)


def quoted(raw: bytes) -> str:
    """``raw`` as one word of a shell command that can be shown and copied.

    The word is plain if no character has a meaning to a shell, in single quotes if it is printable, and otherwise in
    bash's ``$'...'``, so that no raw control sequence is shown.
    """
    if _PLAIN.fullmatch(raw):
        return raw.decode()
    text = raw.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return "'" + text.replace("'", "'\"'\"'") + "'"
    return "$'" + "".join(char if char.isprintable() and char not in "'\\" else _bytewise(char) for char in text) + "'"


def quoted_name(raw: bytes) -> str:
    """As :func:`quoted`, for a name on drydock's own command line, where :func:`unshown` reads what is shown."""
    return quoted(shown(raw).encode())


def quoted_path(raw: bytes) -> str:
    """As :func:`quoted`; a path that begins with a dash gets ``./`` before it, so that it is no option."""
    return quoted(b"./" + raw if raw.startswith(b"-") else raw)


def coded(char: str) -> str:
    """The escape of a character that :func:`unshown` reads, whether the character is printable or not."""
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _bytewise(char: str) -> str:
    # An escape has two digits; bash, zsh and ash read no more.
    return f"\\{char}" if char in "'\\" else "".join(f"\\x{byte:02x}" for byte in _encode(char))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _escape(char: str) -> str:
    if char == "\\":
        return r"\\"
    return char if char.isprintable() else coded(char)


def did_you_mean(word: str, names: Iterable[str], meant: Mapping[str, str] | None = None) -> str:
    """A question about similar names, to be put after a message about a mistyped word; empty if there are none.

    Args:
        word: as typed.
        names: the possible words.
        meant: what the question calls each of them, if not by its name.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - a start must be fast, and few words are mistyped

    near = dict.fromkeys(each if meant is None else meant[each] for each in get_close_matches(word, list(names)))
    return f"; did you mean {' or '.join(near)}?" if near else ""

"""Names are shown on one line without control over the terminal, and can be typed back."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.model.text import printable, shown, unshown


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"docker.io/library/x:1", "docker.io/library/x:1"),
        ("größe 漢".encode(), "größe 漢"),
        (b"a\nb\x1b[31m", r"a\x0ab\x1b[31m"),
        (b"back\\slash", r"back\\slash"),
        (b"\xff\xfe", r"\xff\xfe"),
        ("abc\u202edef".encode(), r"abc\u202edef"),
        ("\U000e0001".encode(), r"\U000e0001"),
        ("\x85".encode(), r"\u0085"),
        ("\u2028".encode(), r"\u2028"),
    ],
)
def test_shows_what_is_printable_and_escapes_the_rest(raw, text):
    """Each class of hostile character has one known spelling."""
    assert shown(raw) == text


@given(st.binary())
def test_is_reversible(raw):
    """Any bytes can be shown, and the shown text names the same bytes again."""
    assert unshown(shown(raw)) == raw


@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_is_one_harmless_line(raw):
    """Nothing that moves the cursor, reorders or hides text is left, and it can be written as UTF-8."""
    text = shown(raw)
    text.encode("utf-8")
    assert not {unicodedata.category(char) for char in text} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_printable_leaves_backslashes():
    """What a library says may have escaped a word already; only what is raw is escaped."""
    assert printable("no '\\x1b' \x1b[31m\n\u202e") == "no '\\x1b' \\x1b[31m\\x0a\\u202e"

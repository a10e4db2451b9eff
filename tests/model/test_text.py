"""Names are shown on one line without control over the terminal, and can be typed back."""

import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.model.text import printable, quoted, quoted_path, shown, unshown


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


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"/var/lib/docker", "/var/lib/docker"),
        (b"", "''"),
        (b"a b", "'a b'"),
        (b"b\\x", r"'b\x'"),
        ("größe 漢".encode(), "'größe 漢'"),
        (b"it's", """'it'"'"'s'"""),
        (b"a\n'\\\xff", r"$'a\x0a\'\\\xff'"),
        ("\u202eb".encode(), r"$'\xe2\x80\xaeb'"),
    ],
)
def test_quotes_as_little_as_it_can(raw, word):
    """Plain, in single quotes, or with escapes."""
    assert quoted(raw) == word


@given(st.lists(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))))
def test_a_shell_reads_what_was_quoted(words):
    """Bash gives each word's very bytes, and what is shown of it is one harmless line."""
    words = [word.replace(b"\0", b"") for word in words]
    line = " ".join(map(quoted, words))
    assert line.isprintable()
    said = subprocess.run(["bash", "-c", f"printf '%s\\0' -- {line}"], capture_output=True, check=True).stdout
    assert said.split(b"\0")[:-1] == [b"--", *words] if words else [b"--"]


def test_a_path_is_no_option():
    """What begins with a dash is named from its folder on; nothing else is changed."""
    assert (quoted_path(b"-x"), quoted_path(b"- y"), quoted_path(b"/-x"), quoted(b"-x")) == (
        "./-x",
        "'./- y'",
        "/-x",
        "-x",
    )

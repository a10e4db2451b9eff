"""Markdown for a ticket: what is said is there, and no name becomes markup."""

import pytest
from markdown_it import MarkdownIt
from tests.support.scans import scan_of_everything
from tests.support.values import NOW

from drydock.model.names import RawPath
from drydock.report.markdown import literal, markdown_lines

WHERE = RawPath(b"/mnt/a host")


def rendered(name, **options):
    """The tokens of CommonMark with tables and links, as GitHub has them."""
    text = "\n".join(markdown_lines([scan_of_everything(name, inventory=True, **options)], NOW, WHERE))
    return text, MarkdownIt("commonmark").enable(["table"]).parse(text)


def inline(tokens):
    """Every inline token."""
    return [child for token in tokens for child in token.children or ()]


@pytest.mark.parametrize(
    "name",
    [
        b"plain", b"`a`", b"``", b"a|b", b"**bold**", b"<script>x</script>", b"[x](https://evil.example)",
        b"https://evil.example", b"@somebody #1", b"\\`|", b"![i](http://x)", b"a\n\n# head", b"|", b"`", b"` `` ```|",
    ],
)  # fmt: skip
def test_names_stay_text(name):
    """No link, no image, no markup and no further heading or cell comes of a name."""
    text, tokens = rendered(name)
    plain_text, plain = rendered(b"plain")
    kinds = [token.type for token in tokens]
    assert kinds == [token.type for token in plain]
    assert {token.type for token in inline(tokens)} <= {
        "text",
        "code_inline",
        "strong_open",
        "strong_close",
        "softbreak",
    }
    assert len(text.splitlines()) == len(plain_text.splitlines())


def test_it_says_what_counts():
    """Amounts, what can be freed, damage, the largest holders, and commands that can be typed."""
    text, tokens = rendered(b"plain")
    for words in (
        "Can be freed now: **8.0 KiB**",
        "By ending leases: **",
        "Damage: **",
        "| `image docker.io/plain` |",
        "What fills `/data/plain`:",
        "| 29.0 MiB | `volumes (2)` | `you: docker volume rm NAME` |",
        "Not measured: `unknown (otherplain)`",
        "1. `27.0 MiB  unknown: plain (plain)`",
    ):
        assert words in text
    (commands,) = [token for token in tokens if token.type == "code_block"]
    assert commands.content.splitlines()[0] == "drydock clean '/mnt/a host'"


def test_holders_are_told_apart_by_their_namespaces():
    """Two images of one name are two lines."""
    text, _ = rendered(b"plain")
    assert "| `moby` | `image docker.io/plain` |" in text


def test_nothing_and_what_is_kept():
    """A host without storage is said to have none; what looks free and is kept is not said to be referenced."""
    assert "No containerd storage was found." in "\n".join(markdown_lines([], NOW, None))
    text = "\n".join(markdown_lines([scan_of_everything(b"plain", complete=False, inventory=True)], NOW, None))
    assert "Can be freed now: **nothing**. Some of it looks free, and is kept for a reason." in text
    assert "Something references everything" not in text


@pytest.mark.parametrize("text", ["", "`", "a`b", "`` ` ``", " x", "\\", "`x``"])
def test_code_spans_hold_any_text(text):
    """What CommonMark reads out of the span is the text that went in."""
    tokens = inline(MarkdownIt("commonmark").parse(f"a {literal(text)} b"))
    (span,) = [token for token in tokens if token.type == "code_inline"]
    assert span.content.strip() == text.strip()

"""Amounts and ids as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from drydock.report.wording import columns, short_ids, show_bytes, show_count


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1024**2 - 1, "1.0 MiB"),
        (1024**2, "1.0 MiB"), (15247142912, "14.2 GiB"), (1024**4, "1.0 TiB"), (1024**5, "1.0 PiB"),
        (5000 * 1024**5, "5000.0 PiB"),
    ],
)  # fmt: skip
def test_bytes(amount, text):
    """In the largest unit with a digit before the point, and never 1024 of a smaller one."""
    assert show_bytes(amount) == text


@given(st.integers(0, 1024**5 - 1))
def test_bytes_are_right_to_a_digit(amount):
    """The text read back is the amount, to the digit that is shown."""
    number, unit = show_bytes(amount).split()
    size = 1024 ** ("B", "KiB", "MiB", "GiB", "TiB", "PiB").index(unit)
    assert abs(float(number) * size - amount) <= size * 0.0501
    assert float(number) < 1024


def test_counts():
    """One is singular."""
    assert [show_count(count, "blob") for count in (0, 1, 2)] == ["0 blobs", "1 blob", "2 blobs"]


@pytest.mark.parametrize(("text", "short"), [
    ("sha256:" + "0f1e" * 16, "sha256:0f1e0f1e0f1e"),
    ("x4k2j5h6g7f8d9s0a1q2w3e4r", "x4k2j5h6g7f8"),
    ("moby/1/" + "abc1" * 16 + "-init", "moby/1/abc1abc1abc1-init"),
])  # fmt: skip
def test_ids_are_cut(text, short):
    """Digests, BuildKit's ids, and ids in longer keys."""
    assert short_ids(text) == short


@pytest.mark.parametrize("name", [
    "registry.example/kubernetesdashboardmetricsscraper:1",
    "docker.io/library/averyveryverylongimagename:latest",
    "example.org/averyverylongnameofanimage2024build:20240101120000123456789000",
])  # fmt: skip
def test_names_stay_whole(name):
    """A word of a name, or a number in it, however long: cut it would be another name."""
    assert short_ids(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        "größer",
        "e\u0301cole",
        "日本語",
        "한국어",
        "\uff57\uff49\uff44\uff45",
        "🚢 dock",
        "Ελλάδα",
        "עברית",
        "क्षि",
        "█░…├─",
    ],
)
def test_columns_are_those_of_a_terminal(text):
    """As rich has them: wide characters take two, marks that combine with the one before take none."""
    assert columns(text) == cell_len(text)

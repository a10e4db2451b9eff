"""Long ids are cut as docker cuts them, and nothing else is."""

import pytest

from drydock.report.wording import short_ids


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

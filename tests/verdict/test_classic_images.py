"""Names of images of the classic store, as users type them, and what is wrong with an image."""

from __future__ import annotations

import pytest

from drydock.model.data import Fingerprint
from drydock.model.errors import Usage
from drydock.model.layer_store import ClassicImage, DirectoryKind, LayerDirectory, LayerRecord, LayerStore
from drydock.model.names import Digest, RawPath
from drydock.verdict.classic_images import choose_classic_image, list_classic_images

NOTHING = Fingerprint(0, 0, 0, 0, 0, 0)


def _digest(letter):
    return Digest(b"sha256:" + letter.encode() * 64)


def _image(letter, *names, layers="x"):
    diffs = tuple(map(_digest, layers))
    return ClassicImage(
        _digest(letter), RawPath(b""), 0, tuple(map(str.encode, names)), diffs, diffs, None, b"2026-01-02T03:04:05Z",
        b"linux/amd64",
    )  # fmt: skip


def _store(*images, whole="x"):
    store = LayerStore(RawPath(b"/data"))
    store.images = {each.id: each for each in images}
    for letter in whole:
        chain, cache = _digest(letter), letter.encode() * 64
        store.layers[chain] = LayerRecord(chain, RawPath(b""), NOTHING, 0, cache, chain, None, 100, True)
        store.directories[cache] = LayerDirectory(
            cache, RawPath(b""), DirectoryKind.LAYER, NOTHING, True, None, (), True, True, allocated=4096
        )
    return store


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("app", "a"),
        ("app:latest", "a"),
        ("docker.io/library/app:latest", "a"),
        ("app:1", "b"),
        ("host:5000/app:1", "c"),
        ("host:5000/app", None),
        ("me/app:1", "d"),
        ("docker.io/me/app:1", "d"),
        ("sha256:" + "b" * 64, "b"),
        ("b" * 12, "b"),
        ("b", None),
        ("other", None),
    ],
)
def test_an_image_is_found_as_it_is_typed(word, found):
    """By a short name, a full one, its id and the beginning of the id."""
    images = _image("a", "app:latest"), _image("b", "app:1"), _image("c", "host:5000/app:1"), _image("d", "me/app:1")
    chosen = choose_classic_image([_store(*images)], word.encode())
    assert (chosen and chosen.image.id) == (found and _digest(found))


def test_a_word_for_several_images():
    """In one store or in several it means none of them."""
    with pytest.raises(Usage, match="may mean any of 2"):
        choose_classic_image([_store(_image("a", "app:1")), _store(_image("b", "app:1"))], b"app:1")


def test_rows():
    """One for each name; the bytes of its layers; a layer without a record or a directory is damage."""
    store = _store(_image("a", "app:1", "app:2", layers="xy"), _image("b", layers="xz"), whole="xyz")
    del store.directories[b"z" * 64]
    rows = {row["name"]: row for row in list_classic_images([store])}
    assert set(rows) == {"app:1", "app:2", ""}
    assert (rows["app:1"]["bytes"], rows["app:1"]["platforms"], rows["app:1"]["damaged"]) == (8192, ["linux/amd64"], [])
    assert (rows[""]["bytes"], rows[""]["incomplete"]) == (4096 + 100, ["linux/amd64"])
    assert rows[""]["damaged"] == ["sha256:" + "z" * 64]
    assert rows["app:1"]["created"] == "2026-01-02T03:04:05Z"

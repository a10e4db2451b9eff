"""The images and containers of Docker's classic store: in lists, and by the names that a user types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from drydock.model.errors import Usage
from drydock.model.layer_store import ClassicImage, LayerStore
from drydock.model.listings import Cell
from drydock.model.names import Digest, image_names
from drydock.model.store_modes import StoreMode
from drydock.model.text import shown
from drydock.model.times import parse_time, show_known
from drydock.verdict.choose import begins, several


class FoundImage(NamedTuple):
    """An image of a classic store."""

    store: LayerStore
    image: ClassicImage


def list_classic_images(stores: Iterable[LayerStore]) -> Iterator[dict[str, Cell]]:
    """A row for each name of each image, and for each image without a name."""
    for store in stores:
        for image in store.images.values():
            problems = [each for each in image.diff_ids if (layer_problem(store, image, each))]
            platform = [shown(image.platform) or "unknown"]
            for name in [each for each in image.names if b"@" not in each] or image.names[:1] or (b"",):
                yield {
                    "store": StoreMode.CLASSIC.value,
                    "namespace": None,
                    "name": shown(name),
                    "digest": shown(image.id),
                    "media_type": "",
                    "bytes": sum(sizes(store, image).values()),
                    "platforms": [] if problems or image.problem else platform,
                    "incomplete": platform if problems or image.problem else [],
                    "damaged": sorted(map(shown, problems)),
                    "labels": {},
                    "created": show_known(parse_time(image.created)),
                    "updated": None,
                }


def sizes(store: LayerStore, image: ClassicImage) -> dict[bytes, int]:
    """Bytes of the directories of an image's layers: of their allocated blocks, or else as recorded."""
    found: dict[bytes, int] = {}
    for chain_id in image.chain:
        layer = store.layers.get(chain_id)
        if layer is None or layer.cache_id is None:
            continue
        directory = store.directories.get(layer.cache_id)
        measured = None if directory is None else directory.allocated
        found[chain_id] = (layer.size or 0) if measured is None else measured
    return found


def layer_problem(store: LayerStore, image: ClassicImage, diff_id: Digest) -> str | None:
    """Why a layer of an image is damaged, on one shown line; None if nothing is known to be wrong with it."""
    chain_id = dict(zip(image.diff_ids, image.chain, strict=True)).get(diff_id)
    layer = None if chain_id is None else store.layers.get(chain_id)
    if layer is None:
        return "no record of it is in layerdb"
    if layer.problem:
        return layer.problem
    return None if layer.cache_id in store.directories else "its directory in overlay2 is missing"


def choose_classic_image(stores: Iterable[LayerStore], word: bytes) -> FoundImage | None:
    """Find the image that a word names: by its name, also as containerd has it, or by its id or the beginning of it.

    Raises:
        Usage: the word names several images.
    """
    known = [FoundImage(store, image) for store in stores for image in store.images.values()]
    wanted = {word, *image_names(word)}
    found = [each for each in known if any(wanted & {name, *image_names(name)} for name in each.image.names)]
    if not found:
        found = [each for each in known if any(begins(name, word) for name in _ids(each.image))]
    if len(found) > 1:
        raise Usage(several(word, (each.image.id for each in found)))
    return found[0] if found else None


def _ids(image: ClassicImage) -> tuple[bytes, bytes]:
    return image.id, image.id.partition(b":")[2]

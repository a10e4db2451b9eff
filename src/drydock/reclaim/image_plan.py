"""The part of a plan that drops images of Docker's classic store: their names, their files, and what only they held.

Of each image the folder beside its config goes first, then the config, as dockerd does (moby image/fs.go Delete,
v28.5); an image before those that were built on it, so that a run that is killed leaves those that tell why it goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from drydock.model.layer_store import LayerStore
from drydock.model.leases import LeaseClass
from drydock.model.names import Digest, Kind, RawPath, Ref, UnixNano
from drydock.model.plans import NameDrop, Removal, Target, Withheld
from drydock.model.policies import Policy
from drydock.model.store import Store
from drydock.model.text import shown
from drydock.verdict.judge import Reach
from drydock.verdict.leases import IMAGE_LEASE, is_dockers
from drydock.verdict.unused_classic_images import choose_classic_images

_CONFIGS = b"image/overlay2/imagedb/content/sha256/"
_BESIDE = b"image/overlay2/imagedb/metadata/sha256/"


@dataclass(slots=True)
class ImagePlan:
    """What goes of the images of one classic store, and what is left of the store."""

    left: LayerStore
    """The store without these images and names: what nothing in it uses may go."""
    names: list[NameDrop] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    """In order."""
    withheld: list[Withheld] = field(default_factory=list)


def plan_images(store: LayerStore, now: UnixNano, policy: Policy, kept: dict[Digest, str]) -> ImagePlan:
    """Decide which images of a classic store go.

    Args:
        store: as it was read, with the files of its images.
        now: the time that ages are counted back from.
        policy: its drops.
        kept: the images that stay by name, with the reason.
    """
    chosen = choose_classic_images(
        store,
        policy.drops,
        now,
        unused_for=policy.unused_for,
        filters=policy.filters,
        accepted=policy.accept_loss,
        kept=kept,
    )
    images = {key: each for key, each in store.images.items() if key not in chosen.images}
    names = {name: image for name, image in store.references.items() if name not in chosen.names}
    made = ImagePlan(replace(store, images=images, references=names))
    for name, why in chosen.names.items():
        made.names.append(NameDrop(store.data, name, store.references[name], why))
    for image, why in chosen.images.items():
        made.removals += _files(store, image, why)
    for called, why in chosen.staying.items():
        made.withheld.append(Withheld(Kind.IMAGE, shown(called), 0, why))
    return made


def image_leases(store: Store, reached: Reach, plans: Collection[ImagePlan]) -> dict[Ref, str]:
    """The leases in containerd of images that go, or went in a run that was killed, with the reason.

    dockerd keeps the manifest of an image that it pulled by such a lease, and ends it with the image (moby
    daemon/images/store.go, v28.5).
    """
    found: dict[Ref, str] = {}
    gone = {removal.path.rpartition(b"/")[2] for made in plans for removal in made.removals}
    stays = {image for made in plans for image in made.left.images}
    for lease in store.metadata.leases:
        if not is_dockers(lease.namespace) or not lease.id.startswith(IMAGE_LEASE):
            continue
        image = Digest(lease.id[len(IMAGE_LEASE) :])
        if image.partition(b":")[2] in gone and image not in stays:
            found[lease.ref] = "image: its image goes"
        elif reached.classes[lease.ref].kind is LeaseClass.OWNERLESS:
            found[lease.ref] = "image: its image is gone"
    return found


def _files(store: LayerStore, image: Digest, why: str) -> Iterator[Removal]:
    hexadecimal = image.partition(b":")[2]
    for folder in (_BESIDE, _CONFIGS):
        found = store.image_files.get(RawPath(folder + hexadecimal))
        if found is not None:
            yield Removal(Target.STORE_FILE, store.data, found.path, found.fingerprint, found.allocated, why)

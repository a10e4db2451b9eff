"""Why something is in a classic layer store: from an image, a container or a build to a layer and its directory."""

from __future__ import annotations

from collections.abc import Iterator

from drydock.model.explanations import Explanation
from drydock.model.inventories import Holder
from drydock.model.layer_store import ClassicImage, LayerStore
from drydock.model.names import Digest, Kind, Ref
from drydock.model.objects import LayerObject, ObjectKind, State, Verdict
from drydock.model.text import shown
from drydock.verdict.find import describe
from drydock.verdict.layer_holders import list_layer_holders
from drydock.verdict.layer_store import mount_owner

_LISTED = 20
_WHERE = "classic layer store"


def explain_layer(verdict: Verdict, found: LayerObject) -> Explanation:
    """Explain a part of a classic layer store."""
    store = next(each for each in verdict.store.layer_stores if each.data == found.data_root)
    facts = [("data root", shown(found.data_root))]
    if found.path is not None:
        facts.append(("path", shown(found.path)))
    facts += _facts(store, found)
    if found.note:
        facts.append(("note", found.note))
    kept = None if found.path is None else verdict.kept.get(store.data, {}).get(found.path)
    if kept is not None:
        facts.append(("kept", kept))
    place = next(number for number, each in enumerate(verdict.objects) if each is found)
    reaching = [each for each in list_layer_holders(store, verdict) if place in each.objects]
    # BuildKit's many records tell nothing more where an image or a container needs the object.
    holders = [each for each in reaching if each.ref.kind in (Kind.IMAGE, Kind.CONTAINER)] or reaching
    chains = [chain for each in holders if (chain := _chain(store, each, found))]
    if not chains and found.held_by:
        chains = [(_holder(store, found.held_by[0]), f"holds {_title(found)}")]
    targets = list(_targets(store, found))
    return Explanation(
        verdict.store.root.path,
        _title(found),
        found.state.value,
        tuple(facts),
        tuple(chains[:_LISTED]),
        None if chains else _nothing(found),
        tuple(targets[:_LISTED]),
        max(0, len(targets) - _LISTED),
        found.allocated,
    )


def explain_image(verdict: Verdict, store: LayerStore, image: ClassicImage) -> Explanation:
    """Explain an image of a classic layer store: its layers, each with its directory."""
    facts = [
        ("data root", shown(store.data)),
        ("id", shown(image.id)),
        ("names", ", ".join(map(shown, image.names)) or "none"),
        ("path", shown(image.path)),
    ]
    if image.created:
        facts.append(("created", shown(image.created)))
    if image.problem:
        facts.append(("note", image.problem))
    users = sorted(shown(each.name or each.id) for each in store.containers.values() if each.image == image.id)
    if users:
        facts.append(("containers", ", ".join(users)))
    targets = [_layer_and_directory(store, chain) for chain in image.chain]
    name = image.names[0] if image.names else image.id
    return Explanation(
        verdict.store.root.path,
        f"image {shown(name)} ({_WHERE})",
        "root",
        (*facts, ("why", "it is in Docker's imagedb: kept until it is removed")),
        (),
        None,
        tuple(targets[:_LISTED]),
        max(0, len(targets) - _LISTED),
    )


def _title(found: LayerObject) -> str:
    return f"{found.kind.value} {shown(found.id)} ({_WHERE})"


def _facts(store: LayerStore, found: LayerObject) -> Iterator[tuple[str, str]]:
    if found.kind is ObjectKind.LAYER_DIRECTORY:
        directory = store.directories.get(found.id)
        if directory is not None and directory.link is not None:
            yield "link", f"l/{shown(directory.link)}"
        if directory is not None and directory.lower:
            links = (store.links.get(name) for name in directory.lower)
            below = [shown(link.directory) if link and link.directory else "unknown" for link in links]
            yield "mounted on", ", ".join(below)
    elif found.kind is ObjectKind.LAYER:
        layer = store.layers.get(Digest(found.id))
        if layer is not None and layer.diff_id is not None:
            yield "diff id", shown(layer.diff_id)
        if layer is not None and layer.size is not None:
            yield "size", f"{layer.size} bytes in its files, as dockerd recorded it"


def _holder(store: LayerStore, ref: Ref) -> str:
    if ref.kind is Kind.CONTAINER:
        container = store.containers.get(ref.key)
        return f"container {shown((container and container.name) or ref.key)}: dockerd has it in containers/"
    if ref.kind is Kind.IMAGE:
        return f"image {shown(ref.key)}: it is in Docker's imagedb"
    kind, key = describe(ref)
    if ref.kind is Kind.LAYER_MOUNT:
        return f"record of a mount {shown(key)}: no container has it"
    return f"{kind} {shown(key)} of BuildKit"


def _chain(store: LayerStore, holder: Holder, found: LayerObject) -> tuple[str, ...]:
    """The steps from a holder to an object: layers from the top down, then the directory and its link."""
    steps = [_holder(store, holder.ref)]
    directory = _directory_of(store, found)
    mounts = [each for each in store.mounts.values() if _is_of(store, each.name, holder.ref)]
    mount = next((each for each in mounts if found.id == each.name or directory in each.directories), None)
    if mount is not None:
        steps.append(f"holds the record of a mount {shown(mount.name)}")
    else:
        layer = Digest(found.id) if found.kind is ObjectKind.LAYER else _layer_of(store, directory)
        if layer is None:
            return (*steps, f"holds {_title(found)}")
        image = next((each for each in store.images.values() if holder.ref.key in (*each.names, each.id)), None)
        if holder.ref.kind is Kind.IMAGE and image is not None and layer in image.chain:
            steps.append(
                f"holds layer {shown(layer)}, {image.chain.index(layer) + 1} of {len(image.chain)} in its config"
            )
        else:
            steps.append(f"holds layer {shown(layer)}, below its own")
    if found.kind in (ObjectKind.LAYER_DIRECTORY, ObjectKind.LAYER_LINK) and directory is not None:
        steps.append(f"holds layer directory {shown(directory)}")
    if found.kind is ObjectKind.LAYER_LINK:
        steps.append(f"holds link l/{shown(found.id)}")
    return tuple(steps)


def _is_of(store: LayerStore, mount: bytes, ref: Ref) -> bool:
    return ref.key == mount if ref.kind is Kind.LAYER_MOUNT else mount_owner(store, mount) == ref.key


def _directory_of(store: LayerStore, found: LayerObject) -> bytes | None:
    if found.kind is ObjectKind.LAYER_LINK:
        link = store.links.get(found.id)
        return None if link is None else link.directory
    return found.id if found.kind is ObjectKind.LAYER_DIRECTORY else None


def _layer_of(store: LayerStore, directory: bytes | None) -> Digest | None:
    return next((each.chain_id for each in store.layers.values() if each.cache_id == directory), None)


def _layer_and_directory(store: LayerStore, chain: Digest) -> str:
    layer = store.layers.get(chain)
    if layer is None:
        return f"layer {shown(chain)}; layerdb has no record of it"
    if layer.cache_id is None:
        return f"layer {shown(chain)}; {layer.problem}"
    there = "" if layer.cache_id in store.directories else ", which is missing"
    return f"layer {shown(chain)}, in overlay2/{shown(layer.cache_id)}{there}"


def _targets(store: LayerStore, found: LayerObject) -> Iterator[str]:
    if found.kind is ObjectKind.LAYER:
        layer = store.layers.get(Digest(found.id))
        if layer is not None and layer.cache_id is not None:
            yield f"layer directory {shown(layer.cache_id)}, its cache-id"
        if layer is not None and layer.parent is not None:
            yield f"layer {shown(layer.parent)}, its parent"
    elif found.kind is ObjectKind.LAYER_MOUNT:
        mount = store.mounts.get(found.id)
        if mount is not None:
            yield from (
                f"layer directory {shown(each)}" for each in (mount.mount_id, mount.init_id) if each is not None
            )
            if mount.parent is not None:
                yield f"layer {shown(mount.parent)}, its parent"


def _nothing(found: LayerObject) -> str:
    if found.state is State.FOREIGN:
        return found.note
    if found.reach is State.UNREACHABLE:
        return "no image, no container and no build uses it" + (f"; {found.note}" if found.note else "")
    return found.note or "nothing names it"

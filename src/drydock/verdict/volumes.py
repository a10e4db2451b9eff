"""Docker's volumes: as rows of a list, as explanations, and which of them a word names."""

from __future__ import annotations

from collections.abc import Iterable

from drydock.model.explanations import Explanation
from drydock.model.listings import Cell
from drydock.model.text import quoted, shown
from drydock.model.times import show_known, show_time
from drydock.model.volumes import Volume

_SHORTEST = 4
"""Characters of an anonymous volume's name that name it."""


def volume_rows(volumes: Iterable[Volume]) -> list[dict[str, Cell]]:
    """One row for each volume, by name."""
    return [_row(volume) for volume in volumes]


def find_volumes(volumes: Iterable[Volume], word: bytes) -> list[Volume]:
    """The volumes that a word names: by name, by a path in one, or by how the name of an anonymous one begins."""
    exact: list[Volume] = []
    begins: list[Volume] = []
    for volume in volumes:
        if word == volume.name or (b"/" in word and _is_path(volume, word)):
            exact.append(volume)
        elif volume.is_anonymous and len(word) >= _SHORTEST and volume.name.startswith(word):
            begins.append(volume)
    return exact or (begins if len(begins) == 1 else [])


def explain_volume(volume: Volume) -> Explanation:
    """Which containers mount a volume, since when it is there, and where its data is."""
    facts = [("path", shown(volume.path if volume.has_folder else volume.data + b"/volumes/metadata.db"))]
    facts.append(("driver", "not known" if volume.driver is None else shown(volume.driver)))
    if volume.device:
        facts.append(("data", f"mounted from {volume.device} when a container starts; drydock does not look there"))
    elif not volume.has_folder:
        facts.append(("data", "not in the data root"))
    if volume.created is not None:
        facts.append(("created", show_time(volume.created)))
    if volume.has_folder and not volume.has_row:
        facts.append(("labels", "none: the database of volumes does not have it, and docker volume prune keeps it"))
    if volume.note:
        facts.append(("note", volume.note))
    facts.append(("free it", f"drydock never removes a volume; docker volume rm {quoted(volume.name)} does"))
    users = volume.users or ()
    return Explanation(
        volume.data,
        f"volume {shown(volume.name)}",
        "volume" if volume.is_anonymous is None else "anonymous volume" if volume.is_anonymous else "named volume",
        tuple(facts),
        tuple(
            (f"container {shown(user.name or user.id)} ({shown(user.id)}) mounts it at {shown(user.target)}",)
            for user in users
        ),
        None if users else _nothing(volume),
        (),
    )


def _nothing(volume: Volume) -> str:
    if volume.users is None:
        return "no container that could be read mounts it, and not all could be read"
    return "no container mounts it; a service of a swarm, or a script, may still need its data"


def _row(volume: Volume) -> dict[str, Cell]:
    users = volume.users
    return {
        "data_root": shown(volume.data),
        "name": shown(volume.name),
        "driver": None if volume.driver is None else shown(volume.driver),
        "anonymous": volume.is_anonymous,
        "mounted_by": None if users is None else [shown(user.name or user.id) for user in users],
        "device": volume.device,
        "path": shown(volume.path) if volume.has_folder else None,
        "created": show_known(volume.created),
        "note": volume.note,
    }


def _is_path(volume: Volume, word: bytes) -> bool:
    word = word.rstrip(b"/")
    place = b"volumes/" + volume.name
    return any(word == each or word.startswith(each + b"/") for each in (place, volume.data + b"/" + place))

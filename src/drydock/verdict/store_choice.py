"""Which image store a data root was used with last, and which one the next start of its dockerd chooses.

Sources: moby daemon/daemon.go NewDaemon and daemon/graphdriver/driver.go (v24.0 to v28.5);
daemon/image_store_choice.go, daemon/command/daemon_linux.go and daemon/daemon.go (v29.0 to v29.7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from drydock.model import messages
from drydock.model.findings import Finding, Place
from drydock.model.leases import LeaseClass
from drydock.model.names import RawPath, is_container_id
from drydock.model.objects import LayerObject, Verdict
from drydock.model.roots import DockerContainer
from drydock.model.store_drops import IMAGE_STORE_NAMESPACES
from drydock.model.store_modes import (
    GRAPH_DRIVERS,
    ChoiceRules,
    DaemonSettings,
    IdleStore,
    StoreChoice,
    StoreMode,
    StoreRecords,
)
from drydock.model.text import shown
from drydock.model.times import show_time

_EARLY_DRIVERS = frozenset((b"overlay2", b"vfs", b"btrfs"))
"""The drivers whose name alone makes Docker 29.0 choose the classic store."""

_NO_REMAPPING = "the start fails: features.containerd-snapshotter and userns-remap exclude each other"


class _Outcome(NamedTuple):
    mode: StoreMode | None
    """None if the start fails."""
    reason: str


def choose_store(records: StoreRecords) -> StoreChoice:
    """Judge the evidence of one data root."""
    last, last_reason = _last(records)
    following, following_reason = _following(records)
    return StoreChoice(records.data, last, last_reason, following, following_reason)


def judge_stores(verdict: Verdict) -> list[StoreChoice]:
    """Which store each data root of a root uses, with what the other one has."""
    found: list[StoreChoice] = []
    for records in verdict.store.owners.stores:
        choice = choose_store(records)
        idle = None if choice.used is None else _idle(verdict, records, choice.used.other)
        is_first = records.data in verdict.store.root.layer_stores
        # Of the image store, bytes alone may be what a pull into the classic store has left.
        has_some = idle and (
            (idle.images and idle.mode is StoreMode.IMAGE_STORE)
            or (is_first and (idle.images or idle.containers or (idle.bytes and idle.mode is StoreMode.CLASSIC)))
        )
        found.append(choice._replace(idle=idle if has_some else None))
    return found


def idle_stores(verdict: Verdict) -> Iterator[Finding]:
    """A note for each store that has something, and that dockerd does not use."""
    for choice in judge_stores(verdict):
        if choice.idle is None or choice.used is None:
            continue
        mode, images, containers, size = choice.idle
        following = "it is not known which store the next start of dockerd chooses"
        if choice.following is not None:
            following = f"the next start of dockerd chooses the {choice.following.shown}"
        text = messages.IDLE_STORE(
            idle=mode.shown, data=choice.data, images=images, containers=containers, size=size,
            following=following, store=mode.value,
        )  # fmt: skip
        yield text.at(Place(choice.data))


def _idle(verdict: Verdict, records: StoreRecords, mode: StoreMode) -> IdleStore:
    store = verdict.store
    known = (store.owners.containers.get(each) for each in records.containers)
    containers = sum(each is not None and each.mode is mode for each in known)
    if mode is StoreMode.CLASSIC:
        images = sum(len(layers.images) for layers in store.layer_stores if layers.data == records.data)
        its = (each for each in verdict.objects if isinstance(each, LayerObject) and each.data_root == records.data)
        return IdleStore(mode, images, containers, sum(each.allocated for each in its))
    namespaces = frozenset(IMAGE_STORE_NAMESPACES)
    images = len({each.target for each in store.metadata.images if each.namespace in namespaces})
    classic = {each.ref for each in verdict.leases if each.kind is LeaseClass.IMAGE}
    size = sum(
        each.allocated
        for each in verdict.objects
        if each.namespaces
        and namespaces.issuperset(each.namespaces)
        and not (each.held_by and classic.issuperset(each.held_by))
    )
    return IdleStore(mode, images, containers, size)


def hidden_volumes(records: StoreRecords, containers: Mapping[bytes, DockerContainer]) -> Iterator[Finding]:
    """The anonymous volumes of containers that dockerd does not see, because the other store has their layers.

    dockerd counts a volume as used only by containers that it has loaded (moby daemon/daemon.go restore,
    daemon/mounts.go prepareMountPoints, v28.5 and v29.7).
    """
    used = choose_store(records).used
    if used is None:
        return
    found = [containers[each] for each in sorted(records.containers) if each in containers]
    seen = {name for each in found if each.mode is not used.other for name in _volumes(each)}
    hidden: dict[bytes, DockerContainer] = {}
    for container in (each for each in found if each.mode is used.other):
        for name in _volumes(container):
            if is_container_id(name) and name not in seen:  # 64 hexadecimal digits too
                hidden.setdefault(name, container)
    for name, container in sorted(hidden.items()):
        text = messages.HIDDEN_VOLUME(
            volume=name, container=container.name or container.id, hidden=used.other.shown, used=used.shown
        )
        yield text.at(Place(RawPath(records.data + b"/volumes/" + name)), name)


def _volumes(container: DockerContainer) -> Iterator[bytes]:
    return (each.source for each in container.mounted if each.type == b"volume")


def _last(records: StoreRecords) -> tuple[StoreMode | None, str]:
    uses = sorted(records.uses, key=lambda use: use.at, reverse=True)
    if not uses:
        return None, "neither store has left anything"
    newest = uses[0]
    if len(uses) > 1 and uses[1].at == newest.at:
        return None, f"{shown(newest.path)} and {shown(uses[1].path)} have the same time"
    return newest.mode, f"{shown(newest.path)} changed last, at {show_time(newest.at)}"


def _following(records: StoreRecords) -> tuple[StoreMode | None, str]:
    settings = records.settings
    if settings is None:
        return None, "no settings of a dockerd name this data root"
    if settings.unread is not None:
        return None, settings.unread
    old = [each for each in settings.versions if not each.rules]
    if old:
        return None, f"{shown(old[0].source)} is Docker {old[0].version}, whose rules drydock does not know"
    known = dict.fromkeys(rules for each in settings.versions for rules in each.rules)
    outcomes = {
        rules: list(_outcomes(rules, settings, records.prior)) for rules in (known or dict.fromkeys(ChoiceRules))
    }
    if settings.migrates and any(rules is not ChoiceRules.BEFORE_29 for rules in outcomes):
        return None, "features.containerd-migration may move the images to the image store"
    failed = next((each for found in outcomes.values() for each in found if each.mode is None), None)
    if failed is not None:
        return None, failed.reason
    modes = {each.mode for found in outcomes.values() for each in found}
    if len(modes) > 1:
        if not known:
            by_rules = "; ".join(f"Docker {rules.value}: {_either(found)}" for rules, found in outcomes.items())
            return None, f"the version of Docker is not known ({by_rules})"
        return None, f"the settings allow either ({' or '.join(each for each in map(_either, outcomes.values()))})"
    by = f"Docker {settings.versions[0].version}: " if settings.versions else ""
    first = next(iter(outcomes.values()))[0]
    reasons = dict.fromkeys(each.reason for found in outcomes.values() for each in found)
    return first.mode, by + " or ".join(reasons)


def _either(found: list[_Outcome]) -> str:
    return " or ".join(dict.fromkeys(each.mode.shown if each.mode else each.reason for each in found))


def _outcomes(rules: ChoiceRules, settings: DaemonSettings, prior: tuple[bytes, ...]) -> Iterator[_Outcome]:
    """What the rules choose for each combination of the values that the settings may have."""
    choose = {
        ChoiceRules.BEFORE_29: _before_29,
        ChoiceRules.V29_0: _in_29_0,
        ChoiceRules.SINCE_29_1: _since_29_1,
    }[rules]
    for feature in sorted(settings.features, key=str):
        for driver in sorted(settings.drivers, key=lambda each: each or b""):
            if rules is not ChoiceRules.BEFORE_29 and settings.is_remapped:
                if feature:
                    yield _Outcome(None, _NO_REMAPPING)
                else:
                    yield choose(False, driver, prior)
            else:
                yield choose(feature, driver, prior)


def _before_29(feature: bool | None, driver: bytes | None, prior: tuple[bytes, ...]) -> _Outcome:
    if feature:
        return _Outcome(StoreMode.IMAGE_STORE, "features.containerd-snapshotter is true")
    why = "features.containerd-snapshotter is " + ("not set" if feature is None else "false")
    return _classic(why, driver, prior)


def _in_29_0(feature: bool | None, driver: bytes | None, prior: tuple[bytes, ...]) -> _Outcome:
    if feature is None and driver is not None:
        if driver in _EARLY_DRIVERS:
            return _classic(f"storage-driver {shown(driver)} is a graph driver", driver, prior)
        return _Outcome(StoreMode.IMAGE_STORE, f"storage-driver {shown(driver)} is taken for a snapshotter")
    return _since_29_1(feature, driver, prior)


def _since_29_1(feature: bool | None, driver: bytes | None, prior: tuple[bytes, ...]) -> _Outcome:
    if feature:
        if driver in (b"overlay2", b"vfs"):
            return _Outcome(None, f"the start fails: storage-driver {shown(driver or b'')} is no snapshotter")
        return _Outcome(StoreMode.IMAGE_STORE, "features.containerd-snapshotter is true")
    if feature is False:
        return _classic("features.containerd-snapshotter is false", driver, prior)
    if prior:
        return _classic(f"the folder {shown(prior[0])} is not empty", driver, prior)
    if driver in GRAPH_DRIVERS:
        return _classic(f"storage-driver {shown(driver or b'')} is a graph driver", driver, prior)
    if driver is not None:
        return _Outcome(StoreMode.IMAGE_STORE, f"storage-driver {shown(driver)} is no graph driver")
    return _Outcome(StoreMode.IMAGE_STORE, "no graph driver has a folder that is not empty")


def _classic(why: str, driver: bytes | None, prior: tuple[bytes, ...]) -> _Outcome:
    """The classic store, if dockerd can choose one graph driver (moby daemon/graphdriver/driver.go New)."""
    if driver is not None and driver not in GRAPH_DRIVERS:
        return _Outcome(None, f"the start fails: storage-driver {shown(driver)} is no graph driver")
    if driver is None and len(prior) > 1:
        several = ", ".join(map(shown, prior))
        return _Outcome(None, f"the start fails: several graph drivers have folders ({several})")
    return _Outcome(StoreMode.CLASSIC, why)

"""Which store a data root was used with last, and which one the next start chooses."""

from __future__ import annotations

import pytest

from drydock.model.names import RawPath, UnixNano
from drydock.model.roots import DockerContainer, Mounted
from drydock.model.store_modes import ChoiceRules, DaemonSettings, EngineVersion, StoreMode, StoreRecords, StoreUse
from drydock.verdict.store_choice import choose_store, hidden_volumes

DATA = RawPath(b"/var/lib/docker")
CLASSIC, IMAGES = StoreMode.CLASSIC, StoreMode.IMAGE_STORE
V28, V29_0, V29 = ChoiceRules.BEFORE_29, ChoiceRules.V29_0, ChoiceRules.SINCE_29_1
ANY = ("overlay2", "fuse-overlayfs", "btrfs", "zfs", "vfs")


def version(*rules: ChoiceRules) -> EngineVersion:
    """An installed Docker with these rules."""
    return EngineVersion("of a test", RawPath(b"/usr/bin/dockerd"), rules)


def following(rules=(), *, features=(None,), drivers=(None,), prior=(), **other):
    """What is said about the next start, and why."""
    settings = DaemonSettings(
        frozenset(features),
        frozenset(each.encode() if each else None for each in drivers),
        versions=(version(*rules),) if rules else (),
        **other,
    )
    choice = choose_store(StoreRecords(DATA, settings, tuple(each.encode() for each in prior), ()))
    return choice.following, choice.following_reason


@pytest.mark.parametrize(
    ("feature", "driver", "prior", "chosen"),
    [
        # As in the table of moby daemon/image_store_choice_test.go, v29.7.
        (True, None, False, IMAGES),
        (False, None, False, CLASSIC),
        (None, "native", False, IMAGES),
        (None, "vfs", False, CLASSIC),
        (None, "my-custom-snapshotter", False, IMAGES),
        (None, None, False, IMAGES),
        *((None, driver, prior, CLASSIC) for driver in ANY[:4] for prior in (False, True)),
        *((False, driver, False, CLASSIC) for driver in ANY[:4]),
        # The choice is made, and then the start fails.
        (True, "overlay2", False, None),
        (False, "overlayfs", False, None),
        (None, "overlayfs", True, None),
        # With what an earlier Docker left.
        (None, None, True, CLASSIC),
        (True, None, True, IMAGES),
    ],
)
def test_docker_29(feature, driver, prior, chosen):
    """The rules of Docker 29.1 and later."""
    assert following([V29], features=[feature], drivers=[driver], prior=["overlay2"] if prior else [])[0] is chosen


@pytest.mark.parametrize(
    ("feature", "driver", "chosen"),
    [(None, "overlayfs", IMAGES), (None, "overlay2", CLASSIC), (None, None, CLASSIC), (False, "overlayfs", None)],
)
def test_docker_29_0(feature, driver, chosen):
    """In Docker 29.0 the name of a driver comes before the folder that is not empty."""
    assert following([V29_0], features=[feature], drivers=[driver], prior=["overlay2"])[0] is chosen


@pytest.mark.parametrize(
    ("feature", "driver", "prior", "chosen"),
    [
        (True, None, ["overlay2"], IMAGES),
        (None, None, [], CLASSIC),
        (False, "vfs", ["overlay2"], CLASSIC),
        (None, None, ["overlay2", "zfs"], None),
        (None, "overlayfs", [], None),
    ],
)
def test_docker_28(feature, driver, prior, chosen):
    """Before Docker 29 only the feature chooses the image store; with several drivers' folders the start fails."""
    assert following([V28], features=[feature], drivers=[driver], prior=prior)[0] is chosen


def test_what_is_not_known():
    """If the rules or values that are possible choose differently, nothing is claimed, and the reason is given."""
    assert following(prior=["overlay2"]) == (
        CLASSIC,
        "features.containerd-snapshotter is not set or the folder overlay2 is not empty",
    )
    mode, reason = following()
    assert mode is None
    assert "the version of Docker is not known (Docker 24 to 28: classic store; Docker 29.0: image store" in reason
    assert following([V28], features=[True, None])[0] is None
    assert following([V28], features=[True], drivers=["overlay2", None])[0] is IMAGES
    assert following([V28], unread="daemon.json: permission denied") == (None, "daemon.json: permission denied")
    old = DaemonSettings(versions=(EngineVersion("20.10.5", RawPath(b"/x"), ()),))
    assert choose_store(StoreRecords(DATA, old, (), ())).following is None
    assert choose_store(StoreRecords(DATA, None, (), ())).following is None


def test_migration_and_remapping():
    """A migration may move to the image store; with userns-remap Docker 29 stays in the classic one."""
    assert following([V29], prior=["overlay2"], migrates=True)[0] is None
    assert following([V28], prior=["overlay2"], migrates=True)[0] is CLASSIC
    assert following([V29], is_remapped=True)[0] is CLASSIC
    assert following([V28], features=[True], is_remapped=True)[0] is IMAGES
    assert following([V29], features=[True], is_remapped=True) == (
        None,
        "the start fails: features.containerd-snapshotter and userns-remap exclude each other",
    )


@pytest.mark.parametrize(
    ("classic", "images", "last"),
    [(2, 1, CLASSIC), (1, 2, IMAGES), (2, 2, None), (2, None, CLASSIC), (None, None, None)],
)
def test_the_newest_records_tell_what_was_used_last(classic, images, last):
    """The mode of the newest file or folder; nothing is claimed without one, or with the same time."""
    uses = [(CLASSIC, classic, b"/c"), (IMAGES, images, b"/i")]
    records = StoreRecords(
        DATA, None, (), tuple(StoreUse(mode, UnixNano(at * 10**9), RawPath(path)) for mode, at, path in uses if at)
    )
    assert choose_store(records).last is last


@pytest.mark.parametrize(
    ("last", "features", "refused"),
    [
        (IMAGES, True, None),
        (CLASSIC, True, "the classic store was used last"),
        (IMAGES, False, "the next start of dockerd chooses the classic store"),
    ],
)
def test_a_store_that_may_be_in_use(last, features, refused):
    """The classic store is free only if the image store was used last and is chosen next."""
    settings = DaemonSettings(frozenset([features]), versions=(version(V28),))
    choice = choose_store(StoreRecords(DATA, settings, (b"overlay2",), (StoreUse(last, UnixNano(1), DATA),)))
    reason = choice.may_use(CLASSIC)
    assert reason is None if refused is None else reason.startswith(refused)
    assert choice.may_use(IMAGES) is not None


def test_volumes_that_a_prune_would_take():
    """The finding hidden-volume: an anonymous one that only a container of the store that is not used mounts."""
    names = {letter: (letter * 64).encode() for letter in "abcd"}

    def container(letter, driver, *volumes, kind=b"volume"):
        mounted = tuple(Mounted(kind, names.get(each, each.encode()), b"/data") for each in volumes)
        return DockerContainer(names[letter], letter.encode(), driver, mounted=mounted)

    known = [
        container("a", b"overlay2", "a", "b", "named"),
        container("b", b"overlay2", "a", "c"),
        container("c", b"overlayfs", "b"),
        container("d", b"overlay2", "d", kind=b"bind"),
    ]
    containers = {each.id: each for each in known}
    records = StoreRecords(DATA, None, (), (StoreUse(IMAGES, UnixNano(1), DATA),), frozenset(containers))
    found = list(hidden_volumes(records, containers))
    assert [(finding.code, finding.subject) for finding in found] == [
        ("hidden-volume", "a" * 64),
        ("hidden-volume", "c" * 64),
    ]
    assert "of container a: its files are in the classic store" in found[0].message
    assert not list(hidden_volumes(records._replace(uses=()), containers))
    other = records._replace(uses=(StoreUse(CLASSIC, UnixNano(1), DATA),))
    assert not list(hidden_volumes(other, containers))

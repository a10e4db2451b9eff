"""A path that belongs to no object, in words: what it is there for, whose it is, and what frees it."""

import pytest

from drydock.model.disk_usage import FoundEntry, UsageCategory, UsageEntry
from drydock.model.names import RawPath
from drydock.verdict.explain_path import explain_path

DATA = RawPath(b"/var/lib/docker")


def explained(category, path, *, name=b"", entry=None, note="", size=4096):
    """The explanation of a path in the data root, and its facts."""
    of = UsageEntry(category, name, RawPath(DATA + entry if entry is not None else DATA + path), None)
    found = explain_path(RawPath(DATA + path), FoundEntry(DATA, of, size, note))
    return found, dict(found.facts)


@pytest.mark.parametrize("category", UsageCategory)
def test_every_category_has_a_purpose(category):
    """What it is and what frees it, on one line each, and the category as its state."""
    found, facts = explained(category, b"/x/y")
    assert (found.state, found.bytes, found.root, found.exit_code()) == (category.value, 4096, DATA, 0)
    assert found.title == "path /var/lib/docker/x/y"
    assert facts["what it is"]
    assert facts["freed by"]
    assert "\n" not in "".join(facts.values())


def test_what_it_is_part_of():
    """The entry that scan counts it in, if that is more than the path, and the name that the path does not show."""
    _, facts = explained(UsageCategory.TMP, b"/tmp")
    assert set(facts) == {"what it is", "freed by"}
    _, facts = explained(UsageCategory.TMP, b"/tmp/GetImageBlob1", entry=b"/tmp")
    assert facts["part of"] == "/var/lib/docker/tmp"
    path = b"/containers/" + b"c" * 64
    _, facts = explained(UsageCategory.CONTAINER_SHM, path + b"/mounts/shm", entry=path + b"/mounts", name=b"web")
    assert (facts["container"], facts["freed by"]) == ("web", "docker rm web")
    _, facts = explained(UsageCategory.UNKNOWN, b"/old", name=b"old")
    assert "old" not in facts.values()
    assert facts["freed by"] == "you"


def test_a_name_is_one_word_of_a_command():
    """A volume's folder may have any name: what is copied runs no other command."""
    _, facts = explained(UsageCategory.NAMED_VOLUMES, b"/volumes/x", name=b"a;$(reboot)\n")
    assert facts["freed by"] == "you: docker volume rm $'a;$(reboot)\\x0a'"
    assert "\n" not in facts["volume"]


@pytest.mark.parametrize(
    ("name", "cache", "history"),
    [
        (b"default", "docker builder prune", "docker buildx history rm --all"),
        (b"ci0", "docker buildx prune --builder ci", "docker buildx history rm --all --builder ci"),
        (b"", "buildctl prune", "buildctl prune-histories"),
    ],
)
def test_each_builder_has_its_own_command(name, cache, history):
    """Dockerd's own, one of buildx in a volume, and a buildkitd that runs by itself."""
    assert explained(UsageCategory.BUILD_CACHE, b"/buildkit/content", name=name)[1]["freed by"] == cache
    assert explained(UsageCategory.BUILD_HISTORY, b"/buildkit/history.db", name=name)[1]["freed by"] == history


def test_the_whole_of_a_place():
    """The data root itself is not said to be freed by anything."""
    _, facts = explained(UsageCategory.DOCKERD, b"")
    assert facts["what it is"].endswith(", with all below it")
    assert facts["freed by"] == "drydock scan shows what is in it"


@pytest.mark.parametrize(
    ("category", "path", "what"),
    [
        (UsageCategory.CLASSIC_METADATA, b"/image/overlay2/.tmp-repositories.json12", "a write that was cut off"),
        (UsageCategory.DOCKERD, b"/.tmp-engine-id1", "a write that was cut off"),
        (UsageCategory.UNKNOWN, b"/.tmp-engine-id1", "of no kind"),
        (UsageCategory.CLASSIC_METADATA, b"/image/overlay2/distribution/diffid-by-digest/sha256/1", "hints for push"),
        (UsageCategory.CLASSIC_METADATA, b"/image/overlay2/repositories.json", "the names of the images"),
        (UsageCategory.CLASSIC_METADATA, b"/image/overlay2/imagedb", "the configs of the images"),
        (UsageCategory.CLASSIC_METADATA, b"/image/overlay2/layerdb", "the records of the classic store"),
    ],
)
def test_parts_that_are_told_apart(category, path, what):
    """Of the records of the classic store, and of what is left of a write."""
    assert explained(category, path)[1]["what it is"].startswith(what)


def test_what_was_not_measured_is_said():
    """A mount that is not entered, or a folder that cannot be read."""
    found, facts = explained(UsageCategory.UNKNOWN, b"/mnt", size=None, note="a mount, which is not entered")
    assert found.bytes is None
    assert facts["not all of it was measured"] == "a mount, which is not entered"

"""Volumes in words: which of them a word names, and what holds one."""

from drydock.model.names import RawPath
from drydock.model.volumes import Volume, VolumeUser
from drydock.verdict.volumes import explain_volume, find_volumes

HEX = b"c0ffee" + b"0" * 58
USER = VolumeUser(b"a" * 64, b"db", b"/data")
NAMED = Volume(RawPath(b"/d"), b"pgdata", b"local", False, (USER,))
ANONYMOUS = Volume(RawPath(b"/d"), HEX, b"local", True, ())


def named(word):
    """The volumes that a word names."""
    return [each.name for each in find_volumes([NAMED, ANONYMOUS], word)]


def test_words_for_a_volume():
    """Its name, a path in it, and the beginning of an anonymous one's name."""
    assert named(b"pgdata") == named(b"/d/volumes/pgdata") == named(b"volumes/pgdata/_data/base/1") == [b"pgdata"]
    assert named(b"c0ffee") == [HEX]
    assert named(b"pgda") == named(b"/d/volumes/pg") == named(b"_data/pgdata") == []


def test_what_holds_a_volume():
    """The containers that mount it, or that there is none, or that this is not known."""
    held = explain_volume(NAMED)
    assert held.chains == ((f"container db ({'a' * 64}) mounts it at /data",),)
    assert held.nothing is None
    free = explain_volume(ANONYMOUS)
    assert (free.state, free.chains) == ("anonymous volume", ())
    assert free.nothing.startswith("no container mounts it")
    assert "not all could be read" in explain_volume(ANONYMOUS._replace(users=None)).nothing


def test_where_its_data_is():
    """What the driver mounts is told; drydock never removes a volume, and says who does."""
    facts = dict(explain_volume(NAMED._replace(device="nfs :/export")).facts)
    assert "mounted from nfs :/export" in facts["data"]
    assert "docker volume rm pgdata" in facts["free it"]
    assert "not in the data root" in dict(explain_volume(NAMED._replace(has_folder=False)).facts)["data"]


def test_a_name_is_one_word_of_a_command():
    """A folder may have any name: what is copied runs no other command."""
    assert (
        "docker volume rm 'a;$(reboot)' does"
        in dict(explain_volume(NAMED._replace(name=b"a;$(reboot)")).facts)["free it"]
    )

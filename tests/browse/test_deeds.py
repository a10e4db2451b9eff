"""What browse says of an item, as the commands say it."""

import pytest
from tests.support.classic_root import ClassicRoot

from drydock.browse.deeds import explain_lines
from drydock.browse.tree import Tree
from drydock.commands.browse import read
from drydock.model.access import Access
from drydock.model.names import RawPath
from drydock.model.policies import SizeSource


@pytest.fixture
def items(tmp_path):
    """What lies beside the stores of a data root, by name, with what was read of it."""
    data = tmp_path / "var/lib/docker"
    ClassicRoot(data)
    for path in ("volumes/pgdata/_data", "tmp", "old-backup"):
        (data / path).mkdir(parents=True)
        (data / path / "file").write_bytes(b"x" * 10_000)
    (looked,) = read(RawPath(bytes(tmp_path)), Access(measure=SizeSource.DISK))
    pending, found = [Tree([looked.scan]).top], {}
    while pending:
        item = pending.pop()
        pending += item.below
        if item.entry is not None:
            found[item.name] = explain_lines(item, looked)
    return found


def test_what_lies_beside_the_stores_is_explained(items):
    """A volume by its users, and anything else by what its path is there for; a group lists what is in it."""
    assert items["pgdata"][0] == "volume pgdata: named volume"
    (unknown,) = (lines for name, lines in items.items() if name.endswith("old-backup"))
    assert unknown[0].endswith("/var/lib/docker/old-backup: unknown")
    assert "  freed by: you" in unknown
    (temporary,) = (lines for name, lines in items.items() if name.endswith("tmp"))
    assert "  freed by: a restart of dockerd" in temporary

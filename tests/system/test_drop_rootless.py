"""``clean --drop container=NAME`` of a user's nerdctl, as her ``nerdctl rm`` does it."""

import pytest
from fixtures.recipes.nerdctl_rootless import NAME, left
from tests.support import gobbolt
from tests.support.captures import capture, unpack
from tests.support.documents import run, scan

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}"),
]


def test_it_leaves_what_nerdctl_leaves(tmp_path):
    """The same records, folders and names, found below the user's home on a host that is mounted elsewhere."""
    of = capture(NAME)
    host = unpack(of, tmp_path)
    found = scan(of, host, status=0)
    assert (found["engine"], found["path"]) == ("rootless", str(host / of.root))
    before = left(host)
    run("clean", "--now", of.taken_at, "--drop", "container=web", "--accept-loss", "web", "--apply", "--yes",
        "--state", tmp_path, host, status=0)  # fmt: skip
    assert left(host) == of.facts["kept"] != before

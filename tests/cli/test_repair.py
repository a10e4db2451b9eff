"""``drydock repair --apply``: the status of what was asked and not done."""

import pytest
from tests.support.adoptable import IMAGE, blob_path, lay_out, namespace, without
from tests.support.documents import run
from tests.support.terminal import answered


@pytest.mark.parametrize("option", [(), ("--adopt",)])
def test_a_no_has_the_status_of_what_was_found(tmp_path, option):
    """As without --apply: the damage is still there, whatever the plan would have mended."""
    root = lay_out(tmp_path / "store", {b"default": without(namespace(), IMAGE.layers[0])})
    blob_path(root, IMAGE.layers[1]).unlink()
    command = ("repair", root, *option, "--accept-loss", "example.org/shop:1", "--state", tmp_path / "state")
    run(*command, status=2)
    said = answered(*command, "--apply", answer="n")
    assert "Do this?" in said.stdout
    assert said.returncode == 2
    assert not list(tmp_path.glob("state/*"))

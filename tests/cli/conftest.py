"""What the commands are tried on."""

import pytest
from fuzz.stores import put


@pytest.fixture
def store(tmp_path):
    """A store with something of every state, which can be read whole."""
    root = tmp_path / "store"
    put(root)
    return root

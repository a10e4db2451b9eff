"""What browse shows of a made-up host is what somebody has looked at, letter by letter."""

import pytest
from tests.browse.screens import FOLDER, NAMES, SIZES, screens


@pytest.mark.parametrize("size", SIZES)
def test_the_screens_are_those_that_are_kept(size):
    """Four screens at 80 x 24 and at 200 x 50; ``python -m tests.browse`` writes them anew."""
    for name, text in screens(size).items():
        kept = FOLDER / f"{name}-{size[0]}x{size[1]}.txt"
        assert text == kept.read_text(encoding="utf-8"), kept.name
        lines = text.splitlines()
        assert len(lines) == size[1]
        assert max(map(len, lines)) <= size[0]


def test_no_other_screen_is_kept():
    """What is no longer shown is not kept."""
    names = {f"{name}-{columns}x{lines}.txt" for name in NAMES for columns, lines in SIZES}
    assert {path.name for path in FOLDER.iterdir()} == names

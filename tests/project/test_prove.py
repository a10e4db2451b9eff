"""``./run prove`` runs every test file that has a long form."""

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
LONG = ("DRYDOCK_TEST_LONG", "DRYDOCK_TEST_EVERY_KILL", "DRYDOCK_TEST_EVERY_ERROR")


def test_every_long_form_is_run():
    """Each file that asks for one of the settings is named in the script, and nothing else is missing there."""
    script = (TOP / "run").read_text()
    script = re.sub(r"tests/release/test_\{([a-z_,]+)\}\.py", lambda found: " ".join(
        f"tests/release/test_{name}.py" for name in found[1].split(",")), script)  # fmt: skip
    named = set(re.findall(r"tests/[a-z0-9_/]+\.py", script))
    asking = {
        str(path.relative_to(TOP))
        for path in (TOP / "tests").rglob("test_*.py")
        if path != Path(__file__) and any(word in path.read_text() for word in LONG)
    }
    assert len(asking) > 20
    assert asking <= named
    assert all((TOP / name).exists() for name in named)

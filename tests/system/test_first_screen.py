"""The first screen of a scan: what is largest, and what frees it, on a terminal of 24 lines and 80 columns."""

import re

import pytest
from tests.support.captures import capture
from tests.support.terminal import on_terminal

pytestmark = pytest.mark.root

LINES, COLUMNS = 24, 80
LARGE = 40_000_000
ANONYMOUS = "4e1c" * 16
KINDS = {
    "volume": ("volumes/pgdata/_data/base", "volumes (1)", "docker volume rm", "volume pgdata"),
    "anonymous volume": (
        f"volumes/{ANONYMOUS}/_data/x",
        "volumes (1)",
        "docker volume rm",
        "anonymous volume 4e1c4e1c",
    ),
    "log": ("containers/{id}/{id}-json.log", "logs (1)", "drydock clean --truncate-logs", "log of web"),
    "unknown": ("found/x", "unknown (1)", "you: drydock does not know", "unknown: found"),
    "tmp": ("tmp/GetImageBlob1", "tmp", "a restart of dockerd", "tmp"),
    "builder": (
        "volumes/buildx_buildkit_mine0_state/_data/runc-overlayfs/content/x",
        "BuildKit",
        "docker buildx prune",
        "build cache of mine0",
    ),
    "plugin": (f"plugins/{'a' * 64}/rootfs/x", "plugins", "docker plugin rm", "plugins"),
    "blob": (
        f"containerd/daemon/io.containerd.content.v1.content/blobs/sha256/{'7' * 64}",
        "unreferenced",
        "drydock clean",
        "Can be freed now: 3",
    ),
}


def screen(host, *options):
    """The first lines that a terminal shows."""
    text, _ = on_terminal("scan", *options, host, columns=COLUMNS)
    return re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r", "").splitlines()[:LINES]


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_thing_and_what_frees_it(kind, unpacked_anew):
    """It is in the first row, with the command or with who decides; and it is called by its name."""
    taken = capture("docker-28.5-killed")
    host = unpacked_anew(taken)
    place, name, freed_by, called = KINDS[kind]
    data = host / taken.docker
    (container,) = (data / "containers").iterdir()
    file = data / place.format(id=container.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * LARGE)
    lines = screen(host, "--measure", "disk")
    first = lines[next(number for number, line in enumerate(lines) if "what it is full of" in line) + 1]
    assert name in first
    assert freed_by in first
    assert any(called in line for line in lines)
    assert any("Can be freed now" in line for line in lines)


def test_without_measuring_the_log_is_there_and_the_rest_is_named(unpacked_anew):
    """A log is measured in each scan; of a volume it says that it was not, and the command that does it."""
    taken = capture("docker-28.5-killed")
    host = unpacked_anew(taken)
    (container,) = (host / taken.docker / "containers").iterdir()
    (container / f"{container.name}-json.log").write_bytes(b"x" * LARGE)
    (host / taken.docker / "volumes/pgdata/_data").mkdir(parents=True)
    lines = screen(host)
    assert any("logs (1)" in line and "--truncate-logs" in line for line in lines)
    text = " ".join(line.strip() for line in lines)
    assert "Not measured: 1 volume, " in text
    assert "drydock scan --measure disk" in text

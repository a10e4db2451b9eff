"""The tree in a terminal and in a pipe."""

import re

import pytest
from rich.cells import cell_len
from tests.support.captures import capture
from tests.support.documents import run
from tests.support.populations import population
from tests.support.scans import HOSTILE, judged, scan_of_everything
from tests.support.terminal import on_terminal
from tests.support.values import blob, digest, image, store

from drydock.model.text import shown
from drydock.report.holder_tree import holder_tree
from drydock.report.tree import tree_lines
from drydock.report.wording import show_bytes


def lines(*scans, depth=3, top=8, width=None, blocks=True):
    """The tree as text."""
    made = tree_lines(scans, depth=depth, top=top, width=width, blocks=blocks)
    return ["".join(span.text for span in line) for line in made]


@pytest.mark.root
def test_at_80_columns_ids_are_short_and_damage_is_told(unpacked):
    """12 characters of a digest, as docker shows them, leave room for the state; in a pipe nothing is cut."""
    of = capture("containerd-1.6-damaged")
    text, _ = on_terminal("scan", "--now", of.taken_at, "--format", "tree", unpacked(of), columns=80)
    damaged = [
        line for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.endswith(("(missing)", "(corrupt)"))
    ]
    assert damaged
    assert all(re.search(r" sha256:[0-9a-f]{12}  \(", line) for line in damaged)
    whole = run("scan", "--now", of.taken_at, "--format", "tree", unpacked(of))
    assert len(re.findall(r" sha256:[0-9a-f]{64}  \((?:missing|corrupt)\)", whole)) >= len(damaged)


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 120, 300])
@pytest.mark.parametrize("name", [HOSTILE, "幅の広い名前".encode() * 30, b"x" * 2000])
def test_it_fits_any_width(width, name):
    """No line is wider than the terminal, whatever the names; wide characters count twice."""
    for line in lines(scan_of_everything(name, inventory=True), width=width):
        assert cell_len(line) <= width
        assert line.isprintable()


def test_a_pipe_gets_whole_names():
    """Nothing is cut."""
    text = "\n".join(lines(scan_of_everything(b"x" * 2000, inventory=True)))
    assert "docker.io/" + "x" * 2000 in text


def test_the_largest_first_and_the_rest_counted():
    """Sizes fall within a level; ``--top`` leaves out the small ones and says how many and how much."""
    found = population(400)
    all_lines = lines(found, depth=2, top=10_000)
    few = lines(found, depth=2, top=3)
    sizes = [line[:10].strip() for line in all_lines if line[:10].strip() and "─ image" in line]
    assert len(sizes) > 10
    order = [each.bytes for each in _images(found)]
    assert [show_bytes(size) for size in order if size] == [size for size in sizes if size != "0 B"]
    level = [line for line in few if line[38:].startswith(("│  ├─ ", "│  └─ "))]
    assert len(level) == 4
    (space,) = [each for each in holder_tree(found).children if each.kind == "namespace"]
    left = sorted((each.bytes for each in space.children), reverse=True)[3:]
    assert f"and {len(left)} more" in level[-1]
    assert level[-1][:10].strip() == show_bytes(sum(left))
    assert len(lines(found, depth=0)) == 3


def _images(found):
    (space,) = [each for each in holder_tree(found).children if each.kind == "namespace"]
    return [each for each in space.children if each.kind == "image"]


def test_bars_tell_what_is_shared():
    """A layer of two images is shared; one of one image is not."""
    labels = {b"containerd.io/gc.ref.content.l.0": digest(3)}
    found = judged(
        store(
            image(digest(1), name=b"a"),
            image(digest(2), name=b"b"),
            blob(digest(1), labels),
            blob(digest(2), labels),
            blob(digest(3)),
            files=[digest(number) for number in (1, 2, 3)],
        ),
        inventory=True,
    )
    by_name = {line.split("─ ")[-1].split("  ")[0]: line for line in lines(found)}
    assert "█" in by_name["image a"]
    assert "░" in by_name["image a"]
    assert by_name["image a"].endswith("(4.0 KiB alone, 4.0 KiB shared)")
    assert "█" not in by_name[f"layer 1 {shown(digest(3))}"]
    assert "░" not in by_name[f"manifest {shown(digest(1))}"]
    assert "".join(lines(found, blocks=False)).isascii()


@pytest.mark.root
def test_the_command_on_a_terminal(unpacked):
    """On a terminal of fifty columns: coloured, and no line wider; in a pipe plain and the same tree."""
    of = capture("docker-28.5-interrupted-pull")
    text, status = on_terminal("scan", "--now", of.taken_at, "--format", "tree", unpacked(of), columns=50)
    assert status == 0
    assert "\x1b[" in text
    shown_lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(map(cell_len, shown_lines)) <= 50
    piped = run("scan", "--now", of.taken_at, "--format", "tree", unpacked(of))
    assert "\x1b" not in piped
    assert [line[:10] for line in piped.splitlines()] == [line[:10].rstrip() or line[:10] for line in shown_lines]

"""Marks after a change: what is gone has none, what is there has its own, and what may not go any more says so."""

import shutil

import pytest
from tests.browse.conftest import NAME, ignore, place_of
from tests.browse.test_tree import every, one
from tests.support.captures import capture
from tests.support.documents import run

from drydock.browse.marked import Marked, marked_again

pytestmark = pytest.mark.root


def marked(view, *items):
    """Marks that the planner accepts, with the losses."""
    found = Marked()
    for item in items:
        found.accept(item)
        found = found.ask(item, view)
    return found


def names(marks):
    """What is marked."""
    return [item.title for item in marks]


def test_what_is_still_there_stays_marked(unpacked_anew):
    """A clean ends the lease and drops one of two images: its marks go, and the others are asked about anew."""
    of = capture(NAME)
    host = unpacked_anew(of)
    view = place_of(of, host).read(ignore)
    items = list(every(view.tree, view.tree.top))
    leases, history = one(items, "group", "temporary leases"), one(items, "group", "build history")
    image, lost = one(items, "image", "base:v1"), one(items, "image", "dang:v1")
    container, ingest = one(items, "container", "exited"), one(items, "ingest", "unfinished")
    marks = marked(view, leases, ingest, image, history, lost, container)
    assert len(marks) == 6
    options = ("--end-leases", "temporary", "--drop", f"image={image.names[0].decode()}")
    run("clean", *options, "--apply", "--yes", "--now", of.taken_at, "--state", host / "state", host, status=0)
    now = place_of(of, host).read(ignore)
    found, said = marked_again(marks, view, now, ignore)
    assert names(found) == ["build history", lost.title, container.title]
    assert all(item in set(every(now.tree, now.tree.top)) for item in found)
    assert found.accepted.keys() == {*lost.names, *container.names}
    assert found.answer.bytes > 0
    assert said == "3 of 6 marks kept"


def test_what_may_not_go_any_more_says_why(unpacked_anew):
    """Its loss was accepted before and is not now; of what is gone whole, nothing is said."""
    of = capture(NAME)
    host = unpacked_anew(of)
    view = place_of(of, host).read(ignore)
    image = one(every(view.tree, view.tree.top), "image", "dang:v1")
    marks = marked(view, image)
    marks.accepted.clear()
    found, said = marked_again(marks, view, view, ignore)
    assert (names(found), found.answer) == ([], None)
    assert said.startswith(f"{image.title} is not marked any more: WOULD BE LOST")
    shutil.rmtree(host / of.root)
    assert marked_again(marked(view, image), view, place_of(of, host).read(ignore), ignore)[1] == ""

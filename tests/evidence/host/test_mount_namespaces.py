"""Mount namespaces: those that only a file keeps, told by lines of a mount table."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack

import psutil
import pytest
from tests.support.privilege import needs_root

from drydock.evidence.files.mountinfo import MountEntry, NamespaceView
from drydock.evidence.host import mount_namespaces
from drydock.evidence.host.mount_namespaces import NamespaceChild
from drydock.model.errors import Refused

SPACE = 4026539999
VIEW = NamespaceView(os.getpid(), 1, (1, 1))


def line(point):
    """A line that says that a namespace is mounted there."""
    return MountEntry(1, b"0:4", b"mnt:[%d]" % SPACE, point, b"nsfs", ())


def test_namespace_that_cannot_be_looked_into(tmp_path, monkeypatch):
    """A namespace whose file lies below another one is refused: what is mounted there is not known."""
    point = os.fsencode(tmp_path / "the file")
    (tmp_path / "the file").touch()
    monkeypatch.setattr(mount_namespaces, "entries", lambda _: iter([line(point)]))
    with ExitStack() as stack, pytest.raises(Refused, match=r"another file lies over it.*: umount '.*/the file'$"):
        mount_namespaces._enter({(1, (1, 1)): (VIEW, [line(point)])}, stack, SPACE, [point])


@pytest.mark.parametrize("user", [0, 1000])
def test_namespace_of_another_user(tmp_path, monkeypatch, user):
    """A namespace that must not be entered is refused to root, and is another user's for everybody else."""
    point = os.fsencode(tmp_path / "file")

    def refuse(path, space):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(mount_namespaces, "entries", lambda _: iter([line(point)]))
    monkeypatch.setattr(mount_namespaces, "_enter_by", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with ExitStack() as stack:
        if user == 0:
            stack.enter_context(pytest.raises(Refused, match="not permitted"))
        mount_namespaces._enter({(1, (1, 1)): (VIEW, [line(point)])}, stack, SPACE, [point])


def test_namespace_let_go_meanwhile(tmp_path, monkeypatch):
    """A namespace that is no longer mounted when it is to be entered is none."""
    point = os.fsencode(tmp_path / "gone")
    monkeypatch.setattr(mount_namespaces, "entries", lambda _: iter(()))
    with ExitStack() as stack:
        found = {(1, (1, 1)): (VIEW, [line(point)])}
        mount_namespaces._enter(found, stack, SPACE, [point])
    assert list(found) == [(1, (1, 1))]


@pytest.mark.root
@needs_root
def test_what_is_no_namespace_is_not_entered(tmp_path):
    """The kernel's reason is told, and no child is left."""
    before = psutil.Process().children()
    with (tmp_path / "file").open("wb") as file, pytest.raises(OSError, match="Invalid argument"):
        NamespaceChild(file.fileno())
    assert psutil.Process().children() == before

"""Refusals: conditions under which a store must not be changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from drydock.model.errors import Refused
from drydock.model.names import UnixNano
from drydock.model.roots import Root
from drydock.model.text import quoted_path, shown
from drydock.model.times import show_time
from drydock.verdict.clock import Ahead

if TYPE_CHECKING:
    from drydock.model.usage import Mount, Process

_LISTED = 3
_PATIENCE = 2.0
_PAUSE = 0.05


def refuse_if_used(root: Root, *, held: bool = False) -> None:
    """Refuse a root that a process uses (an engine, a shim, or any other), or that a mount in any mount namespace uses.

    Processes outside of this PID namespace are invisible: against these only the locks of the databases help.

    Args:
        root: the root.
        held: this process holds the locks of its databases as a writer. Another drydock that has a file of the root
            open is then on its way to be refused by them: it is given two seconds to go. Without this, several that
            start together may all refuse.

    Raises:
        Refused: the root is used, or that cannot be determined. One line that names the first few users, and how to
            stop each.
    """
    from drydock.evidence.host import mounts, processes  # noqa: PLC0415 - psutil, and a scan asks only for the clock

    users = [
        f"{shown(each.name)} (pid {each.pid}) {each.why}; stop it: {each.stop}"
        for each in _settled(partial(processes.users, root), _PATIENCE if held else 0)
    ]
    if not users:
        own = os.stat("/proc/self/ns/mnt").st_ino
        for mount in mounts.users(root):
            if mount.point == b"/":
                users.append(_of_root_folder(mount, *processes.name_and_container(mount.pid)))
                continue
            there = f"-t {mount.pid} -m" if mount.kept is None else f"--mount={quoted_path(mount.kept)}"
            enter = "" if mount.namespace == own else f"nsenter {there} "
            users.append(f"{shown(mount.point)} {mount.why}; unmount it: {enter}umount {quoted_path(mount.point)}")
    if not users:
        users = [
            f"{each.device} has {shown(each.backing)} open; detach it: losetup -d {each.device}"
            for each in mounts.loops(root)
        ]
    if users:
        more = f"; and {len(users) - _LISTED} more" if len(users) > _LISTED else ""
        raise Refused(f"{shown(root.path)} is in use: {'; '.join(users[:_LISTED])}{more}")


def _settled(look: Callable[[], list[Process]], patience: float) -> list[Process]:
    """The processes that use a root; if all of them are drydock, those that still do after some seconds."""
    end = time.monotonic() + patience
    while True:
        users = look()
        # The one file is called drydock-VERSION-linux-ARCH.
        passing = bool(users) and all(each.name.startswith(b"drydock") for each in users)
        if not passing or time.monotonic() >= end:
            return users
        time.sleep(_PAUSE)


def _of_root_folder(mount: Mount, name: bytes, container: bytes) -> str:
    """How to end a mount that is the root directory of processes: it ends with them, and cannot be unmounted."""
    if mount.kept is not None:
        kept = quoted_path(mount.kept)
        return f"the root folder of the mount namespace that {kept} keeps {mount.why}; release it: umount {kept}"
    who = f"{shown(name) or 'a process'} (pid {mount.pid})" + (f" of container {shown(container)}" if container else "")
    stop = "stop that container" if container else f"end process {mount.pid}"
    return f"the root folder of {who} {mount.why}; {stop}"


def check_clock(now: UnixNano, times: Ahead) -> None:
    """Refuse a clock that is earlier than most records: it would make every age and expiry wrong.

    The message suggests no time: if the clock was wrong once, the time of the newest record would end leases in use.

    Args:
        now: the time of the clock, or the one that the user gave.
        times: the records with a later time.

    Raises:
        Refused: more than half of the records that carry a time carry a later one.
    """
    if 2 * times.ahead > times.dated:
        raise Refused(
            f"the clock says {show_time(now)}, and {times.ahead} of {times.dated} records carry a later time: "
            "set the clock, or --now, to the true time"
        )

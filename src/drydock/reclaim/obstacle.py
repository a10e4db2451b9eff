"""Why an entry cannot be removed, said with what would let it go."""

from __future__ import annotations

import errno

from drydock.reclaim.syscalls import protection


def describe_obstacle(directory: int, name: bytes, error: OSError) -> str:
    """One line for an error that a call about ``name`` in the open ``directory`` gave.

    As root, EPERM nearly always means a flag that a container or an administrator set. Flags are reported and not
    cleared: they say that somebody wanted the thing kept, and neither rm nor the engine overrides them.
    """
    match error.errno:
        case errno.EXDEV:
            return "something is mounted there: umount it"
        case errno.EBUSY:
            return "it is in use as a mount point"
        case errno.EPERM:
            for place, whose in ((name, "it"), (b"", "its directory")):
                flag = protection(directory, place)
                if flag is not None:
                    return f"{whose} is {flag}: chattr -R -i -a lets it go"
    return error.strerror or type(error).__name__

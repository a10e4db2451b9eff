"""What the user chooses: how a store is read, which leases end, and what stays."""

import enum
from collections.abc import Iterable
from typing import NamedTuple

from drydock.model.arguments import Name, Span, choice, nanoseconds, raw_names
from drydock.model.drops import Drop, LabelFilter, parse_drop, parse_filter
from drydock.model.errors import Usage
from drydock.model.leases import LeaseClass
from drydock.model.store_modes import StoreMode


class SizeSource(enum.Enum):
    """Where the sizes of committed snapshots come from."""

    RECORDED = "recorded"
    """From the rows in metadata.db: containerd counted them at commit."""
    DISK = "disk"
    """From walking each directory."""


class BlobCheck(enum.Enum):
    """How blobs are compared with their records."""

    NONE = "none"
    SIZE = "size"
    DIGEST = "digest"
    """Every byte is read and hashed."""


class EndLeases(enum.Enum):
    """Which leases a plan ends; each includes the ones before it."""

    EXPIRED = "expired"
    TEMPORARY = "temporary"
    OWNERLESS = "ownerless"

    def includes(self, kind: LeaseClass) -> bool:
        """Whether leases of this class end."""
        return kind in _INCLUDED[self]


_INCLUDED = {
    EndLeases.EXPIRED: (LeaseClass.EXPIRED, LeaseClass.DROPPED),
    EndLeases.TEMPORARY: (LeaseClass.EXPIRED, LeaseClass.DROPPED, LeaseClass.TEMPORARY),
    EndLeases.OWNERLESS: (LeaseClass.EXPIRED, LeaseClass.DROPPED, LeaseClass.TEMPORARY, LeaseClass.OWNERLESS),
}


class _Policy(NamedTuple):
    end: EndLeases
    older_than: int | None
    """Nanoseconds: temporary and ownerless leases that ``end`` selects must be at least this old to end."""
    leases: tuple[bytes, ...]
    """Ids of further leases to end, whatever their class, unless their owner exists."""
    keep: tuple[bytes, ...]
    """Names of what stays: a lease does not end, and anything else stays with all that it refers to."""
    edit: bool
    """False: no database is edited, so only data that no record and no row names is removed."""
    truncate_logs: int | None
    """Bytes: the log of each container of Docker is cut to its newest bytes. None: no log is cut."""
    drop: StoreMode | None
    """The one of Docker's two image stores that is removed too, with all that is in it."""
    drops: tuple[Drop, ...]
    """Further things to give up although something holds them."""
    unused_for: int | None
    """Nanoseconds: what ``drops`` selects by its kind must be at least this old."""
    accept_loss: tuple[bytes, ...]
    """Names of images that go although no registry is known to have them, and of containers; ``all`` for each."""
    compact: bool
    """Whether databases that are mostly free pages are made shorter."""
    filters: tuple[LabelFilter, ...]
    """What ``drops`` selects by a kind must have these labels."""


class Policy(_Policy):
    """The options of plan and clean."""

    __slots__ = ()

    def __new__(  # noqa: PYI034 - typing has Self from Python 3.11 on
        cls,
        end: EndLeases | str = EndLeases.EXPIRED,
        older_than: Span | None = None,
        leases: Iterable[Name] = (),
        keep: Iterable[Name] = (),
        edit: bool = True,
        *,
        truncate_logs: int | None = None,
        drop: StoreMode | str | None = None,
        drops: Iterable[Name | Drop] = (),
        unused_for: Span | None = None,
        accept_loss: Iterable[Name] = (),
        compact: bool = False,
        filters: Iterable[Name | LabelFilter] = (),
    ) -> "Policy":
        """A policy of values that a caller may give in several types.

        Raises:
            Usage: a value is of another type, ``end`` is no class of leases, ``truncate_logs`` is negative, ``drop`` is
                no store, or ``drops`` has no kind, or ``filters`` no filter.
        """
        if truncate_logs is not None and (type(truncate_logs) is not int or truncate_logs < 0):
            raise Usage(f"{truncate_logs!r} is not a number of bytes that a log can have")
        return super().__new__(
            cls,
            choice(EndLeases, end),
            None if older_than is None else nanoseconds(older_than),
            raw_names(leases),
            raw_names(keep),
            edit,
            truncate_logs,
            None if drop is None else choice(StoreMode, drop),
            tuple(each if isinstance(each, Drop) else parse_drop(*raw_names([each])) for each in drops),
            None if unused_for is None else nanoseconds(unused_for),
            raw_names(accept_loss),
            compact,
            tuple(each if isinstance(each, LabelFilter) else parse_filter(*raw_names([each])) for each in filters),
        )


class VerifyOptions(NamedTuple):
    """What to verify of a root besides its records."""

    data: bool = False
    """Every blob's bytes; else only those that an earlier run found wrong."""
    unpacked: bool = False
    """Every unpacked layer; else only those that an earlier run found wrong."""
    content: bool = False
    """The bytes of unpacked files as well."""
    seconds: float | None = None
    """Time limit; None for none."""

    @property
    def options(self) -> str:
        """As typed on the command line, without the time limit."""
        unpacked = "--unpacked=content" if self.content else "--unpacked"
        return " ".join([*(["--data"] if self.data else []), *([unpacked] if self.unpacked else [])])

"""The document ``drydock.journal/1``: what a run intended and what became of it, one JSON object a line.

The first line is a :class:`JournalHeader`. Each line is complete only with its newline; names and paths are as
:func:`drydock.model.text.shown` gives them.

Before the first edit there is a :class:`MissingLine` for each thing that the records and rows of the plan name and that
was not there before the run; these lines are synced together with the line of the edit. Before an action there is a
line of its kind, synced: a :class:`RemovalLine`, a :class:`CutLine`, a :class:`RestoreLine`, an :class:`EditLine`, a
:class:`NamesLine` or a :class:`CompactLine`. After it there is an :class:`EndLine`, not synced: where it is missing,
the end is unknown, and the action may have been done. When the run has done all it could, there is a
:class:`FinishLine`, synced.

The manifests of a run lie in one file beside its journal, with a line for each entry of a directory that was moved.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, NamedTuple

from msgspec import UNSET, Meta, UnsetType

from drydock.model.data import Fingerprint
from drydock.model.documents.common import Count, Line, Sha256, Shown, StrictPart, Time, fields_of
from drydock.model.documents.plan import LayerDataRoot, NamedBy
from drydock.model.plans import Status, Target

_LIMIT: Final = 1 << 80
"""More than a file system has of anything; the numbers of JSON have no end."""
_NOBODY: Final = (1 << 32) - 1
"""To chown(2) this means that nothing is to change."""

ActionNumber = Annotated[int, Meta(ge=1, le=(1 << 63) - 1, description="number of the action in this journal")]
OwnerId = Annotated[int, Meta(ge=0, lt=_NOBODY)]
Unsigned = Annotated[int, Meta(ge=0)]


def _refuse_unreal(expect: Fingerprint) -> None:
    if not -_LIMIT < min(expect) <= max(expect) < _LIMIT:
        raise ValueError("a number that no file has")


class ManifestMember(NamedTuple):
    """Where the manifest of a directory lies in the file manifests.gz, beside the journal."""

    at: Annotated[Count, Meta(description="offset of its gzip member")]
    length: Annotated[Count, Meta(description="bytes of its gzip member")]
    sha256: Annotated[Sha256, Meta(description="SHA-256 of its gzip member")]


class JournalHeader(StrictPart, tag_field="schema", tag="drydock.journal/1"):
    """The first line."""

    tool: Annotated[str, Meta(description="version of drydock that wrote it")]
    time: Annotated[Time, Meta(description="when the run began, in UTC, as in RFC 3339")]
    root: Annotated[Shown, Meta(description="absolute path of the containerd root, as shown")]
    plan: Annotated[Sha256, Meta(description="hash of the plan that was carried out")]
    quarantine: (
        Annotated[
            Shown,
            Meta(
                description="absolute path of the folder that the run made for what it moves, as shown; absent without "
                "a quarantine, and in journals of older versions"
            ),
        ]
        | UnsetType
    ) = UNSET


class MissingLine(StrictPart):
    """Something that the plan's records or rows name, and that was not there before the run."""

    missing: Annotated[
        Shown,
        Meta(
            description="below the root, as shown: a blob, the directory of a snapshot, or a row as "
            "io.containerd.snapshotter.v1.NAME/metadata.db/ROW; absolute: a directory of Docker's classic store"
        ),
    ]


class RemovalLine(StrictPart):
    """A file or directory that the run is going to remove or to move."""

    n: ActionNumber
    do: Annotated[Literal["remove", "move"], Meta(description="what is done to it")]
    target: Annotated[Target, Meta(description="kind of the data")]
    path: Annotated[Shown, Meta(description="relative to the root, as shown")]
    to: Annotated[Shown | None, Meta(description="absolute path that it is moved to, as shown; null if it is removed")]
    bytes: Annotated[Count, Meta(description="bytes that removing it is expected to free")]
    why: Annotated[Line, Meta(description="the reason, in one line for people")]
    expect: Annotated[
        Fingerprint,
        Meta(description="device, inode, mode, size, mtime and ctime; both times in nanoseconds since 1970"),
    ]
    after_edit: Annotated[bool, Meta(description="whether a record or a row named it until the edits of this run")]
    owner: Annotated[
        tuple[OwnerId, OwnerId] | UnsetType | None,
        Meta(description="user and group of what is moved; null if unknown, absent in journals of older versions"),
    ] = UNSET
    manifest: Annotated[
        ManifestMember | UnsetType | None,
        Meta(
            description="of a directory that is moved, where its entries are listed: offset and length in the file "
            "manifests.gz beside the journal, and SHA-256; null if there is none, absent in journals of older versions"
        ),
    ] = UNSET
    data_root: LayerDataRoot = UNSET
    named_by: NamedBy = UNSET

    def __post_init__(self) -> None:
        """Refuse numbers that no file has, and a move to nowhere."""
        _refuse_unreal(self.expect)
        if (self.do == "move") is (self.to is None):
            raise ValueError("a removal with a destination, or a move without one")


class CutLine(StrictPart):
    """A file of a container's log that the run is going to remove, to move, or to cut to its newest bytes."""

    n: ActionNumber
    do: Annotated[Literal["cut"], Meta(description="always cut")]
    data_root: Annotated[Shown, Meta(description="absolute path of the Docker data root, as shown")]
    path: Annotated[Shown, Meta(description="relative to the data root, as shown")]
    to: Annotated[
        Shown | None,
        Meta(description="absolute path that the former file is moved to, as shown; null if it is removed"),
    ]
    keep: Annotated[Count, Meta(description="bytes at its end that stay")]
    current: Annotated[bool, Meta(description="whether the daemon appends to it: then the file stays, though empty")]
    bytes: Annotated[Count, Meta(description="bytes that the cut is expected to free")]
    why: Annotated[Line, Meta(description="the reason, in one line for people")]
    expect: Annotated[
        Fingerprint,
        Meta(description="device, inode, mode, size, mtime and ctime; both times in nanoseconds since 1970"),
    ]

    def __post_init__(self) -> None:
        """Refuse numbers that no file has."""
        _refuse_unreal(self.expect)
        if self.keep > self.expect.size:
            raise ValueError("a number that no file has")


class RestoreLine(StrictPart):
    """A committed snapshot whose files the run is going to unpack again from the blob of its layer."""

    n: ActionNumber
    do: Annotated[Literal["restore"], Meta(description="always restore")]
    path: Annotated[Shown, Meta(description="of the directory with the files, relative to the root, as shown")]
    to: Annotated[
        Shown | None,
        Meta(description="absolute path that the former directory is moved to, as shown; null if it is removed"),
    ]
    layer: Annotated[Shown, Meta(description="digest of the blob, as shown")]
    bytes: Annotated[Count, Meta(description="size of the blob")]
    why: Annotated[Line, Meta(description="the reason, in one line for people")]
    expect: Annotated[
        Fingerprint,
        Meta(
            description="of the former directory: device, inode, mode, size, mtime and ctime; both times in "
            "nanoseconds since 1970"
        ),
    ]
    owner: Annotated[tuple[OwnerId, OwnerId] | None, Meta(description="user and group of it; null if unknown")]
    manifest: Annotated[
        ManifestMember | None,
        Meta(description="where its entries are listed, as of a directory that is moved; null if they are not"),
    ]

    def __post_init__(self) -> None:
        """Refuse numbers that no directory has."""
        _refuse_unreal(self.expect)


class CompactLine(StrictPart):
    """A database that the run is going to compact. No edit of it before that can be undone afterwards."""

    n: ActionNumber
    do: Annotated[Literal["compact"], Meta(description="always compact")]
    path: Annotated[Shown, Meta(description="absolute path of the database, as shown")]
    size: Annotated[Count, Meta(description="length of the file in bytes")]


class EditNumbers(StrictPart):
    """What undoing the edit of a database takes."""

    txid_before: Annotated[Unsigned, Meta(description="transaction of the database before the edit")]
    txid_after: Annotated[Unsigned, Meta(description="transaction of the edit")]
    root_before: Annotated[Unsigned, Meta(description="page of the root bucket before the edit")]
    sequence_before: Annotated[Unsigned, Meta(description="sequence of the root bucket before the edit")]
    root_after: Annotated[Unsigned, Meta(description="page of the root bucket after the edit")]
    sequence_after: Annotated[Unsigned, Meta(description="sequence of the root bucket after the edit")]
    hwm_before: Annotated[Unsigned, Meta(description="high-water mark before the edit: the first page never used")]
    hwm_after: Annotated[Unsigned, Meta(description="high-water mark after the edit")]
    pages_written: Annotated[Unsigned, Meta(description="pages that the edit wrote, without the meta")]
    grew_by: Annotated[Unsigned, Meta(description="bytes by which the file became longer")]
    backup: Annotated[
        Shown | UnsetType,
        Meta(description="path of the copy made before, as shown; a file of its name beside the journal comes first"),
    ] = UNSET

    def __post_init__(self) -> None:
        """Refuse numbers that no database has."""
        if any(isinstance(value, int) and value >= _LIMIT for value in fields_of(self).values()):
            raise ValueError("a number that no database has")


class EditLine(StrictPart):
    """A database that the run is going to edit."""

    n: ActionNumber
    do: Annotated[Literal["edit"], Meta(description="always edit")]
    path: Annotated[Shown, Meta(description="absolute path of the database, as shown")]
    fields: Annotated[EditNumbers, Meta(description="what undo needs")]


class NamedImage(StrictPart):
    """A name of an image."""

    name: Annotated[Shown, Meta(description="as dockerd writes it, as shown")]
    image: Annotated[Shown, Meta(description="id of the image, as shown")]


class NamesLine(StrictPart):
    """Names of images that the run is going to delete from a repositories.json."""

    n: ActionNumber
    do: Annotated[Literal["names"], Meta(description="always names")]
    data_root: Annotated[Shown, Meta(description="absolute path of the Docker data root, as shown")]
    names: Annotated[list[NamedImage], Meta(description="the names that go")]
    before: Annotated[Sha256, Meta(description="SHA-256 of the file")]
    after: Annotated[Sha256, Meta(description="SHA-256 of the file that takes its place")]
    backup: Annotated[
        Shown,
        Meta(description="path of the copy made before, as shown; a file of its name beside the journal comes first"),
    ]


class EndLine(StrictPart):
    """How an action ended."""

    ended: ActionNumber
    status: Annotated[Status, Meta(description="how it ended")]
    freed: Annotated[Count, Meta(description="bytes of allocated blocks that went away")]
    detail: Annotated[
        Line,
        Meta(
            description="of a failure, what stands in the way; of a database that was compacted, its sizes; else empty"
        ),
    ]


class FinishLine(StrictPart):
    """The run has done all it could."""

    finished: Annotated[Time, Meta(description="when, in UTC, as in RFC 3339")]
    by: Annotated[
        Literal["later"] | UnsetType,
        Meta(description="later: the run was killed, and a later one or an undo did the rest"),
    ] = UNSET


JournalLine = (
    JournalHeader
    | MissingLine
    | RemovalLine
    | CutLine
    | RestoreLine
    | CompactLine
    | EditLine
    | NamesLine
    | EndLine
    | FinishLine
)


class ManifestLine(StrictPart, array_like=True):
    """One entry of a directory that was moved; an array in the manifest."""

    depth: Annotated[Count, Meta(description="0 for the directory itself")]
    name: Annotated[Shown, Meta(description="its name, as shown; empty for the directory itself")]
    mode: Annotated[Count, Meta(description="mode, with the type")]
    uid: Annotated[OwnerId, Meta(description="user")]
    gid: Annotated[OwnerId, Meta(description="group")]
    size: Annotated[int, Meta(description="bytes; of a device, its number; of a directory, 0")]
    mtime: Annotated[int, Meta(description="modification time in nanoseconds since 1970; of a directory, 0")]
    more: Annotated[
        str,
        Meta(
            description="hash of a link's target and of the extended attributes that change what a container sees; "
            "empty where there are none"
        ),
    ]

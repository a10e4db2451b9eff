"""Findings: damage and blind spots in the evidence, as data with the place where each was seen.

The registry of findings has three parts: :class:`FindingCode` is the closed set of kinds,
:mod:`drydock.model.messages` has every text that a finding can have and makes all findings, and
:mod:`drydock.model.guidance` explains each kind to the user (docs/findings.md is generated from it).
"""

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from drydock.model.names import RawPath

if TYPE_CHECKING:
    from typing_extensions import Self


class Severity(enum.IntEnum):
    """How much a finding matters."""

    NOTE = 10
    """Worth knowing; nothing is wrong."""
    BLIND = 20
    """Something could not be read or understood: whatever may depend on it is withheld."""
    DAMAGE = 30
    """An engine will fail on it, or reports something that is not true."""


class Place(NamedTuple):
    """Where in the evidence something was read."""

    file: RawPath
    page: int | None = None
    offset: int | None = None
    bucket: tuple[bytes, ...] = ()


class Affects(enum.Enum):
    """What a finding leaves in question."""

    EVERYTHING = "everything"
    SNAPSHOT_DIRECTORIES = "snapshot directories"
    """Where snapshotters keep their data. What meta.db records is not in question."""


_NOTE, _BLIND, _DAMAGE = (Severity.NOTE,), (Severity.BLIND,), (Severity.DAMAGE,)
_DAMAGE_OR_NOTE = (Severity.DAMAGE, Severity.NOTE)
_BLIND_OR_DAMAGE = (Severity.BLIND, Severity.DAMAGE)
_BLIND_OR_NOTE = (Severity.BLIND, Severity.NOTE)


class FindingCode(str, enum.Enum):
    """Every kind of finding. A member is its code as text, as documents and docs/findings.md have it.

    Attributes:
        severities: those that a finding of the kind can have; where there are several, the context decides.
        affects: what it leaves in question.
    """

    severities: tuple[Severity, ...]
    affects: Affects

    def __new__(cls, code: str, severities: tuple[Severity, ...] = (), affects: Affects = Affects.EVERYTHING) -> "Self":
        """Make a member of its row below."""
        self = str.__new__(cls, code)
        self._value_ = code
        self.severities, self.affects = severities, affects
        return self

    def __str__(self) -> str:
        """The code itself: before Python 3.11, an enum's own text is another."""
        return str.__str__(self)

    # Blobs and snapshots
    MISSING_BLOB = "missing-blob", _DAMAGE_OR_NOTE
    MISSING_SNAPSHOT = "missing-snapshot", _DAMAGE_OR_NOTE
    CORRUPT_BLOB = "corrupt-blob", _DAMAGE_OR_NOTE
    CORRUPT_SNAPSHOT = "corrupt-snapshot", _DAMAGE_OR_NOTE
    SNAPSHOT_DIFFERS = "snapshot-differs", _DAMAGE
    SNAPSHOT_SIZE = "snapshot-size", _DAMAGE_OR_NOTE
    SNAPSHOT_UNPROVED = "snapshot-unproved", _DAMAGE
    UNREADABLE_LAYER = "unreadable-layer", _BLIND
    NOT_COMPARED = "not-compared", _BLIND
    CORRUPT_ORPHAN = "corrupt-orphan", _NOTE
    NO_EROFS_LAYER = "no-erofs-layer", _DAMAGE
    MISSING_PARENT = "missing-parent", _DAMAGE
    OTHER_PARENT = "other-parent", _DAMAGE

    # Names that lead nowhere
    MISSING_ROOT = "missing-root", _DAMAGE
    RECORD_WITHOUT_SNAPSHOT = "record-without-snapshot", _DAMAGE
    LOST_CONTAINER = "lost-container", _DAMAGE
    MISSING_TARGET = "missing-target", _DAMAGE
    LEASE_NAMES_ABSENT = "lease-names-absent", _DAMAGE_OR_NOTE
    MISNAMED = "misnamed", _DAMAGE
    UNKNOWN_LABEL = "unknown-label", _BLIND
    JUNK_NAME = "junk-name", _DAMAGE
    FOREIGN_NAME = "foreign-name", _NOTE
    IMAGE_WITHOUT_TARGET = "image-without-target", _DAMAGE
    INVALID_DIGEST = "invalid-digest", _DAMAGE
    UNDECODABLE = "undecodable", _DAMAGE
    UNDECODABLE_TIME = "undecodable-time", _DAMAGE
    UNDECODABLE_EXPIRY = "undecodable-expiry", _DAMAGE
    TIME_AHEAD = "time-ahead", _NOTE
    ENDED_BEFORE_MADE = "ended-before-made", _DAMAGE

    # Rows
    ROW_WITHOUT_PARENT = "row-without-parent", _DAMAGE
    LOST_ROW = "lost-row", _DAMAGE
    PARENTS_DISAGREE = "parents-disagree", _DAMAGE
    SHARED_ID = "shared-id", _BLIND

    # Databases
    UNKNOWN_KEY = "unknown-key", _BLIND
    UNKNOWN_BUCKET = "unknown-bucket", _BLIND
    NEWER_SCHEMA = "newer-schema", _BLIND
    EMPTY_DATABASE = "empty-database", _BLIND
    OLDER_DATABASE = "older-database", _NOTE
    NO_DATABASE = "no-database", _BLIND
    MOSTLY_FREE = "mostly-free", _NOTE
    UNREADABLE_DATABASE = "unreadable-database", _DAMAGE
    UNREADABLE_PAGE = "unreadable-page", _DAMAGE
    BOLT_META = "bolt-meta", _BLIND_OR_DAMAGE
    BOLT_SHORT_FILE = "bolt-short-file", _DAMAGE
    BOLT_FREELIST = "bolt-freelist", _DAMAGE
    BOLT_CORRUPT = "bolt-corrupt", _DAMAGE
    BOLT_TRUNCATED = "bolt-truncated", _DAMAGE
    BOLT_UNREADABLE = "bolt-unreadable", _DAMAGE
    BOLT_ORDER = "bolt-order", _DAMAGE
    BOLT_GAP = "bolt-gap", _DAMAGE
    BOLT_FREED = "bolt-freed", _DAMAGE
    BOLT_UNREACHABLE = "bolt-unreachable", _DAMAGE
    READERS_DISAGREE = "readers-disagree", _DAMAGE
    REBUILT_DATABASE = "rebuilt-database", _BLIND

    # Files and folders
    UNREADABLE = "unreadable", _BLIND
    UNREADABLE_BLOB = "unreadable-blob", _DAMAGE
    UNREADABLE_DOCUMENT = "unreadable-document", _BLIND
    NOT_MEASURED = "not-measured", _NOTE

    # Docker
    NO_OWNERS = "no-owners", _NOTE
    NO_CONTAINERS = "no-containers", _NOTE
    CLASSIC_STORE = "classic-store", _NOTE
    IDLE_STORE = "idle-store", _NOTE
    HIDDEN_VOLUME = "hidden-volume", _NOTE
    VOLUME_OPTIONS = "volume-options", _DAMAGE
    OWNERS_UNKNOWN = "owners-unknown", _BLIND_OR_NOTE
    CONTAINER_UNREADABLE = "container-unreadable", _BLIND_OR_NOTE

    # Docker's classic layer store
    UNREADABLE_REFERENCES = "unreadable-references", _DAMAGE
    UNLISTED_IMAGE = "unlisted-image", _DAMAGE
    LOST_IMAGE = "lost-image", _DAMAGE
    MISSING_LAYER = "missing-layer", _DAMAGE_OR_NOTE
    CORRUPT_LAYER = "corrupt-layer", _DAMAGE_OR_NOTE
    LAYER_DIFFERS = "layer-differs", _DAMAGE
    LAYER_NOT_COMPARED = "layer-not-compared", _BLIND
    UNREADABLE_MOUNT = "unreadable-mount", _DAMAGE_OR_NOTE
    LOST_LAYER = "lost-layer", _DAMAGE
    LAYERS_WITHOUT_RECORDS = "layers-without-records", _BLIND
    UNREADABLE_PLUGIN = "unreadable-plugin", _DAMAGE
    NO_BUILD_DATABASE = "no-build-database", _BLIND

    # Settings
    CONFIG_UNREADABLE = "config-unreadable", _BLIND
    CONFIG_UNKNOWN = "config-unknown", _BLIND, Affects.SNAPSHOT_DIRECTORIES
    CONFIG_FOREIGN = "config-foreign", _BLIND

    # drydock's own
    UNFINISHED_RUN = "unfinished-run", _NOTE
    UNREADABLE_JOURNAL = "unreadable-journal", _BLIND_OR_NOTE


LAYER_CODES: Final = frozenset(
    (
        FindingCode.UNLISTED_IMAGE,
        FindingCode.MISSING_LAYER,
        FindingCode.CORRUPT_LAYER,
        FindingCode.UNREADABLE_MOUNT,
        FindingCode.LAYER_DIFFERS,
    )
)
"""The kinds of findings about parts of a classic layer store."""


class Finding(NamedTuple):
    """One statement about the evidence."""

    code: FindingCode
    severity: Severity
    message: str
    """One line, ready to show: raw names in it have been through :func:`drydock.model.text.shown`."""
    place: Place
    subject: str = ""
    """The shown id of the object it is about; empty where it is about a whole file."""
    remedy: str = ""
    """What to run or do next; empty where there is nothing to do."""

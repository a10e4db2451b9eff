"""The texts of findings: every finding is made from one of these, so that all texts are read on one page.

A word in braces is a parameter. Raw names are given as bytes: a text shows them escaped, a remedy quotes them for a
shell.
"""

from __future__ import annotations

from typing import Final

from drydock.model.findings import Finding, FindingCode, Place, Severity
from drydock.model.text import quoted_path, shown


class Text:
    """A message with the names that it speaks of, ready to become a finding."""

    __slots__ = ("_code", "_message", "_remedy")

    def __init__(self, code: FindingCode, message: str, remedy: str) -> None:
        self._code = code
        self._message = message
        self._remedy = remedy

    def at(
        self, place: Place, subject: bytes | str = "", *, severity: Severity | None = None, remedy: str | None = None
    ) -> Finding:
        """The finding.

        Args:
            place: where it was seen.
            subject: the id of the object that it is about; bytes are shown escaped.
            severity: where the code has several, and the context decides.
            remedy: another one than the message has.
        """
        possible = self._code.severities
        chosen = possible[0] if severity is None else severity
        assert chosen in possible
        subject = shown(subject) if isinstance(subject, bytes) else subject
        return Finding(self._code, chosen, self._message, place, subject, self._remedy if remedy is None else remedy)


class Message:
    """What a finding of one kind says, with parameters in braces.

    Attributes:
        code: the kind.
        text: the message.
        remedy: what to run or do next, with the same parameters; empty where there is nothing to do. It is either a
            command that can be copied, or a sentence that begins with a verb.
    """

    __slots__ = ("code", "remedy", "text")

    def __init__(self, code: FindingCode, text: str, remedy: str = "") -> None:
        self.code = code
        self.text = text
        self.remedy = remedy

    def __call__(self, **words: bytes | str | int) -> Text:
        """Put names in the place of the parameters. What is given as str must be fit to show already."""
        message = self.text.format(**{name: shown(w) if isinstance(w, bytes) else w for name, w in words.items()})
        remedy = self.remedy
        if "{" in remedy:
            remedy = remedy.format(**{name: quoted_path(w) if isinstance(w, bytes) else w for name, w in words.items()})
        return Text(self.code, message, remedy)


def texts_of(code: FindingCode) -> list[str]:
    """The texts that findings of one kind have, with their parameters in braces."""
    texts = (each.text for each in globals().values() if isinstance(each, Message) and each.code is code)
    return list(dict.fromkeys(texts))


def unlisted(code: FindingCode) -> Message:
    """The text that stands for the rest where a database has too many findings of one kind."""
    return Message(code, f"{{file}}: more than {{limit}} findings of kind {code}; the others are not listed")


def bolt_damage(kind: str) -> Message:
    """The text for damage that bbolt_reader finds.

    Args:
        kind: the code of a :class:`bbolt_reader.Damage`.
    """
    return Message(FindingCode(f"bolt-{kind}"), "{file}{page}: {problem}", _CHECK)


_CHECK: Final = "drydock bolt check {file}"
_REPAIR_BLOB: Final = (
    "run drydock repair: it removes the record and names what to pull; a pull alone does not replace the blob"
)
_REPAIR_SNAPSHOT: Final = (
    "run drydock repair: it removes the snapshot and names what to pull; a pull alone does not replace it"
)
_RESTORE_FILES: Final = (
    "run drydock repair --restore-files: it unpacks the layer again if its blob is whole, and containers keep their "
    "files; without the option, repair removes the snapshot and names what to pull"
)
_NEWER_DATABASES: Final = (
    "if newer copies of meta.db and metadata.db exist, restore both before you remove anything or start an engine"
)

# Blobs and snapshots
MISSING_BLOB = Message(FindingCode.MISSING_BLOB, "blob {id}: {problem}", _REPAIR_BLOB)
CORRUPT_BLOB = Message(FindingCode.CORRUPT_BLOB, "blob {id}: {problem}", _REPAIR_BLOB)
MISSING_SNAPSHOT = Message(FindingCode.MISSING_SNAPSHOT, "snapshot {id}: {problem}", _REPAIR_SNAPSHOT)
RECORD_WITHOUT_SNAPSHOT = Message(
    FindingCode.RECORD_WITHOUT_SNAPSHOT,
    "BuildKit's cache record {record}: its snapshot {snapshot} does not exist, so builds that use it fail",
    "run drydock repair: it drops the record and all that depend on it",
)
CLASSIC_RECORD_WITHOUT_SNAPSHOT = Message(
    FindingCode.RECORD_WITHOUT_SNAPSHOT,
    "cache record {record} of dockerd's builder: its snapshot {snapshot} does not exist, so builds that use it fail",
    "run drydock clean --drop all-build-cache; with dockerd running, docker builder prune --all",
)
CORRUPT_SNAPSHOT = Message(FindingCode.CORRUPT_SNAPSHOT, "snapshot {id}: {problem}", _REPAIR_SNAPSHOT)
SNAPSHOT_DIFFERS = Message(
    FindingCode.SNAPSHOT_DIFFERS,
    "snapshot {snapshot} differs from layer {layer} in {count} of its entries{emptied}: {entries}",
    _RESTORE_FILES,
)
DAMAGED_EROFS_LAYER = Message(
    FindingCode.SNAPSHOT_DIFFERS, "snapshot {snapshot}: its layer.erofs is damaged: {entries}", _REPAIR_SNAPSHOT
)
_COMPARE: Final = "run drydock repair --unpacked: it compares the snapshot with its layer, and removes it if it differs"
SNAPSHOT_FILES = Message(
    FindingCode.SNAPSHOT_SIZE,
    "snapshot {snapshot} has {found} files and directories; when it was committed, it had {recorded}",
    _COMPARE,
)
SNAPSHOT_BYTES = Message(
    FindingCode.SNAPSHOT_SIZE,
    "the files of snapshot {snapshot} take {found} bytes; when it was committed, they took {recorded}",
    _COMPARE,
)
SNAPSHOT_UNPROVED = Message(
    FindingCode.SNAPSHOT_UNPROVED,
    "snapshot {snapshot}: the blob of its layer {layer} is damaged, and there is no other copy of the layer here, so "
    "nothing proves that the unpacked files are intact",
    "run drydock repair --drop-unproved: it removes the blob and the snapshot, or only the blob if a container uses "
    "the files",
)
UNREADABLE_LAYER = Message(FindingCode.UNREADABLE_LAYER, "snapshot {snapshot}: {problem}", "drydock verify --data")
NOT_COMPARED = Message(FindingCode.NOT_COMPARED, "snapshot {snapshot} was not compared with layer {layer}: {reason}")
CORRUPT_ORPHAN = Message(
    FindingCode.CORRUPT_ORPHAN,
    "blob {blob} has no record, and its bytes do not match its digest",
    "run drydock clean --apply: it removes the file",
)
NO_EROFS_LAYER = Message(
    FindingCode.NO_EROFS_LAYER,
    "snapshot {snapshot} is committed, but {number}/layer.erofs is missing: nothing can mount the snapshot; containerd "
    "2.3.4 cannot remove it either (from its source), so its GC of snapshotter {snapshotter} stops there; 2.4.2 "
    "removes it (tried)",
    "run drydock clean --apply if nothing references the snapshot, else drydock repair",
)
MISSING_PARENT = Message(FindingCode.MISSING_PARENT, "snapshot {snapshot}: its parent {parent} has no record")
OTHER_PARENT = Message(FindingCode.OTHER_PARENT, "snapshot {snapshot}: its row names another parent than its record")

# Names that lead nowhere
_EXPLAIN: Final = "whatever may be meant is kept; drydock explain shows what references what"
_ABSENT: Final = "{holder} names {absent}, for which no record exists{similar}"
LEASE_NAMES_ABSENT = Message(FindingCode.LEASE_NAMES_ABSENT, _ABSENT, _EXPLAIN)
CONTAINER_NAMES_ABSENT = Message(FindingCode.MISSING_ROOT, _ABSENT, _EXPLAIN)
IMAGE_NAMES_ABSENT = Message(FindingCode.MISSING_TARGET, _ABSENT, _EXPLAIN)
MISNAMED = Message(FindingCode.MISNAMED, _ABSENT, _EXPLAIN)
MISNAMED_BY_CACHE = Message(
    FindingCode.MISNAMED,
    "a record of the build cache {cache} names {absent}, which does not exist; {other} has a very similar name",
    "BuildKit's records are kept as they are; drydock explain shows what references what",
)
SIMILAR: Final = "; {other}, which nothing references, has a very similar name"
"""The end of the texts above where such an object exists."""
SIMILAR_IMAGE = Message(
    FindingCode.MISSING_TARGET, "{other}, which nothing references, refers to a name very similar to {holder}", _EXPLAIN
)
MISSING_ROOT = Message(FindingCode.MISSING_ROOT, "container {container}: its snapshot {snapshot} has no record")
MISSING_TARGET = Message(
    FindingCode.MISSING_TARGET, "image {image}: its target {target} has no record", "pull the image again, or remove it"
)
ADOPTABLE_TARGET = Message(
    FindingCode.MISSING_TARGET,
    MISSING_TARGET.text,
    "run drydock repair --adopt: it creates the record of the target anew",
)
LOST_CONTAINER = Message(
    FindingCode.LOST_CONTAINER,
    "container {container} exists in dockerd, but {missing}: when the engine starts, it deletes the container's files",
    _NEWER_DATABASES,
)
ADOPTABLE_CONTAINER = Message(
    FindingCode.LOST_CONTAINER,
    LOST_CONTAINER.text,
    "run drydock repair --adopt: it creates the records of the container anew",
)
UNKNOWN_LABEL = Message(
    FindingCode.UNKNOWN_LABEL, "{label}: this version of drydock does not know the label, which may keep something"
)
JUNK_NAME = Message(
    FindingCode.JUNK_NAME,
    "{path} is not a blob; containerd's GC of content stops at such a name",
    "look at it, and move it out of blobs/",
)
FOREIGN_NAME = Message(
    FindingCode.FOREIGN_NAME, "{path} is not named after a digest algorithm; drydock leaves it alone"
)
IMAGE_WITHOUT_TARGET = Message(FindingCode.IMAGE_WITHOUT_TARGET, "image {image} has no target")
INVALID_DIGEST = Message(FindingCode.INVALID_DIGEST, "{bucket}: {value} is not a digest")

# Fields
UNDECODABLE = Message(FindingCode.UNDECODABLE, "{field}: {problem}")
FIELD_IS_BUCKET = Message(FindingCode.UNDECODABLE, "{field} is a bucket, not a value")
FIELD_IS_NO_BUCKET = Message(FindingCode.UNDECODABLE, "{field} is a value, not a bucket")
FIELD_IS_NEGATIVE = Message(FindingCode.UNDECODABLE, "{field} is {number}, which is less than 0")
FIELD_IS_EMPTY = Message(FindingCode.UNDECODABLE, "{field} is missing or empty")
FIELD_IS_MISSING = Message(FindingCode.UNDECODABLE, "{field} is missing")
OVERWRITTEN_NAME = Message(FindingCode.UNDECODABLE, "{bucket}: the name {name} is overwritten")
INGEST_WITHOUT_DATA = Message(FindingCode.UNDECODABLE, "ingest {ingest} names no data")
ROW_WITHOUT_ID = Message(FindingCode.UNDECODABLE, "row {row} has no id")
ROW_WITHOUT_KIND = Message(FindingCode.UNDECODABLE, "row {row} has no known kind")
UNDECODABLE_TIME = Message(FindingCode.UNDECODABLE_TIME, "{field}: {problem}")
UNDECODABLE_EXPIRY = Message(
    FindingCode.UNDECODABLE_EXPIRY,
    "ingest {ingest}: expireat: {problem}; containerd's GC removes nothing while this field exists",
)
TIME_AHEAD = Message(
    FindingCode.TIME_AHEAD,
    "{object}: {field} is {time}, which is {span} after the clock",
    "if the clock is right, this time is wrong, and the age of the object is not known",
)
MORE_TIMES_AHEAD = Message(
    FindingCode.TIME_AHEAD, "more than {limit} records have a time after the clock; the others are not listed"
)
ENDED_BEFORE_MADE = Message(
    FindingCode.ENDED_BEFORE_MADE,
    "lease {lease} ended {end}, before it was created ({created})",
    "when the engine next starts, it removes the lease and what only the lease holds: save what you need before",
)

# Rows
ROW_WITHOUT_PARENT = Message(FindingCode.ROW_WITHOUT_PARENT, "row {row}: its parent has no row")
LOST_ROW = Message(FindingCode.LOST_ROW, "{snapshot} has an entry in parents, but no row")
OTHER_ID_IN_PARENTS = Message(
    FindingCode.PARENTS_DISAGREE, "row {row}: the row or its parent has another id than its entry in parents"
)
NOT_IN_PARENTS = Message(FindingCode.PARENTS_DISAGREE, "row {row} has a parent, but no entry in parents")
SHARED_ID = Message(FindingCode.SHARED_ID, "rows {row} and {other} have the same id {id}")

# Databases
_UNKNOWN: Final = "{name}: this version of drydock does not know it"
UNKNOWN_KEY = Message(FindingCode.UNKNOWN_KEY, _UNKNOWN)
UNKNOWN_BUCKET = Message(FindingCode.UNKNOWN_BUCKET, _UNKNOWN)
KEY_OUTSIDE_BUCKETS = Message(FindingCode.UNKNOWN_KEY, "{key} is a key outside of all buckets")
KEY_AMONG_BUCKETS = Message(FindingCode.UNKNOWN_KEY, "{bucket}: {key} is not a bucket")
BUCKET_AMONG_KEYS = Message(FindingCode.UNKNOWN_BUCKET, "{bucket} is a bucket where a key is expected")
BUCKET_AMONG_LABELS = Message(FindingCode.UNKNOWN_BUCKET, "{bucket} is a bucket among labels")
BUCKET_AMONG_OLD_INGESTS = Message(
    FindingCode.UNKNOWN_BUCKET, "{bucket} is a bucket among the ingests of schema version 1"
)
OLD_INGESTS = Message(
    FindingCode.UNKNOWN_BUCKET, "ingests of schema version 1 in a database of schema version {version}"
)
NOT_OF_ROWS = Message(FindingCode.UNKNOWN_BUCKET, "{name} does not belong in the metadata.db of a snapshotter")
NEWER_SCHEMA = Message(
    FindingCode.NEWER_SCHEMA,
    "schema version {version} is newer than {newest}, the newest that this version of drydock knows",
)
MOSTLY_FREE = Message(
    FindingCode.MOSTLY_FREE,
    "{file}: of {size} MiB, pages in use take {used} MiB or less, and the rest is free pages",
    "With the engine stopped, `drydock bolt compact --apply` on this file gives the free pages back.",
)
EMPTY_DATABASE = Message(FindingCode.EMPTY_DATABASE, "there is no bucket v1: nothing is recorded here")
OLDER_METADATA = Message(
    FindingCode.OLDER_DATABASE,
    "{snapshotter}: meta.db never assigned the numbers of some rows of namespace {namespace} ({count}): it is older "
    "than metadata.db, and these rows may hold what containers wrote",
    _NEWER_DATABASES,
)
OLDER_ROWS = Message(
    FindingCode.OLDER_DATABASE,
    "{snapshotter}: the last directory number in metadata.db is {last}, but some directories have higher numbers "
    "({count}): metadata.db is older than the data, and these directories may hold what containers wrote",
    _NEWER_DATABASES,
)
NO_METADATA = Message(FindingCode.NO_DATABASE, "there is no meta.db, so it is not known what the data belongs to")
NO_ROWS = Message(
    FindingCode.NO_DATABASE, "{snapshotter} has recorded snapshots, but no metadata.db: it was lost, or lies elsewhere"
)
UNREADABLE_DATABASE = Message(FindingCode.UNREADABLE_DATABASE, "{file}: {problem}", _CHECK)
UNREADABLE_PAGE = Message(FindingCode.UNREADABLE_PAGE, "{bucket}: {problem}", _CHECK)
READERS_DISAGREE = Message(
    FindingCode.READERS_DISAGREE,
    "{file}: {difference}",
    "keep a copy of {file} and report this: one of drydock's two readers is wrong",
)
ONE_READER_OPENS = Message(
    FindingCode.READERS_DISAGREE, "{file}: only the {which} reader opens it{why}", READERS_DISAGREE.remedy
)
REBUILT_DATABASE = Message(
    FindingCode.REBUILT_DATABASE,
    "{file} was rebuilt by drydock bolt salvage: data without a record may still be needed, so nothing is removed",
    "drydock bolt trust {file}",
)

# Files and folders
UNREADABLE = Message(FindingCode.UNREADABLE, "{path}: {problem}")
UNREADABLE_SNAPSHOT = Message(FindingCode.UNREADABLE, "snapshot {snapshot}: {problem}")
DIRECTORIES_WITHOUT_ROWS = Message(
    FindingCode.UNREADABLE, "{snapshotter} has snapshot directories, but no rows: metadata.db may be lost"
)
UNREADABLE_BLOB = Message(FindingCode.UNREADABLE_BLOB, "{path}: {problem}")
UNREADABLE_DOCUMENT = Message(FindingCode.UNREADABLE_DOCUMENT, "{digest}: {problem}")
NOT_MEASURED = Message(FindingCode.NOT_MEASURED, "{snapshotter} {directory}: {reason}{more}")

# Docker
NO_OWNERS = Message(
    FindingCode.NO_OWNERS, "{root}: no Docker data root belongs to it, so leases of dockerd and BuildKit are kept"
)
NO_CONTAINERS = Message(
    FindingCode.NO_CONTAINERS,
    "{folder} holds no container, but containerd has what dockerd creates for containers ({counts}): the folder may "
    "have been emptied, so all of these are kept",
    "restore the contents of the folder; or end what nobody needs with drydock clean --end-lease ID",
)
CLASSIC_STORE = Message(
    FindingCode.CLASSIC_STORE,
    "{store} is Docker's classic image store, with images: {images}, layers: {layers}, directories: {directories}; "
    "drydock does not judge this graph driver, and no state here includes it",
    "run docker system df while Docker runs: it measures them",
)
IDLE_STORE = Message(
    FindingCode.IDLE_STORE,
    "idle {idle} in {data}, with images: {images}, containers: {containers}, bytes: {size}; dockerd does not use it, "
    "and {following}",
    "run drydock clean --drop-store {store}, which shows what exists only there",
)
HIDDEN_VOLUME = Message(
    FindingCode.HIDDEN_VOLUME,
    "docker volume prune would remove the anonymous volume {volume} of container {container}: its files are in the "
    "{hidden}, so dockerd, which uses the {used}, does not see that container",
    "run no docker volume prune until the volume is copied or the container is not needed any more",
)
VOLUME_OPTIONS = Message(
    FindingCode.VOLUME_OPTIONS,
    "volume {volume}: {path} is not what dockerd writes: dockerd does not start",
    "move the file away: dockerd then starts, and the volume has no options (device, NFS, quota)",
)
UNKNOWN_DATA_ROOT = Message(
    FindingCode.OWNERS_UNKNOWN,
    "{root} may have another Docker data root that could not be found, so no lease counts as ownerless",
)
UNREADABLE_OWNERS = Message(FindingCode.OWNERS_UNKNOWN, "{path}: {problem}, so {effect}")
CONTAINER_UNREADABLE = Message(
    FindingCode.CONTAINER_UNREADABLE, "container {container}: {path}: {problem}; the container counts as existing{also}"
)

# Docker's classic layer store
UNREADABLE_REFERENCES = Message(
    FindingCode.UNREADABLE_REFERENCES,
    "{path}: {problem}: dockerd does not start with the classic image store",
    "restore the file, or move it away: dockerd then starts, and the images have no names",
)

UNLISTED_IMAGE = Message(
    FindingCode.UNLISTED_IMAGE,
    "image {image}: {problem}: dockerd does not list the image, and never frees its layers",
    "pull the image again",
)
LOST_IMAGE = Message(
    FindingCode.LOST_IMAGE, "{name} names image {image}, of which imagedb has no config", "pull the image again"
)
_PULL_DOES_NOT: Final = (
    "remove the images that use the layer with docker rmi, then pull them again: a pull alone does not replace it"
)
MISSING_LAYER = Message(FindingCode.MISSING_LAYER, "layer {layer}: {problem}", "pull the image again")
MISSING_DIRECTORY = Message(FindingCode.MISSING_LAYER, "layer directory {layer}: {problem}", _PULL_DOES_NOT)
CORRUPT_LAYER = Message(FindingCode.CORRUPT_LAYER, "layer {layer}: {problem}", "pull the image again")
CORRUPT_DIRECTORY = Message(FindingCode.CORRUPT_LAYER, "layer directory {layer}: {problem}", _PULL_DOES_NOT)
BROKEN_LINK = Message(FindingCode.CORRUPT_LAYER, "layer link {layer}: {problem}", _PULL_DOES_NOT)
LAYER_DIFFERS = Message(FindingCode.LAYER_DIFFERS, "layer {layer}: {problem}", _PULL_DOES_NOT)
LAYER_NOT_COMPARED = Message(FindingCode.LAYER_NOT_COMPARED, "layer {layer} was not compared: {problem}")
UNREADABLE_MOUNT = Message(FindingCode.UNREADABLE_MOUNT, "layer mount {layer}: {problem}; what it may name is kept")
LOST_LAYER = Message(
    FindingCode.LOST_LAYER,
    "container {container} has no record in layerdb/mounts: it does not start, and every directory that nothing names "
    "is kept, because one of them may have its files",
    "restore image/overlay2/layerdb/mounts/{container} if you have a copy; else remove the container with docker rm",
)
LAYERS_WITHOUT_RECORDS = Message(
    FindingCode.LAYERS_WITHOUT_RECORDS,
    "{store} has directories of layers, but layerdb has no layer: it may be lost, so nothing of the store is removed",
    "restore image/overlay2",
)
UNREADABLE_PLUGIN = Message(
    FindingCode.UNREADABLE_PLUGIN,
    "{path}: {problem}: dockerd does not load the plugin",
    "restore the file, or move the plugin's folder away and install the plugin again",
)
NO_BUILD_DATABASE = Message(
    FindingCode.NO_BUILD_DATABASE,
    "{file} is missing, and other databases of BuildKit are there: what it may name is kept",
)

# Settings
SETTING_OUT_OF_REACH = Message(FindingCode.CONFIG_UNREADABLE, "{file}: {problem}")
UNREADABLE_SETTINGS = Message(FindingCode.CONFIG_UNREADABLE, "{file} cannot be read: {problem}")
SETTINGS_NOT_JSON = Message(FindingCode.CONFIG_UNREADABLE, "{file} is not a JSON object")
TOO_MANY_SETTINGS = Message(
    FindingCode.CONFIG_UNREADABLE, "{file}: there are more than {limit} {what}; the rest is not read"
)
IMPORT_NOT_A_PATH = Message(FindingCode.CONFIG_UNREADABLE, "{file}: an import is not a path")
IMPORT_WITH_PATTERN = Message(
    FindingCode.CONFIG_UNREADABLE, "{file}: import {path} has a pattern in the name of a folder"
)
NOT_ABSOLUTE = Message(FindingCode.CONFIG_UNREADABLE, "{file}: {setting} is not an absolute path")
KNOWN_AT_RUN_TIME = Message(
    FindingCode.CONFIG_UNREADABLE, "{file}: {setting} is known only when the engine starts, or is not understood"
)
UNKNOWN_START = Message(FindingCode.CONFIG_UNREADABLE, "{file}: it is not known with which options it starts Docker")
NO_DATA_ROOT = Message(
    FindingCode.CONFIG_UNREADABLE,
    "{folder}: a setting names it as Docker's data root, but dockerd has no files there (is its disk mounted?)",
)
NO_CONTAINERD_ROOT = Message(
    FindingCode.CONFIG_UNREADABLE,
    "{folder}: a setting names it as the root of Docker's containerd, but containerd has no files there (is its disk "
    "mounted?)",
)
LINK_NOT_FOLLOWED = Message(FindingCode.CONFIG_UNREADABLE, "{path} is a link, which drydock does not follow")
CONFIG_UNKNOWN = Message(
    FindingCode.CONFIG_UNKNOWN,
    "{file}: the {setting} of containerd is known only when it starts, or is not understood: its snapshotters may keep "
    "their data elsewhere",
)
TOO_MANY_CONFIGS = Message(
    FindingCode.CONFIG_UNKNOWN,
    "{file}: containerd may have more than {limit} configs: its snapshotters may keep their data elsewhere",
)
CONFIG_FOREIGN = Message(
    FindingCode.CONFIG_FOREIGN,
    "{folder}: the settings of a user put a snapshotter there, but the user does not own the folder",
)

# drydock's own
UNFINISHED_RUN = Message(
    FindingCode.UNFINISHED_RUN,
    "a run of {time} was stopped before its end: {pending} of its {total} actions may not be done; journal {journal}",
    "run drydock clean --apply with the options of that run: it finishes the run",
)
UNREADABLE_JOURNAL = Message(
    FindingCode.UNREADABLE_JOURNAL,
    "journal {file}: {problem}: it is not known whether its run was stopped before its end",
    "run drydock clean --apply with the options of that run, then move the folder of the run elsewhere",
)
UNKNOWN_JOURNAL = Message(
    FindingCode.UNREADABLE_JOURNAL,
    "journal {file}: {problem}: it is not known whether its run was stopped before its end",
    "use the version of drydock that wrote it",
)
UNREADABLE_PLACE = Message(
    FindingCode.UNREADABLE_JOURNAL,
    "{folder}: {problem}: it is not known whether a run whose journal is there was stopped before its end",
)

"""What each kind of finding means and what the user can do about it: docs/findings.md is generated from this."""

from __future__ import annotations

from typing import Final, NamedTuple

from drydock.model.findings import FindingCode


class Guidance(NamedTuple):
    """Explains one kind of finding; all texts are Markdown."""

    meaning: str
    to_do: str = ""
    """What the user can do about it; empty where there is nothing to do."""
    page: str = ""
    """The page of docs/ that says more; empty where there is none."""


_REPAIR: Final = "Run `drydock repair`, then pull the image that it names."
_PULL_AGAIN: Final = "Remove the image and pull it again, unless everything that is built on the snapshot works."
_NEWER_DRYDOCK: Final = "Use a newer version of drydock."
_RESTORE: Final = "Restore the right database."
_CHECK: Final = (
    "`drydock bolt check FILE` shows where it is damaged. "
    "`repair` edits no database while meta.db cannot be read whole."
)

GUIDANCE: Final[dict[str, dict[FindingCode, Guidance]]] = {
    "Blobs and snapshots": {
        FindingCode.MISSING_BLOB: Guidance(
            "A blob is recorded, but its file is missing. Every pull of it fails, since containerd trusts the record. "
            "It is a note where nothing references the blob.",
            _REPAIR,
            page="broken-image.md",
        ),
        FindingCode.MISSING_SNAPSHOT: Guidance(
            "A snapshot is recorded, but its row or its directory is missing. It is a note where nothing references "
            "the snapshot.",
            _REPAIR,
            page="broken-image.md",
        ),
        FindingCode.CORRUPT_BLOB: Guidance(
            "The file of a blob has another size than its record says or, with `--verify digest`, other bytes than "
            "its digest says. It is a note where nothing references the blob.",
            _REPAIR,
            page="broken-image.md",
        ),
        FindingCode.CORRUPT_SNAPSHOT: Guidance(
            "There is a file where the snapshot's directory should be, or a snapshot of erofs lacks its "
            "`layer.erofs`. It is a note where nothing references the snapshot.",
            _REPAIR,
            page="broken-image.md",
        ),
        FindingCode.SNAPSHOT_DIFFERS: Guidance(
            "`drydock verify --unpacked` found that the files of a snapshot differ from the layer that they were "
            "unpacked from. A power cut leaves empty files, for example. Of a snapshot of erofs, `layer.erofs` is "
            "damaged. With overlayfs, `drydock repair --restore-files` unpacks the layer again, and nothing has to be "
            "pulled.",
            "Run `drydock repair --restore-files`. It deletes the records of layers that it cannot unpack again. Then "
            "pull the images that it names.",
            page="verify.md",
        ),
        FindingCode.SNAPSHOT_SIZE: Guidance(
            "A committed snapshot has fewer files and directories than when it was committed, or its record says more "
            "than twice the bytes that its files can take. `scan --measure disk`, `verify --unpacked` and `repair` "
            "look for it. It is a note where nothing references the snapshot, or where the snapshot has more than was "
            "recorded.",
            "Run `drydock repair --unpacked`, then pull the image that it names.",
            page="verify.md",
        ),
        FindingCode.SNAPSHOT_UNPROVED: Guidance(
            "The blob of a layer is damaged, and nothing on this host shows whether the files that were unpacked from "
            "it are intact.",
            "`drydock repair --drop-unproved` removes the blob and the snapshot, or only the blob if a container uses "
            "the files.",
            page="broken-image.md",
        ),
        FindingCode.UNREADABLE_LAYER: Guidance(
            "A layer is not a tar archive, or has an entry that is larger than containerd reads.",
            "Run `drydock verify --data`.",
            page="verify.md",
        ),
        FindingCode.NOT_COMPARED: Guidance(
            "An unpacked layer was not compared. Either nothing here decodes its zstd, or its zstd window is too "
            "large, or no state directory has room for the list of its entries, or the layer does not unpack to what "
            "the image's config says.",
            "Follow the finding: `pip install 'containerd-drydock[zstd]'`, or `--state DIR`.",
            page="verify.md",
        ),
        FindingCode.CORRUPT_ORPHAN: Guidance(
            "A blob has no record, and its bytes do not match its digest. A pull that needs the blob adopts the file "
            "without reading it.",
            "Run `drydock clean --apply` or `drydock repair --apply`.",
        ),
        FindingCode.NO_EROFS_LAYER: Guidance(
            "A committed snapshot of erofs lacks its `layer.erofs`, so nothing can mount it. containerd 2.3.4 cannot "
            "remove such a snapshot either (from its source): its GC of that snapshotter stops there. containerd "
            "2.4.2 removes it (tried).",
            "Run `drydock clean --apply` if nothing references the snapshot, else `drydock repair`.",
        ),
        FindingCode.MISSING_PARENT: Guidance(
            "The record of a snapshot names a parent that has no record.",
            _PULL_AGAIN,
            page="broken-image.md",
        ),
        FindingCode.OTHER_PARENT: Guidance(
            "The row of a snapshot names another parent than its record.",
            _PULL_AGAIN,
            page="broken-image.md",
        ),
    },
    "Names that lead nowhere": {
        FindingCode.MISSING_ROOT: Guidance(
            "The record of a container names a snapshot that has no record. drydock keeps every unreferenced snapshot "
            "of that namespace, since one of them may be meant.",
            "Remove the container.",
        ),
        FindingCode.RECORD_WITHOUT_SNAPSHOT: Guidance(
            "BuildKit has a cache record whose snapshot does not exist, as after an older copy of a database was "
            'restored. It lists the record, and builds that use it fail: "parent snapshot does not exist", or in the '
            'classic store "can not convert active … to layer" (tried with Docker 28.5).',
            "Run `drydock repair`: it drops the record and all that depend on it. In the classic store, run `drydock "
            "clean --drop all-build-cache`. With the engine running, `docker builder prune --all` does, or `buildctl "
            "prune --all` for a buildkitd.",
        ),
        FindingCode.LOST_CONTAINER: Guidance(
            "dockerd has a container, but meta.db has no record of its lease or its snapshot, as after an older copy "
            "of meta.db was restored. When it starts, the engine deletes what the container wrote. Only `verify` and "
            "`repair` look for this.",
            "Before you start any engine, run `drydock repair --adopt` or `drydock export container`.",
            page="broken-image.md",
        ),
        FindingCode.MISSING_TARGET: Guidance(
            "The record of an image names a manifest or an index that has no record. drydock keeps every unreferenced "
            "blob of that namespace, since one of them may be meant.",
            "`drydock repair --adopt` works if the file is on disk and not damaged. Otherwise pull the image again, "
            "or remove it.",
            page="broken-image.md",
        ),
        FindingCode.LEASE_NAMES_ABSENT: Guidance(
            "A lease that has not ended lists something that has no record. It is a note where an engine leaves such "
            "a lease in normal use: it lists a write that ended, an image that was removed, a snapshot that BuildKit "
            "has not unpacked yet (`blobonly`), or one that was not prepared yet. In all other cases a name in the "
            "lease is wrong. drydock then keeps every unreferenced object of that kind in the namespace, since one of "
            "them may be meant.",
            "`drydock explain` shows what the lease holds. If nobody needs it, end it with `drydock clean --end-lease "
            "ID`.",
            page="leases.md",
        ),
        FindingCode.MISNAMED: Guidance(
            "A record names something that has no record, or a lease names an owner that does not exist, and an "
            "unreferenced object has a very similar name. One of the two names has a wrong byte, so drydock keeps the "
            "object. If a record of BuildKit's cache has such a name, drydock keeps every record of that cache, also "
            "one that looks dropped or broken.",
            "Look at both with `drydock explain`.",
        ),
        FindingCode.UNKNOWN_LABEL: Guidance(
            "A label starts like those that containerd's GC follows, or nearly so, but is none of them. It is not "
            "known what the label refers to, so drydock removes nothing.",
            "Use a newer version of drydock; or the name of the label has a wrong byte.",
        ),
        FindingCode.JUNK_NAME: Guidance(
            "A name in `blobs/` is not a digest. containerd's GC of content stops there.",
            "Run `drydock repair`, or look at the file and move it out of `blobs/`.",
        ),
        FindingCode.FOREIGN_NAME: Guidance(
            "A folder in `blobs/` has the name of no digest algorithm that containerd knows. containerd ignores it.",
        ),
        FindingCode.IMAGE_WITHOUT_TARGET: Guidance(
            "The record of an image has no descriptor.",
        ),
        FindingCode.INVALID_DIGEST: Guidance(
            "A record, or a label `containerd.io/gc.ref.content`, has something else in the place of a digest.",
        ),
        FindingCode.UNDECODABLE: Guidance(
            "A field does not have the form that containerd writes.",
        ),
        FindingCode.UNDECODABLE_TIME: Guidance(
            "A time does not have the form that containerd writes. The engine cannot list the objects that have it.",
            "Run `drydock repair`, which removes the field.",
        ),
        FindingCode.UNDECODABLE_EXPIRY: Guidance(
            "The `expireat` of an ingest does not have the form that containerd writes. containerd's GC removes "
            "nothing at all while it exists.",
            "Run `drydock repair`, which removes the field.",
        ),
        FindingCode.TIME_AHEAD: Guidance(
            "A record or a row has a time after the clock, and most others do not: a byte is wrong, or the clock was "
            "once wrong. The age of such an object is not known. `--older-than` does not end such a lease, and the "
            "end of a lease that was created after the clock cannot be judged.",
            "Nothing, if the clock is right.",
            page="leases.md",
        ),
        FindingCode.ENDED_BEFORE_MADE: Guidance(
            "The label of a lease says that it ended before its record says that it was created. drydock keeps the "
            "lease. The engine removes it when it next starts.",
            "End it with `drydock clean --end-lease ID`, or first save what it holds.",
            page="leases.md",
        ),
    },
    "Rows of metadata.db": {
        FindingCode.ROW_WITHOUT_PARENT: Guidance(
            "The parent of a row in metadata.db has no row. That row was lost, so drydock removes nothing of the "
            "snapshotter.",
        ),
        FindingCode.LOST_ROW: Guidance(
            "`parents` in metadata.db has an entry for a snapshot without a row. That row was lost, so drydock "
            "removes nothing of the snapshotter.",
            "`drydock repair` removes the entry, and the snapshots that lost their rows.",
        ),
        FindingCode.PARENTS_DISAGREE: Guidance(
            "`parents` in metadata.db has another number for a row, or for its parent, than the row itself. It is not "
            "known which directory belongs to which snapshot, so drydock removes nothing of the snapshotter.",
        ),
        FindingCode.SHARED_ID: Guidance(
            "Two rows have the same directory number.",
        ),
    },
    "Databases": {
        FindingCode.UNKNOWN_KEY: Guidance(
            "A database has a key that this version of drydock does not know, where references may be kept.",
            _NEWER_DRYDOCK,
        ),
        FindingCode.UNKNOWN_BUCKET: Guidance(
            "A database has a bucket that this version of drydock does not know, where references may be kept.",
            _NEWER_DRYDOCK,
        ),
        FindingCode.NEWER_SCHEMA: Guidance(
            "A newer containerd wrote the database.",
            _NEWER_DRYDOCK,
        ),
        FindingCode.EMPTY_DATABASE: Guidance(
            "meta.db records nothing at all, but there is data: the database was lost or restored.",
            _RESTORE,
            page="salvage.md",
        ),
        FindingCode.OLDER_DATABASE: Guidance(
            "Directories have numbers that metadata.db never assigned, or rows have numbers that meta.db never "
            "assigned: an older copy of the database was restored. (The next number alone can also be left by a "
            "crash.) The engine removes such directories, and so does `clean`. A directory may hold what a container "
            "wrote.",
            "If newer databases exist, restore both first.",
        ),
        FindingCode.MOSTLY_FREE: Guidance(
            "A database of 16 MiB or more has more free pages than pages in use. bbolt never shortens a file.",
            "With the engine stopped, type `drydock clean --compact --apply`, or `drydock bolt compact --apply FILE`.",
            page="bolt.md",
        ),
        FindingCode.NO_DATABASE: Guidance(
            "There is no meta.db; or overlayfs, fuse-overlayfs, native or erofs has recorded snapshots and no "
            "`root_path` of its own, but no metadata.db.",
            "If newer databases exist, restore both first.",
            page="salvage.md",
        ),
        FindingCode.UNREADABLE_DATABASE: Guidance(
            "The file is not a bbolt database, or both of its metas are damaged.",
            _CHECK,
            page="salvage.md",
        ),
        FindingCode.UNREADABLE_PAGE: Guidance(
            "A page of a database could not be read.",
            _CHECK,
            page="salvage.md",
        ),
        FindingCode.BOLT_META: Guidance(
            "One of the two metas of a database is invalid. It may have been the newer one. It is damage where bbolt "
            "may read the invalid meta all the same: bbolt 1.3.6 accepts one whose checksum is 0.",
            "Start and stop the engine: its commits write both.",
            page="bolt.md",
        ),
        FindingCode.BOLT_SHORT_FILE: Guidance(
            "A database is shorter than its pages need.",
            _CHECK,
            page="salvage.md",
        ),
        FindingCode.BOLT_FREELIST: Guidance(
            "The list of free pages is damaged.",
            _CHECK,
            page="salvage.md",
        ),
        FindingCode.BOLT_CORRUPT: Guidance(
            "A page of a database is damaged.",
            _CHECK,
            page="salvage.md",
        ),
        FindingCode.BOLT_TRUNCATED: Guidance(
            "A page lies behind the end of the file.",
            _CHECK,
            page="salvage.md",
        ),
        FindingCode.BOLT_UNREADABLE: Guidance(
            "The disk could not read a page.",
            _CHECK,
            page="salvage.md",
        ),
        FindingCode.BOLT_ORDER: Guidance(
            "Keys of a database are out of order.",
            _CHECK,
            page="salvage.md",
        ),
        FindingCode.BOLT_GAP: Guidance(
            "An entry of a page does not begin where the entry before it ends, so entries may be lost.",
            _CHECK,
            page="salvage.md",
        ),
        FindingCode.BOLT_FREED: Guidance(
            "A page is listed as free, but is in use.",
            _CHECK,
            page="salvage.md",
        ),
        FindingCode.BOLT_UNREACHABLE: Guidance(
            "A page is neither in use nor free.",
            _CHECK,
            page="salvage.md",
        ),
        FindingCode.READERS_DISAGREE: Guidance(
            "`drydock verify` reads each database with two independent readers. Here they read different keys, values "
            "or sequences, so one of the readers is wrong.",
            "Keep a copy of the file and report it to drydock.",
            page="verify.md",
        ),
        FindingCode.REBUILT_DATABASE: Guidance(
            "`drydock bolt salvage` rebuilt the database. Data without a record may still be needed, so nothing that "
            "depends on the database is removed.",
            "Look through the data, then run `drydock bolt trust FILE`.",
            page="salvage.md",
        ),
    },
    "Files and folders": {
        FindingCode.UNREADABLE: Guidance(
            "A folder or a file could not be read.",
            "Check the disk.",
        ),
        FindingCode.UNREADABLE_BLOB: Guidance(
            "A blob could not be read.",
            "Check the disk.",
        ),
        FindingCode.UNREADABLE_DOCUMENT: Guidance(
            "An index, a manifest or a config could not be read or used. `export` and `verify` name it.",
            "Check the disk, or pull the image again.",
        ),
        FindingCode.NOT_MEASURED: Guidance(
            "Part of a directory was not counted: a mount lies in it, or it changed meanwhile.",
        ),
    },
    "Docker": {
        FindingCode.NO_OWNERS: Guidance(
            "No Docker data root belongs to this containerd root. drydock keeps leases that look like Docker's, and "
            "snapshots in their namespaces that have the id of a container.",
            page="leases.md",
        ),
        FindingCode.NO_CONTAINERS: Guidance(
            "Docker's `containers/` holds no container, but containerd has leases, snapshots or rows that dockerd "
            "creates for containers. The folder may have been emptied, so drydock keeps all of these.",
            "Put the contents of the folder back; or end each lease that nobody needs with `drydock clean --end-lease "
            "ID`.",
            page="leases.md",
        ),
        FindingCode.CLASSIC_STORE: Guidance(
            "A Docker data root has images in the classic store, of another graph driver than overlay2 "
            "(`image/<driver>/layerdb`). drydock does not judge them; `scan --measure disk` measures the folder.",
            "Use `docker system df` while Docker runs.",
        ),
        FindingCode.IDLE_STORE: Guidance(
            "Docker has two image stores, and this data root has something in the one that dockerd does not use. No "
            "command of Docker shows it. One setting brings it back, so drydock calls none of it free.",
            "List it with `drydock ls images --store` and its name, export what is needed, and remove the store whole "
            "with `drydock clean --drop-store`.",
            page="what-fills-my-disk.md",
        ),
        FindingCode.HIDDEN_VOLUME: Guidance(
            "A container whose files are in the image store that dockerd does not use has an anonymous volume. dockerd "
            "loads only the containers of the store in use, so the volume counts as unused, and `docker volume prune` "
            "removes it with its data. Back in the other mode, that container does not start any more.",
            "Copy the data of the volume, or go back to the other store, before anybody types `docker volume prune`.",
            page="what-fills-my-disk.md",
        ),
        FindingCode.VOLUME_OPTIONS: Guidance(
            "`opts.json` of a volume has the options that the volume was made with. If it is no JSON, or has values of "
            "other types, dockerd does not start (tried with 28.5).",
            "Move the file away. If the volume was made with options, make it again with them: until then its data is "
            "not mounted.",
            page="what-fills-my-disk.md",
        ),
        FindingCode.OWNERS_UNKNOWN: Guidance(
            "Not all records of who owns leases could be read, so drydock keeps those leases. Where the owners are "
            "Docker's containers, drydock also keeps what may belong to a container in its namespaces: snapshots with "
            "the id of a container, and blobs, since any of them may be its manifest. It is a note where BuildKit has "
            "no database.",
            page="leases.md",
        ),
        FindingCode.CONTAINER_UNREADABLE: Guidance(
            "The `config.v2.json` of a container could not be read. Its name is not known, but the container counts "
            "as existing. Any blob in Docker's namespaces may be its manifest, and any lease with 64 hexadecimal "
            "digits may belong to an image that it mounts, so drydock keeps both. It is a note where the folder's "
            "name is not the id of a container; where the folder holds only folders and an unfinished "
            "`.tmp-config.v2.json…` (a killed `docker create` or `docker rm`); and with `--live` where the file does "
            "not exist yet.",
            "`docker ps -a` does not show the container either. Restore the file, or move the folder away.",
        ),
    },
    "Docker's classic layer store": {
        FindingCode.UNREADABLE_REFERENCES: Guidance(
            "`image/overlay2/repositories.json` is not what dockerd writes: in the classic mode it does not start "
            "(tried with 28.5).",
            "Restore the file. If there is no copy, move it away: dockerd starts, and all images are there without "
            "their names.",
        ),
        FindingCode.UNLISTED_IMAGE: Guidance(
            "dockerd cannot use the config of an image, or cannot load one of its layers. It does not list the image "
            "(tried with 28.5), and does not say so. Nothing removes the layers. drydock keeps every layer that "
            "nothing else uses.",
            "Pull the image again, or, if nobody needs it, remove its config from `image/overlay2/imagedb/content`.",
        ),
        FindingCode.LOST_IMAGE: Guidance(
            "`repositories.json` has a name for an image of which `imagedb` has no config. Which layers it had is not "
            "known, so drydock keeps every layer that nothing else uses.",
            "Pull the image again.",
        ),
        FindingCode.MISSING_LAYER: Guidance(
            "An image, a container or a build uses a layer whose record in `layerdb` or whose directory in `overlay2` "
            "is missing. It is a note where nothing uses the layer.",
            "Without its record, a pull brings the layer back. Without its directory, a pull says that the layer "
            "already exists: remove the images that use it first.",
        ),
        FindingCode.CORRUPT_LAYER: Guidance(
            "The record of a layer cannot be read or contradicts itself, or a directory in `overlay2` lacks what the "
            "driver needs to mount it: `diff`, `link`, the link in `l`, or a directory that its `lower` names. It is a "
            "note where nothing uses the layer.",
            "Remove the images and containers that use the layer, then pull the images again.",
        ),
        FindingCode.LAYER_DIFFERS: Guidance(
            "`drydock verify --unpacked` found that files of a layer in `overlay2` are missing or have another size "
            "than its `tar-split.json.gz` says; `--unpacked=content` found that the files do not give the checksum of "
            "the layer (its diff id). A power cut leaves empty files, for example.",
            "Remove the images and containers that use the layer, then pull the images again.",
            page="verify.md",
        ),
        FindingCode.LAYER_NOT_COMPARED: Guidance(
            "The `tar-split.json.gz` of a layer cannot be read, so that its checksum cannot be computed.",
            "`docker save` of an image with the layer fails too. Remove the image and pull it again.",
            page="verify.md",
        ),
        FindingCode.UNREADABLE_MOUNT: Guidance(
            "A record in `layerdb/mounts` cannot be read whole. The container that it belongs to does not start. It is "
            "a note where the record belongs to no container.",
            "Restore the record, or remove the container with `docker rm`.",
        ),
        FindingCode.LOST_LAYER: Guidance(
            "`containers/` has a container of the driver overlay2, and `layerdb/mounts` has no record of its writable "
            "layer. It may be a container whose removal was interrupted.",
            "Restore the record, or remove the container with `docker rm`.",
        ),
        FindingCode.LAYERS_WITHOUT_RECORDS: Guidance(
            "`overlay2` has directories of layers, and `image/overlay2/layerdb` has no layer at all. `image/` may be "
            "lost, or the wrong one, so drydock removes nothing.",
            "Restore `image/overlay2`.",
        ),
        FindingCode.UNREADABLE_PLUGIN: Guidance(
            "The `config.json` of a plugin in `plugins/` cannot be read. dockerd logs an error and goes on without the "
            "plugin; volumes of it cannot be mounted.",
            "Restore the file, or move the plugin's folder away and install the plugin again.",
        ),
        FindingCode.NO_BUILD_DATABASE: Guidance(
            "One of BuildKit's databases for the classic mode is missing beside the others. It may name any directory "
            "or layer that BuildKit made, so drydock keeps all of these.",
            "Restore the database, or remove BuildKit's cache with `docker builder prune --all` while Docker runs.",
        ),
    },
    "Settings": {
        FindingCode.CONFIG_UNREADABLE: Guidance(
            "A setting that may name a containerd root or a Docker data root could not be read.",
        ),
        FindingCode.CONFIG_UNKNOWN: Guidance(
            "containerd is started with a config whose path is only known at its start. Its snapshotters may keep "
            "their data elsewhere.",
        ),
        FindingCode.CONFIG_FOREIGN: Guidance(
            "The setting of a user names a folder that the user does not own. drydock does not follow it.",
        ),
    },
    "drydock's runs": {
        FindingCode.UNFINISHED_RUN: Guidance(
            "A run of drydock was stopped before its end.",
            "Run `drydock clean --apply` with the options that the run had.",
            page="clean.md",
        ),
        FindingCode.UNREADABLE_JOURNAL: Guidance(
            "A journal of drydock is damaged, cannot be read, or is of another version of drydock; or a folder of "
            "journals cannot be read. The run may have been stopped before its end. `undo` refuses such a journal. "
            "It is a note where the folder belongs to another user.",
            "`drydock clean --apply` needs no journal to finish a run: give it the options that the run had. What the "
            "run moved stays in the quarantine. Then move the folder of the run out of the state directory. A journal "
            "of another version of drydock is for that version.",
            page="clean.md",
        ),
    },
}
"""Of every code, by subject."""

"""States of real captures against what the engines themselves said of them."""

import pytest
from tests.engines.listing import names
from tests.support.build_cache import left_by_steps
from tests.support.captures import captures
from tests.support.documents import recorded, scan

pytestmark = pytest.mark.root

READABLE = [pytest.param(each, id=each.name) for each in captures() if "dropped_by_gc" in each.facts]
KINDS = ("content", "ingests", "snapshots")


def _only(listing, *kinds):
    found = {
        namespace: {kind: lists[kind] for kind in kinds if lists.get(kind)} for namespace, lists in listing.items()
    }
    return {namespace: lists for namespace, lists in found.items() if lists}


@pytest.mark.parametrize("capture", READABLE)
def test_recorded_is_what_ctr_listed(capture, unpacked):
    """Every blob, ingest and snapshot that ctr listed, in its namespace, and no other."""
    root = scan(capture, unpacked(capture))
    assert _only(recorded(root), *KINDS) == _only(names(capture.namespaces), *KINDS)
    assert root["namespaces"] == sorted(capture.namespaces)
    leases = {
        namespace: sorted(row["id"] for row in lists["leases"]) for namespace, lists in capture.namespaces.items()
    }
    found = {
        namespace: sorted(each["id"] for each in root["leases"] if each["namespace"] == namespace)
        for namespace in leases
    }
    assert found == leases


def _with_steps(gone, capture, host):
    """What the engine dropped, and the snapshots of the records that BuildKit in dockerd drops by itself."""
    databases = (host / capture.docker).glob("buildkit/containerd-overlayfs/*_v2.db") if capture.docker else ()
    lost = {f"overlayfs/{name}" for each in databases for name in left_by_steps(each)}
    lost &= set(names(capture.namespaces).get("moby", {}).get("snapshots", ()))
    assert bool(lost) == (capture.name == "docker-28.5-killed")
    moby = gone.get("moby", {})
    return {**gone, "moby": {**moby, "snapshots": sorted({*moby.get("snapshots", ()), *lost})}} if lost else gone


@pytest.mark.parametrize("capture", READABLE)
def test_unreachable_is_what_the_engine_drops(capture, unpacked):
    """What the engine's own collection took off its lists is unreachable here (or unreachable and damaged), no more.

    That is, but for what BuildKit drops by itself: the collections were made without dockerd.
    """
    root = scan(capture, unpacked(capture))
    for each in root["objects"]:
        if each["reach"] == "unreachable":
            each["state"] = "unreachable"
    gone = _with_steps(capture.facts["dropped_by_gc"], capture, unpacked(capture))
    assert _only(recorded(root, "unreachable"), *KINDS) == _only(gone, *KINDS)
    expired = {}
    for lease in root["leases"]:
        if lease["class"] == "expired":
            expired.setdefault(lease["namespace"], {}).setdefault("leases", []).append(lease["id"])
    assert expired == _only(capture.facts["dropped_by_gc"], "leases")


@pytest.mark.parametrize("capture", READABLE)
def test_leased_goes_when_the_leases_do(capture, unpacked):
    """What the engine dropped once the same leases were deleted is leased here by nothing else, or unreachable."""
    root = scan(capture, unpacked(capture))
    ended = {(namespace, lease) for namespace, leases in capture.facts["leases_ended"].items() for lease in leases}
    for each in root["objects"]:
        holders = {(holder["namespace"], holder["id"]) for holder in each["held_by"]}
        leased = each["reach"] == "leased" and holders <= ended
        each["state"] = "goes" if leased or each["reach"] == "unreachable" else "stays"
    gone = _with_steps(capture.facts["dropped_after_leases_ended"], capture, unpacked(capture))
    found = _only(recorded(root, "goes"), *KINDS)
    assert found == _only(_without_shared(gone, capture), *KINDS)


def _without_shared(gone, capture):
    """What the engine dropped, but for blobs that another namespace has: as objects these stay."""
    left = names(capture.namespaces)
    for namespace, kinds in gone.items():
        for kind, dropped in kinds.items():
            left[namespace][kind] = sorted(set(left[namespace][kind]) - set(dropped))
    stays = {digest for kinds in left.values() for digest in kinds["content"]}
    return {
        namespace: {**kinds, "content": sorted(set(kinds.get("content", ())) - stays)}
        for namespace, kinds in gone.items()
    }


@pytest.mark.parametrize("capture", READABLE)
def test_every_path_on_disk_is_an_object(capture, unpacked):
    """Each blob, ingest and snapshot entry that lies on disk appears once, under its path."""
    root = scan(capture, unpacked(capture))
    paths = [each["path"] for each in root["objects"] if each["path"] is not None]
    assert len(paths) == len(set(paths))
    by_disk = {_shown(path) for path in capture.facts["disk_before"]}
    folders = {path.rpartition("/")[0] for path in by_disk if "/blobs/md5/" in path}
    assert set(paths) == {path for path in by_disk if "/blobs/md5/" not in path} | folders


def _shown(path: str) -> str:
    from drydock.model.text import shown

    return shown(path.encode("utf-8", "surrogateescape"))


def test_databases_older_than_the_data_are_told(unpacked):
    """After a restore: directories whose numbers were never given out may hold what containers wrote. Nowhere else."""
    told = {}
    for each in READABLE:
        capture = each.values[0]
        findings = scan(capture, unpacked(capture))["findings"]
        told[capture.name] = [finding["severity"] for finding in findings if finding["code"] == "older-database"]
    assert told.pop("docker-28.5-restored-backup") == ["note"]
    # Planted: a folder numbered 9999.
    assert set(told.pop("containerd-1.6-planted-orphans")) == {"note"}
    assert set(map(tuple, told.values())) == {()}

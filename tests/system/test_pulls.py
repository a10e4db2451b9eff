"""The interrupted pulls of real captures, against what the engine itself listed of them."""

import hashlib
import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from tests.support import gobbolt
from tests.support.captures import capture
from tests.support.documents import run
from tests.support.program import DRYDOCK
from tests.support.records import values
from tests.support.trees import tree

pytestmark = pytest.mark.root

INTERRUPTED = ("docker-26.1-interrupted-pull", "docker-28.5-interrupted-pull", "docker-28.5-killed")
RESTORED = "docker-28.5-restored-backup"
LABEL = "containerd.io/distribution.source.127.0.0.1"
CHILD = "containerd.io/gc.ref.content."


class Listed:
    """What ctr listed of the pull of tools, worked out here from its lists alone."""

    def __init__(self, of):
        self.facts = of.facts
        moby = of.namespaces["moby"]
        self.content = {row["digest"]: row for row in moby["content"]}
        self.snapshots = {row["key"]: row for row in moby["snapshots"]["overlayfs"]}
        self.blobs = {key for key, row in self.content.items() if row["labels"].get(LABEL) == "tools"}
        [self.manifest] = [key for key in self.blobs if f"{CHILD}l.0" in self.content[key]["labels"]]
        labels = self.content[self.manifest]["labels"]
        self.config = labels[f"{CHILD}config"]
        self.layers = [labels[f"{CHILD}l.{number}"] for number in range(5)]
        # The pull's lease ends by itself, and BuildKit has not marked it.
        [self.lease] = [
            row
            for row in moby["leases"]
            if "containerd.io/gc.expire" in row["labels"] and "buildkit/lease.temporary" not in row["labels"]
        ]

    def chains(self):
        """Key by key what the layers unpack to; they are plain tar, so that each layer is its own diff id."""
        chain = ""
        for layer in self.layers:
            chain = "sha256:" + hashlib.sha256(f"{chain} {layer}".encode()).hexdigest() if chain else layer
            yield chain

    def layer(self, digest, chain):
        """One layer as the document should have it."""
        found = {"digest": digest, "unpacked": chain in self.snapshots}
        for entry in self.facts["ingest_files"].values():
            if entry["ref"].endswith(f"/layer-{digest}"):
                return {**found, "size": entry["total"], "got": entry["bytes"], "state": "partial"}
        row = self.content[digest]
        state = "whole" if digest in self.blobs else "existing"
        return {**found, "size": row["size"], "got": row["size"], "state": state}


@pytest.mark.parametrize("name", INTERRUPTED)
def test_the_pull_is_what_ctr_listed(name, unpacked):
    """Lease, origin, times, and each layer: size, bytes that came, state, unpacked. BuildKit's are not listed."""
    of = capture(name)
    listed = Listed(of)
    [pull] = _pulls(of, unpacked(of), status=0)
    assert [(lease["id"], lease["created"], lease["expires"]) for lease in pull["leases"]] == [
        (listed.lease["id"], listed.lease["created"], listed.lease["labels"]["containerd.io/gc.expire"])
    ]
    assert pull["sources"] == ["127.0.0.1/tools"]
    assert pull["targets"] == [listed.manifest]
    assert pull["platforms"] == ["linux/amd64"]
    assert pull["layers"] == [listed.layer(*pair) for pair in zip(listed.layers, listed.chains(), strict=True)]
    assert [layer["state"] for layer in pull["layers"]] == ["existing", "whole", "whole", "partial", "whole"]
    extracts = sum(key.startswith("extract-") for key in listed.snapshots)
    assert pull["others"] == {"config": 1, "manifest": 1, **({"extracting": extracts} if extracts else {})}
    assert extracts == (name == "docker-28.5-killed")
    assert pull["findings"] == []


@pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")
@pytest.mark.parametrize("name", INTERRUPTED)
def test_bytes_are_those_on_disk(name, unpacked):
    """What ending the pull frees is what its files take, by stat, and what the engine recorded for its snapshots."""
    of = capture(name)
    listed = Listed(of)
    host = unpacked(of)
    root = host / of.root
    blobs = root / "io.containerd.content.v1.content/blobs/sha256"
    expected = sum((blobs / digest.partition(":")[2]).stat().st_blocks * 512 for digest in listed.blobs)
    expected += sum(_taken(folder) for folder in (root / "io.containerd.content.v1.content/ingest").iterdir())
    dropped = {key for key in of.facts["dropped_after_leases_ended"]["moby"]["snapshots"] if "-view" not in key}
    overlay = root / "io.containerd.snapshotter.v1.overlayfs"
    rows = values(overlay / "metadata.db")
    for key in (each.partition("/")[2] for each in dropped):
        if listed.snapshots[key]["bytes"] is not None:
            expected += listed.snapshots[key]["bytes"]
            continue
        expected += _taken(overlay / "snapshots" / _number(rows, key))
    [pull] = _pulls(of, host)
    assert pull["bytes"] == expected
    assert pull["bytes"] == pull["leases"][0]["only_bytes"]
    assert pull["held_bytes"] > pull["bytes"]


def test_damage_of_a_restored_backup_is_told(unpacked):
    """Blobs whose files ctr could not read are damaged, keeping the pull is not proposed, and the status is 2."""
    of = capture(RESTORED)
    listed = Listed(of)
    [pull] = _pulls(of, unpacked(of), status=2)
    lost = {digest for digest, row in listed.content.items() if not row["intact"]}
    states = {layer["digest"]: layer["state"] for layer in pull["layers"]}
    assert list(states) == listed.layers
    assert {digest for digest, state in states.items() if state == "damaged"} == lost & set(listed.layers)
    assert states[listed.layers[0]] == "existing"
    # Its folder in ingest/ is gone: there is no entry in the list of them.
    assert not of.facts["ingest_files"]
    assert states[listed.layers[3]] == "absent"
    assert pull["others"]["damaged"] == len(lost & {listed.manifest, listed.config}) == 2
    assert "to keep it" not in run("pulls", "--now", of.taken_at, unpacked(of))


@pytest.mark.skipif(bool(gobbolt.why_not()), reason=f"no Go bbolt: {gobbolt.why_not()}")
@pytest.mark.parametrize("name", [*INTERRUPTED, RESTORED])
def test_unpacked_is_what_has_a_folder(name, unpacked):
    """By Go's reading of the rows: a layer is unpacked where its chain's row has a folder; records do not count."""
    of = capture(name)
    listed = Listed(of)
    host = unpacked(of)
    overlay = host / of.root / "io.containerd.snapshotter.v1.overlayfs"
    rows = values(overlay / "metadata.db")
    expected = [
        chain in listed.snapshots and (overlay / "snapshots" / _number(rows, chain)).is_dir()
        for chain in listed.chains()
    ]
    [pull] = _pulls(of, host)
    assert [layer["unpacked"] for layer in pull["layers"]] == expected
    assert sum(expected) == (1 if name == RESTORED else 3)


def test_after_its_end_the_same_bytes_are_free(unpacked):
    """A day later the lease has expired: the pull is listed with the bytes it had, and with another command."""
    of = capture(INTERRUPTED[1])
    [before] = _pulls(of, unpacked(of))
    [after] = _pulls(of, unpacked(of), now="2026-11-26T00:00:00Z")
    assert after["leases"][0]["class"] == "expired"
    assert (after["bytes"], after["layers"]) == (before["bytes"], before["layers"])
    text = run("pulls", "--now", "2026-11-26T00:00:00Z", unpacked(of))
    assert "drydock clean --apply" in text
    assert "--end-lease" not in text


@pytest.mark.parametrize("name", ["containerd-1.6-namespaces", "containerd-1.6-planted-orphans"])
def test_leases_of_other_kinds_are_not_listed(name, unpacked):
    """Hosts where nothing was pulled by halves: what is listed is held by a lease that ctr listed, and downloads."""
    of = capture(name)
    for pull in _pulls(of, unpacked(of)):
        lists = of.namespaces[pull["namespace"]]
        assert {lease["id"] for lease in pull["leases"]} <= {row["id"] for row in lists["leases"]}
        refs = {row["ref"] for row in lists["ingests"]}
        sourced = {
            row["digest"] for row in lists["content"] if any("distribution.source" in key for key in row["labels"])
        }
        named = {layer["digest"] for layer in pull["layers"]} | set(pull["targets"])
        assert named & sourced or any(ref.endswith(digest) for ref in refs for digest in named)


def test_unreadable_records_are_said(unpacked):
    """Half a meta.db: the list says that it may lack pulls, and the status has 8."""
    of = capture("containerd-1.6-truncated-metadb")
    words = ["pulls", "--now", of.taken_at, unpacked(of)]
    done = subprocess.run([*DRYDOCK, *words], capture_output=True, text=True, check=False)
    assert done.returncode & 8
    assert "there may be pulls that are not listed" in done.stderr


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_fits(width, unpacked, monkeypatch):
    """At 80 and 200 columns only commands, which cannot be cut, are longer; digests are whole where there is room."""
    of = capture(INTERRUPTED[2])
    monkeypatch.setenv("COLUMNS", str(width))
    lines = run("pulls", "--now", of.taken_at, unpacked(of)).splitlines()
    assert any("drydock clean" in line for line in lines)
    for line in lines[1:]:
        assert len(line) <= width or "drydock clean" in line
    whole = [layer for layer in Listed(of).layers if any(layer in line for line in lines)]
    assert len(whole) == (5 if width == 200 else 0)


def test_a_list_changes_nothing(unpacked_anew):
    """Neither a byte nor a time of any file."""
    of = capture(INTERRUPTED[2])
    host = unpacked_anew(of)
    before = tree(host)
    _pulls(of, host)
    assert tree(host) == before


def test_commands_name_the_lease_and_the_place(unpacked):
    """Each command is one that a shell takes apart into drydock's words, with this lease and this place."""
    of = capture(INTERRUPTED[1])
    host = unpacked(of)
    lines = run("pulls", "--now", of.taken_at, host).splitlines()
    commands = [shlex.split(line) for line in lines if line.strip().startswith("drydock ")]
    lease = Listed(of).lease["id"]
    rest = ["--apply", str(host)]
    assert commands == [
        ["drydock", "clean", "--end-lease", lease, *rest],
        ["drydock", "clean", "--end-leases", "temporary", "--keep", lease, *rest],
        ["drydock", "clean", "--end-leases", "temporary", *rest],
        ["drydock", "clean", "--end-leases", "temporary", "--older-than", "1h", *rest],
    ]


@pytest.mark.parametrize("which", range(4))
def test_the_printed_commands_do_what_they_say(which, unpacked_anew, tmp_path):
    """Typed as printed (with an answer), each is understood: the pull is gone, or kept whole, and its bytes with it."""
    of = capture(INTERRUPTED[1])
    host = unpacked_anew(of)
    listed = Listed(of)
    [before] = _pulls(of, host)
    lines = run("pulls", "--now", of.taken_at, host).splitlines()
    command = [shlex.split(line)[1:] for line in lines if line.strip().startswith("drydock ")][which]
    run(*command, "--yes", "--now", of.taken_at, "--state", tmp_path / "state", status=0)
    ends = which in (0, 2)
    assert _pulls(of, host) == ([] if ends else [before])
    blobs = host / of.root / "io.containerd.content.v1.content/blobs/sha256"
    there = {digest for digest in listed.content if (blobs / digest.partition(":")[2]).exists()}
    gone = of.facts["dropped_after_leases_ended"]["moby"]["content"]
    assert there == listed.content.keys() - (set(gone) if ends else set())
    if ends:
        assert listed.blobs <= set(gone)


def _pulls(of, host, now=None, status=None):
    text = run("pulls", "--now", now or of.taken_at, "--format", "json", host, status=status)
    document = json.loads(text)
    assert document["schema"] == "drydock.pulls/1"
    [root] = document["roots"]
    assert Path(root["path"]) == host / of.root
    return root["pulls"]


def _number(rows, key):
    """The folder of a snapshot's row; numbers here are below 128, one byte as a varint."""
    [number] = [
        value[0]
        for path, value in rows.items()
        if path[1:2] == (b"snapshots",) and path[3:] == (b"id",) and path[2].endswith(b"/" + key.encode())
    ]
    assert number < 128
    return str(number)


def _taken(folder):
    """Bytes that a folder takes, itself included; no file in the captures is linked twice."""
    total = os.lstat(folder).st_blocks * 512
    for below, folders, files in os.walk(folder):
        total += sum(os.lstat(os.path.join(below, name)).st_blocks * 512 for name in folders + files)
    return total

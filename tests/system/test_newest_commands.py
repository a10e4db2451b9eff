"""Every command on hosts of containerd 2.4: it knows them well enough to have nothing but 0 or 1 to say."""

import json

import pytest
from click.testing import CliRunner
from tests.support.newest import NOT_READ

from drydock.cli import main

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.slow]

KINDS = ("images", "containers", "snapshots", "leases", "content", "ingests")


@pytest.fixture
def host(newest, tmp_path):
    """A copy to be used up."""
    with newest.copy(tmp_path / "host") as made:
        yield made


def _ends(*words, expected=(0, 1)):
    """Run a command, see that it ends well, and give what it printed."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code in expected, f"{words}: {result.exit_code}: {result.output}{result.exception!r}"
    return result.stdout


def test_what_looks(newest, host, tmp_path):
    """Lists, explanations of every object, checks of every byte, and of every page of each database."""
    now = ("--now", newest.clock)
    said = _ends("scan", *now, "--format", "json", "--verify", "digest", "--measure", "disk", host)
    (root,) = json.loads(said)["roots"]
    assert {each["kind"] for each in root["objects"]} == {"blob", "ingest", "snapshot"}
    for kind in KINDS:
        _ends("ls", kind, *now, host)
    for each in (*root["objects"], *root["leases"]):
        _ends("explain", each["id"], *now, host)
    _ends("pulls", *now, host)
    for options in (("--data",), ("--unpacked",), ("--unpacked=content",)):
        _ends("verify", *options, *now, "--state", tmp_path / "state", host, expected=(0,))
    _ends("repair", "--adopt", "--data", "--unpacked", *now, "--state", tmp_path / "state", host, expected=(0,))
    databases = list(host.rglob("*.db"))
    assert {database.name for database in databases} == {"meta.db", "metadata.db"}
    for database in databases:
        for command in ("info", "pages", "check", "buckets", "keys", "dump", "salvage"):
            _ends("bolt", command, database, expected=(0,))


def test_what_takes_out(newest, host, tmp_path):
    """Every image, and every container's files and changes; of a snapshotter that is not read 8, and how else."""
    now = ("--now", newest.clock)
    listed = {kind: json.loads(_ends("ls", kind, "--format", "json", *now, host))["roots"][0][kind] for kind in KINDS}
    for number, image in enumerate(listed["images"]):
        _ends("export", "image", image["name"], host, "-n", image["namespace"], "-o", tmp_path / f"{number}.tar",
              expected=(0,))  # fmt: skip
    assert len(listed["containers"]) == 6
    for container in listed["containers"]:
        expected = (8,) if newest.snapshotter in NOT_READ else (0,)
        name = container["id"]
        _ends("export", "container", name, host, "-o", tmp_path / f"{name}.tar", expected=expected)
        _ends("diff", "container", name, host, expected=expected)


def test_what_removes(newest, host, tmp_path):
    """A plan carried out; a run with quarantine taken back; and the same again, for good. Then nothing is left."""
    now, state = ("--now", newest.clock), ("--state", tmp_path / "state")
    temporary = ("--end-leases", "temporary")
    for kind in ("scan", "plan", "journal"):
        _ends("schema", kind, expected=(0,))
    _ends("plan", *now, "-o", tmp_path / "plan", host)
    _ends("apply", *state, tmp_path / "plan", expected=(0,))
    apart = host / "apart"
    apart.mkdir(mode=0o700)
    before = json.loads(_ends("scan", *now, "--format", "json", host))["roots"][0]["objects"]
    _ends("clean", *temporary, "--apply", "--yes", *now, "--state", tmp_path / "second", "--quarantine", apart, host)
    (journal,) = (tmp_path / "second").glob("*/journal.jsonl")
    _ends("undo", journal, expected=(0,))
    assert json.loads(_ends("scan", *now, "--format", "json", host))["roots"][0]["objects"] == before
    _ends("clean", *temporary, "--apply", "--yes", *now, *state, host, expected=(0,))
    _ends("plan", *temporary, *now, host, expected=(0,))
    report = tmp_path / "report.json"
    _ends("scan", *now, "--format", "json", "--output", report, host, expected=(0,))
    _ends("fleet", report, expected=(0,))

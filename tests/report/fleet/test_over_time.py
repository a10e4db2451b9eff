"""A fleet over time: changes made by hand in documents of several days come out, by host, image and category."""

import copy
import json

import pytest
from tests.support.browser import opened
from tests.support.documents import rows_of, run
from tests.support.fleets import MIB, host_document

from drydock.report.parquet import write_parquet


def container(name, size):
    """A container that holds so much."""
    return {"kind": "container", "namespace": "moby", "id": name, "names": [name], "bytes": size, "only_bytes": 0}


@pytest.fixture
def reports(tmp_path):
    """Three days of one host, two of a second one, and one of a third."""
    folder = tmp_path / "reports"
    folder.mkdir()
    for number, days in ((1, 3), (2, 2), (3, 1)):
        document = host_document(number)
        (root,) = document["roots"]
        for day in range(days):
            document["now"] = f"2026-02-0{day + 1}T00:00:00Z"
            if day:
                document["usage"][1]["bytes"] += 10 * MIB
                document["file_systems"][0]["used"] += 50 * MIB
            if day == days - 1 > 0:
                root["leases"].append(
                    {
                        **copy.deepcopy(root["leases"][0]),
                        "id": "new-pull",
                        "pull": "example.org/big:1",
                        "only_bytes": 30 * MIB,
                    }
                )
                root["objects"].pop()
                root["holders"].append(container(f"job-{number}", 4 * MIB))
                root["holders"].pop(0)
            # In no order: neither names nor times of files say which scan is the first.
            (folder / f"{(day * 7 + number) % 5}-{number}-{day}.json").write_text(json.dumps(document))
    return folder


def asked(folder, *options, status=0):
    """The answers, by title."""
    document = json.loads(run("fleet", "--over-time", "--format", "json", *options, folder, status=status))
    return document, {
        each["title"]: [dict(zip(each["columns"], row, strict=True)) for row in each["rows"]]
        for each in document["answers"]
    }


def test_each_change_is_told(reports):
    """From the first scan of a host to its last, whatever lies between; a host with one scan has no line."""
    document, answers = asked(reports, "--top", "1000")
    assert (document["hosts"], document["reports"], document["refused"]) == (3, 6, 0)
    hosts = {row["host"]: row for row in answers["Hosts, from their first scan to their last"]}
    assert set(hosts) == {"host-0001", "host-0002"}
    first = hosts["host-0001"]
    assert (first["scans"], first["first"], first["last"]) == (3, "2026-02-01T00:00:00Z", "2026-02-03T00:00:00Z")
    leased = host_document(1)["roots"][0]["objects"][-1]["bytes"]
    assert first["change_bytes"] == first["new_bytes"] - first["old_bytes"] == -leased
    assert answers["File systems: bytes in use"] == [
        {
            "host": f"host-000{number}",
            "path": "/var/lib/docker",
            "old_bytes": (100 + number) * MIB,
            "new_bytes": (100 + number + more) * MIB,
            "change_bytes": more * MIB,
        }
        for number, more in ((1, 100), (2, 50))
    ]
    categories = {row["category"]: row for row in answers["Categories"]}
    assert "named-volumes" not in categories  # one of them is a mount, and was not measured
    assert (categories["logs"]["hosts"], categories["logs"]["change_bytes"]) == (2, 0)
    assert answers["Interrupted pulls that came or went"] == [
        {"image": "example.org/big:1", "came": 2, "went": 0, "grew": 0, "shrank": 0, "change_bytes": 60 * MIB}
    ]
    wanted = {name for number in (1, 2) for name in host_document(number)["roots"][0]["holders"][0]["names"]}
    assert {row["image"] for row in answers["Images that changed"]} == wanted
    assert {row["went"] for row in answers["Images that changed"]} == {1 if len(wanted) == 4 else 2}
    containers = answers["Containers that changed"]
    assert [(row["host"], row["container"], row["change"]) for row in containers] == [
        ("host-0001", "job-1", "came"),
        ("host-0002", "job-2", "came"),
    ]
    volumes = answers["Volumes, logs, caches and other data that changed"]
    assert [(row["host"], row["name"], row["change"], row["change_bytes"]) for row in volumes] == [
        ("host-0001", "named-volumes pgdata", "grew", 20 * MIB),
        ("host-0002", "named-volumes pgdata", "grew", 10 * MIB),
    ]


def test_the_same_as_compare(reports, tmp_path):
    """What came and went on a host is what compare counts between its first scan and its last."""
    old, new = (next(reports.glob(f"*-1-{day}.json")) for day in (0, 2))
    compared = json.loads(run("compare", "--format", "json", old, new, status=0))
    _, answers = asked(reports)
    row = next(row for row in answers["Hosts, from their first scan to their last"] if row["host"] == "host-0001")
    for change in ("came", "went", "grew", "shrank"):
        assert row[change] == sum(each["change"] == change for each in compared["differences"])


def test_roots_apart_are_not_compared(tmp_path):
    """Scans of one host that are about different roots are no change: two series of one scan each."""
    for number, path in enumerate(("/var/lib/containerd", "/var/lib/docker/containerd/daemon")):
        document = host_document(1)
        document["now"] = f"2026-02-0{number + 1}T00:00:00Z"
        document["roots"][0]["path"] = path
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    document, answers = asked(tmp_path)
    assert not any(answers.values())
    assert document["answers"][0]["note"] == "no host has two scans of different times"


def test_what_is_not_counted_is_named(reports):
    """Parquet has no pulls, and a scan without a time has no place: each is named, the status is 8."""
    with (reports / "one.parquet").open("wb") as file:
        write_parquet(rows_of(host_document(5)), file)
    timeless = host_document(6)
    del timeless["now"]
    (reports / "timeless.json").write_text(json.dumps(timeless))
    document, _ = asked(reports, status=8)
    assert (document["reports"], document["refused"]) == (6, 2)


def test_table_and_page(chromium, reports, tmp_path):
    """Both have what the document has, changes with their sign."""
    text = run("fleet", "--over-time", reports, status=0)
    assert "+100.0 MiB" in text
    assert "example.org/big:1" in text
    file = tmp_path / "fleet.html"
    run("fleet", "--over-time", "--format", "html", "-o", file, reports, status=0)
    document, _ = asked(reports)
    with opened(chromium, file) as page:
        assert page.locator("h2").all_inner_texts() == [each["title"] for each in document["answers"]]
        panel = page.locator("section.panel").nth(1)
        assert panel.locator("tbody tr").first.locator("td").last.inner_text() == "+100.0 MiB"
        assert page.complaints == []


def test_a_question_of_ones_own_is_something_else(reports):
    """--sql asks the newest scans, and not what changed."""
    assert run("fleet", "--over-time", "--sql", "SELECT 1", reports, status=16) == ""

"""Metrics: Prometheus' own checker takes them, names stay inside their labels, and the sums are the document's."""

import json
import re
import shutil
import subprocess

import pytest
from tests.support.captures import captures
from tests.support.documents import run, scan
from tests.support.scans import HOSTILE, scan_of_everything
from tests.support.values import NOW

from drydock.model.disk_usage import UsageCategory
from drydock.model.text import shown
from drydock.report.prometheus import metric_lines

CAPTURES = pytest.mark.parametrize("capture", captures(), ids=lambda each: each.name)
_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? ([0-9.e+-]+)')
_LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


def samples(text):
    """Name and labels of every sample, and its value: read by the grammar alone."""
    found = {}
    for line in text.splitlines():
        if line.startswith("# "):
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        labels = [
            (name, re.sub(r"\\(.)", lambda each: {"n": "\n"}.get(each[1], each[1]), value))
            for name, value in _LABEL.findall(match[2] or "")
        ]
        key = (match[1], *labels)
        assert key not in found
        found[key] = float(match[3])
    return found


def promtool(text):
    """What ``promtool check metrics`` says of it; nothing is fine."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool (Debian's prometheus) is not installed")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.root
@CAPTURES
def test_usage_is_the_document(capture, unpacked):
    """By category, with 0 for one without entries; without measuring, those that have bytes; and the file system."""
    host = unpacked(capture)
    document = json.loads(run("scan", "--measure", "disk", "--format", "json", host))
    found = samples(run("scan", "--measure", "disk", "--format", "prometheus", host))
    sizes = {category.value: 0 for category in UsageCategory}
    for entry in document["usage"]:
        sizes[entry["category"]] += entry["bytes"]
    path = ("path", str(host / (capture.docker or capture.root)))
    usage = {key: value for key, value in found.items() if key[0] == "drydock_usage_bytes"}
    assert usage == {("drydock_usage_bytes", path, ("category", category)): size for category, size in sizes.items()}
    recorded = samples(run("scan", "--format", "prometheus", host))
    known = {dict(key[1:])["category"] for key in recorded if key[0] == "drydock_usage_bytes"}
    entries = json.loads(run("scan", "--format", "json", host))["usage"]
    assert known == {each["category"] for each in entries if each["bytes"] is not None}
    assert {"content", "ingests", "databases"} <= known < {category.value for category in UsageCategory}
    (disk,) = document["file_systems"]
    assert found["drydock_file_system_size_bytes", path] == disk["size"]
    assert found["drydock_file_system_inodes", path] == disk["inodes"]
    assert 0 < found["drydock_file_system_free_bytes", path] < disk["size"]


@pytest.mark.root
@CAPTURES
def test_promtool_accepts_it(capture, unpacked):
    """Of every capture; and the sums are those of the scan document."""
    host = unpacked(capture)
    text = run("scan", "--now", capture.taken_at, "--format", "prometheus", host)
    assert promtool(text) == (0, "")
    found, document = samples(text), scan(capture, host)
    root = ("root", document["path"])
    for state, total in document["totals"].items():
        assert found["drydock_objects", root, ("state", state)] == total["count"]
        assert found["drydock_object_bytes", root, ("state", state)] == total["bytes"]
    assert found["drydock_reclaimable_bytes", root] == document["reclaimable"]["bytes"]
    assert found["drydock_complete", root] == document["complete"]
    assert found["drydock_live", root] == 0
    leases = [lease["class"] for lease in document["leases"]]
    for kind in set(leases):
        assert found["drydock_leases", root, ("class", kind)] == leases.count(kind)
    for namespace in document["namespaces"]:
        mine = [each for each in document["objects"] if namespace in each["namespaces"]]
        for state in document["totals"]:
            key = ("drydock_namespace_object_bytes", root, ("namespace", namespace), ("state", state))
            expected = sum(each["bytes"] for each in mine if each["state"] == state)
            assert found[key] == expected


def test_hostile_names_stay_in_their_labels():
    """Quotes, backslashes and line feeds end no label and begin no line; the checker agrees."""
    made = scan_of_everything(inventory=True)
    name = HOSTILE + b'"} 1\ndrydock_evil 1\\'
    made.verdict.store.metadata.namespaces[name] = {}
    text = "".join(line + "\n" for line in metric_lines([made], NOW, 0.25))
    found = samples(text)
    assert not any(key[0] == "drydock_evil" for key in found)
    assert ("namespace", shown(name)) in {label for key in found for label in key[1:]}
    assert found[("drydock_scan_duration_seconds",)] == 0.25
    assert promtool(text) == (0, "")


def test_the_checker_would_say_no():
    """It is not a checker that takes anything."""
    assert promtool('drydock_x{root="a"b"} 1\n')[0] != 0


@pytest.mark.root
def test_a_pull_grows_older(unpacked):
    """The age is that of the oldest interrupted pull, as ``drydock pulls`` dates it; without pulls there is none."""
    import json
    from datetime import datetime

    by_name = {each.name: each for each in captures()}
    of = by_name["docker-28.5-interrupted-pull"]
    host = unpacked(of)
    found = samples(run("scan", "--now", of.taken_at, "--format", "prometheus", host))
    (age,) = [value for key, value in found.items() if key[0] == "drydock_oldest_interrupted_pull_age_seconds"]
    (root,) = json.loads(run("pulls", "--now", of.taken_at, "--format", "json", host))["roots"]
    begun = [lease["created"] for pull in root["pulls"] for lease in pull["leases"]]
    taken, *times = (datetime.fromisoformat(each.replace("Z", "+00:00")) for each in (of.taken_at, *begun))
    seconds = (taken - min(times)).total_seconds()
    assert age == pytest.approx(seconds, abs=1)
    text = "\n".join(metric_lines([scan_of_everything(inventory=True)], NOW, 0))
    assert "drydock_interrupted_pulls{" in text
    assert "drydock_oldest" not in text


@pytest.mark.root
def test_the_file_appears_whole(unpacked, tmp_path):
    """With ``-o`` the collector never sees half a file: the old one stays until the new one is whole."""
    of = captures()[0]
    out = tmp_path / "drydock.prom"
    out.write_text("old\n")
    before = out.stat().st_ino
    with out.open() as reader:
        run("scan", "--now", of.taken_at, "--format", "prometheus", "-o", out, unpacked(of))
        assert reader.read() == "old\n"
    assert out.stat().st_ino != before
    assert out.read_text().endswith("\n")
    assert [each.name for each in tmp_path.iterdir()] == ["drydock.prom"]
    assert out.stat().st_mode & 0o044 == 0o044

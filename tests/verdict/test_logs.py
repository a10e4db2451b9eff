"""Logs in words: which of them a word names, and which line would cap one."""

from drydock.model.data import Fingerprint
from drydock.model.logs import ContainerLog, LogFile, LogFormat
from drydock.model.names import RawPath
from drydock.model.roots import DockerContainer
from drydock.verdict.logs import explain_log, find_logs, log_rows

WEB, DB = b"a" * 64, b"ab" * 32


def log(container, name, form=LogFormat.JSON_FILE, driver=b"json-file", *, max_size=None, size=5):
    """A log of two files."""
    base = b"containers/" + container + b"/" + container + b"-json.log"
    facts = Fingerprint(1, 2, 0o100640, size, 0, 0)
    files = tuple(LogFile(RawPath(base + end), n, facts, size, 1) for n, end in enumerate((b"", b".1")))
    return ContainerLog(RawPath(b"/data"), container, name, form, files, driver, max_size)


LOGS = [log(WEB, b"web"), log(DB, b"db", size=9)]


def named(word):
    """The containers whose logs a word names."""
    return [each.name for each in find_logs(LOGS, word)]


def test_words_for_a_log():
    """Name, id, the beginning of an id that is one container's, a path or its end; nothing else."""
    assert named(b"web") == [b"web"]
    assert named(WEB) == named(WEB[:12]) == [b"web"]
    assert named(b"/data/containers/" + DB + b"/" + DB + b"-json.log.1") == [b"db"]
    assert named(DB + b"/" + DB + b"-json.log") == [b"db"]
    assert named(b"/data/containers/" + DB + b"/") == [b"db"]
    assert named(b"we") == named(b"a") == named(b"/other/containers/" + DB) == []


def test_the_largest_comes_first():
    """Rows by what they take."""
    assert [row["name"] for row in log_rows(LOGS)] == ["db", "web"]


def facts(found, container=None):
    """The facts of an explanation."""
    return dict(explain_log(found, container).facts)


def test_only_an_unlimited_log_has_lines_that_cap_it():
    """Each form of limit has its words; the lines name the service and the file of Compose if these are known."""
    free = facts(LOGS[0], DockerContainer(WEB, b"web", compose=(b"front", b"/srv/a b.yml")))
    assert free["rotation"].startswith("none")
    assert "max-size" in free["daemon.json"]
    assert "service front of '/srv/a b.yml'" in free["compose"]
    capped = facts(log(WEB, b"web", max_size=b"10m"))
    assert capped["rotation"] == "max-size 10m"
    local = facts(log(WEB, b"web", LogFormat.LOCAL, b"local"))
    assert "20m" in local["rotation"]
    unknown = facts(log(WEB, b"web", driver=None))
    assert unknown["rotation"].startswith("not known")
    assert not any("daemon.json" in each for each in (capped, local, unknown))


def test_the_cache_of_another_driver_is_called_so():
    """What it caches is not the driver local's."""
    cached = log(WEB, b"web", LogFormat.LOCAL, b"syslog")
    assert explain_log(cached, None).state == "local cache of the driver syslog"

"""Logs of containers: their files, from when they are, what limits them, and where a line begins."""

from __future__ import annotations

import json
import os
import random

import pytest
from tests.support.data_roots import (
    SECOND,
    START,
    add_container,
    add_json_log,
    add_local_log,
    container_id,
    json_line,
)

from drydock.evidence.docker.containers import read_containers
from drydock.evidence.docker.logs import find_line, read_logs
from drydock.model.logs import LogFormat
from drydock.model.names import RawPath


def read(data):
    """The logs of a data root, and what could not be read."""
    path = RawPath(bytes(data))
    containers, _ = read_containers(path, [])
    return read_logs(path, containers)


def test_json_file_with_rotated_files(tmp_path):
    """The files by age, the oldest record's time, and the options as they are written."""
    folder = add_container(tmp_path, 1, "web", options={"max-size": "10m", "max-file": "3"})
    log = add_json_log(folder, range(20, 30), rotated=[range(10, 20), range(10)])
    [found] = read(tmp_path).found
    assert found.container.decode() == container_id(1)
    assert (found.name, found.driver, found.format) == (b"web", b"json-file", LogFormat.JSON_FILE)
    assert [file.number for file in found.files] == [0, 1, 2]
    assert found.path.decode() == str(log)
    assert (found.max_size, found.max_file, found.rotates) == (b"10m", b"3", True)
    assert found.since == START
    assert found.until == log.stat().st_mtime_ns
    assert found.allocated == sum(each.stat().st_blocks * 512 for each in folder.glob("*-json.log*"))


def test_json_file_without_limits(tmp_path):
    """Without max-size it is never rotated; if the configuration is gone, that is not known."""
    folder = add_container(tmp_path, 1, "web")
    add_json_log(folder, range(3))
    assert read(tmp_path).found[0].rotates is False
    (folder / "hostconfig.json").unlink()
    logs = read(tmp_path)
    assert logs.found[0].rotates is None
    assert logs.found[0].driver is None
    assert "hostconfig.json" in logs.unread[0]


@pytest.mark.parametrize(
    "document", ["", "[]", "{}", '{"LogConfig": []}', '{"LogConfig": null}', "[" * 100_000, '{"LogConfig": "x"}']
)
def test_a_configuration_without_a_driver(tmp_path, document):
    """The log is listed, its limits are not known, and that is told."""
    folder = add_container(tmp_path, 1, "web")
    add_json_log(folder, range(3))
    (folder / "hostconfig.json").write_text(document)
    logs = read(tmp_path)
    assert (logs.found[0].driver, logs.found[0].rotates) == (None, None)
    assert logs.unread == (f"{folder}/hostconfig.json: it has no LogConfig",)


@pytest.mark.parametrize("options", [None, [], "x", {"max-size": 5, "max-file": ["3"]}, {"max-size": ""}])
def test_options_of_other_types(tmp_path, options):
    """They limit nothing: dockerd takes texts only."""
    folder = add_container(tmp_path, 1, "web")
    add_json_log(folder, range(3))
    (folder / "hostconfig.json").write_text(json.dumps({"LogConfig": {"Type": "json-file", "Config": options}}))
    [found] = read(tmp_path).found
    assert (found.max_size, found.max_file, found.rotates) == (None, None, False)


def test_local_with_packed_files(tmp_path):
    """The time is in the first frame of the oldest file, which is packed."""
    folder = add_container(tmp_path, 2, "db", driver="local")
    log = add_local_log(folder, range(20, 30), rotated=[range(10, 20), range(5, 10)])
    [found] = read(tmp_path).found
    assert (found.format, found.rotates) == (LogFormat.LOCAL, True)
    assert [(file.number, file.is_compressed) for file in found.files] == [(0, False), (1, True), (2, True)]
    assert found.path.decode() == str(log)
    assert found.since == START + 5 * SECOND


def test_the_cache_of_another_driver(tmp_path):
    """It has the format of local, and the driver's own name."""
    folder = add_container(tmp_path, 3, "far", driver="syslog")
    add_local_log(folder, range(3)).rename(folder / "container-cached.log")
    (folder / "local-logs").rmdir()
    [found] = read(tmp_path).found
    assert (found.format, found.driver) == (LogFormat.LOCAL, b"syslog")
    assert found.since == START


@pytest.mark.parametrize(
    "start", [b"", b"\0" * 4096, b"{" * 5000, b'{"time":5}\n', b"\xff\xff\xff\xff\x10\x80", b"[]\n"]
)
@pytest.mark.parametrize("local", [False, True])
def test_a_damaged_log_has_no_time(tmp_path, start, local):
    """Whatever is in it, it is listed."""
    folder = add_container(tmp_path, 1, "web", driver="local" if local else "json-file")
    log = (add_local_log if local else add_json_log)(folder, ())
    log.write_bytes(start)
    [found] = read(tmp_path).found
    assert found.since is None
    assert found.files[0].size == len(start)


def test_names_that_are_no_log(tmp_path):
    """Links, folders, other names, and another container's log are left out."""
    folder = add_container(tmp_path, 1, "web")
    log = add_json_log(folder, range(2))
    os.symlink("/etc/passwd", folder / f"{log.name}.1")
    (folder / f"{log.name}.2").mkdir()
    for name in (f"{log.name}.3x", f"{log.name}.04", f"{container_id(2)}-json.log", f"{log.name}.gz"):
        (folder / name).touch()
    [found] = read(tmp_path).found
    assert [file.path.decode() for file in found.files] == [str(log.relative_to(tmp_path))]


def test_find_line_begins_after_a_newline(tmp_path):
    """For any size: the rest is whole lines, at most so large, and one line more would not fit."""
    generator = random.Random(5)
    lines = [json_line(number, "x" * generator.randrange(9000)) for number in range(60)]
    path = tmp_path / "log"
    path.write_bytes(b"".join(lines))
    whole = path.read_bytes()
    with path.open("rb") as file:
        for most in (
            0,
            1,
            len(lines[-1]) - 1,
            len(lines[-1]),
            *(generator.randrange(len(whole) + 9) for _ in range(99)),
        ):
            at = find_line(file.fileno(), len(whole), most)
            kept = whole[at:]
            assert len(kept) <= most
            count = kept.count(b"\n")
            assert kept == b"".join(lines[len(lines) - count :])
            assert count == len(lines) or len(kept) + len(lines[len(lines) - count - 1]) > most

"""The logs of containers: as rows of a list, as explanations, and which of them a word names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drydock.model.explanations import Explanation
from drydock.model.listings import Cell
from drydock.model.logs import ContainerLog, LogFormat
from drydock.model.roots import DockerContainer
from drydock.model.text import quoted_path, shown
from drydock.model.times import show_known, show_time

_SHORTEST = 4
"""Characters of an id that name it."""
_LOCAL_LIMITS = "max-size 20m and max-file 5, the limits of the driver itself"
"""moby daemon/logger/local/local.go, v28.5."""


def log_rows(logs: Iterable[ContainerLog]) -> list[dict[str, Cell]]:
    """One row for each log, the largest first."""
    return [_row(log) for log in sorted(logs, key=lambda log: (-log.allocated, log.path))]


def find_logs(logs: Iterable[ContainerLog], word: bytes) -> list[ContainerLog]:
    """The logs that a word names: by the path of a file or its folder, by the container's name, or by its id."""
    exact: list[ContainerLog] = []
    begins: list[ContainerLog] = []
    for log in logs:
        if word in (log.container, log.name) or (b"/" in word and _is_path(log, word)):
            exact.append(log)
        elif len(word) >= _SHORTEST and log.container.startswith(word):
            begins.append(log)
    return exact or (begins if len({log.container for log in begins}) == 1 else [])


def explain_log(log: ContainerLog, container: DockerContainer | None) -> Explanation:
    """Whose log it is, from when, and what limits it.

    Args:
        log: the log.
        container: what is known of its container.
    """
    facts = [("path", shown(log.path)), ("files", _files(log))]
    if log.leftovers:
        facts.append(("left over", f"what a killed run left beside it: {len(log.leftovers)}"))
    if log.since is not None:
        facts.append(("since", show_time(log.since)))
    if log.until is not None:
        facts.append(("last written", show_time(log.until)))
    facts.append(("rotation", _rotation(log)))
    if log.rotates is False:
        facts += _caps(container)
    facts.append(
        ("free it", "drydock clean --truncate-logs SIZE, with dockerd stopped, keeps the newest SIZE of each log")
    )
    name = shown(log.name or log.container)
    driver = shown(log.driver) if log.driver is not None else log.format.value
    return Explanation(
        log.data,
        f"log of container {name}",
        f"{driver} log" if driver == log.format.value else f"local cache of the driver {driver}",
        tuple(facts),
        ((f"container {name} ({shown(log.container)}): the log is removed with the container",),)
        if container is not None
        else (),
        None if container is not None else "its container could not be read",
        (),
        bytes=log.allocated,
    )


def _row(log: ContainerLog) -> dict[str, Cell]:
    return {
        "data_root": shown(log.data),
        "container": shown(log.container),
        "name": None if log.name is None else shown(log.name),
        "driver": None if log.driver is None else shown(log.driver),
        "path": shown(log.path),
        "bytes": log.allocated,
        "files": len(log.files),
        "rotated": log.rotates,
        "max_size": None if log.max_size is None else shown(log.max_size),
        "max_file": None if log.max_file is None else shown(log.max_file),
        "since": show_known(log.since),
        "until": show_known(log.until),
    }


def _is_path(log: ContainerLog, word: bytes) -> bool:
    word = word.rstrip(b"/")
    files: list[bytes] = [file.path for file in (*log.files, *log.leftovers)]
    paths = [*files, *(path.rpartition(b"/")[0] for path in files)]
    return any(word == log.data + b"/" + path or path == word or path.endswith(b"/" + word) for path in paths)


def _files(log: ContainerLog) -> str:
    rotated = sum(file.number > 0 for file in log.files)
    current = "the current one" if any(file.number == 0 for file in log.files) else "the current one is missing"
    return f"{current}, and {rotated} rotated" if rotated else current


def _rotation(log: ContainerLog) -> str:
    if log.rotates is None:
        return "not known: the configuration of its container could not be read"
    limits = [
        f"{name} {shown(value)}"
        for name, value in (("max-size", log.max_size), ("max-file", log.max_file))
        if value is not None
    ]
    if not log.rotates:
        return "none: without max-size, json-file never rotates a log"
    if log.format is LogFormat.LOCAL and log.max_size is None:
        return " and ".join([*limits, f"by default {_LOCAL_LIMITS}"])
    return " and ".join(limits)


def _caps(container: DockerContainer | None) -> Iterator[tuple[str, str]]:
    """The lines that limit a log; the options of a container are fixed when it is created."""
    later = "for containers that are created later"
    yield "daemon.json", f'"log-opts": {{"max-size": "10m", "max-file": "3"}}, {later}'
    line = 'logging: {driver: json-file, options: {max-size: "10m", max-file: "3"}}'
    if container is not None and container.compose is not None:
        service, files = container.compose
        again = "then docker compose up -d --force-recreate"
        yield "compose", f"{line} in service {shown(service)} of {quoted_path(files)}, {again}"
    else:
        yield "compose", f"{line} in the service, {later}"

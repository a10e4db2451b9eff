"""The services of a host that start an engine, or may start one, with the files that say how.

Units (systemd) with their drop-ins and the files that their environment comes from; the scripts and option files of
other init systems and of packages; k3s' and RKE2's settings.
"""

from __future__ import annotations

import enum
import os
import posixpath
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from drydock.evidence.files.regular import read_regular
from drydock.evidence.host.command_lines import read_flags
from drydock.evidence.host.config import unseen
from drydock.evidence.host.filesystem import Host, has_pattern, is_folder, names
from drydock.evidence.host.unit_files import (
    CommandLine,
    Position,
    UnitFile,
    parse_environment,
    parse_rancher,
    parse_shell,
    parse_unit,
)
from drydock.model import messages
from drydock.model.findings import Finding
from drydock.model.names import RawPath
from drydock.model.text import shown

_LARGEST = 1 << 18
_FILES = 4096
_TOTAL = 1 << 23
_PATTERNS = 64
_UNITS = (
    b"/etc/systemd/system",
    b"/run/systemd/system",
    b"/usr/local/lib/systemd/system",
    b"/usr/lib/systemd/system",
    b"/lib/systemd/system",
)
_SYSTEMD = (b"/usr/lib/systemd/systemd", b"/lib/systemd/systemd")
_SCRIPTS = (b"/etc/init.d/docker", b"/etc/rc.d/rc.docker")
_OPTIONS = tuple(
    folder + name
    for folder in (b"/etc/default/", b"/etc/sysconfig/", b"/etc/conf.d/", b"/etc/init.d/", b"/etc/rc.d/rc.")
    for name in (b"docker", b"containerd", b"k3s", b"rke2-server", b"rke2-agent", b"k0s")
)
_RANCHER = (b"/etc/rancher/k3s/config.yaml", b"/etc/rancher/rke2/config.yaml")
_EVERY = b"service"
_MENTIONED = re.compile(
    rb"dockerd|docker[ \t]+(?:daemon|-d)\b|containerd|buildkitd|k3s|rke2|k0s|DOCKER_OPTS|--data-root|data-dir"
)
"""A unit is parsed only if it has one of these: most of a host's units have not."""
_WORDS = (b"docker", b"containerd", b"buildkit", b"k3s", b"rke2", b"k0s")
"""One of them is in the name of each unit of an engine."""
_DOCKERS_ALONE = frozenset((b"data-root", b"exec-root", b"graph"))
"""Flags that no other program has."""
_KUBERNETES = (b"k3s", b"rke2", b"k0s")


class Program(enum.Enum):
    """An engine that a command line may start."""

    DOCKER = "docker"
    CONTAINERD = "containerd"
    KUBERNETES = "kubernetes"


def programs(line: CommandLine) -> dict[Program, Position]:
    """The engines that a line names, each with the first position. The name of a socket or a folder does not count."""
    found: dict[Program, Position] = {}
    for place, words in line.groups:
        for index, word in enumerate(words):
            following = words[index + 1] if index + 1 < len(words) else b""
            for program in _named(word, following):
                here = (*place, index)
                found[program] = min(found.get(program, here), here)
    return found


def _named(word: bytes, following: bytes) -> Iterator[Program]:
    name = word.rpartition(b"/")[2].rpartition(b"=")[2]
    is_old = word.endswith(b"docker") and following in (b"daemon", b"-d")  # Docker before 1.12
    if is_old or b"dockerd" in word.replace(b"cri-dockerd", b""):
        yield Program.DOCKER
    if name == b"containerd":
        yield Program.CONTAINERD
    elif name in _KUBERNETES:
        yield Program.KUBERNETES


@dataclass(slots=True)
class Service:
    """The files of one service, and the engines that they name."""

    name: bytes
    """The name of its unit, as ``docker.service``; ``service`` for drop-ins of every unit; a path for another file."""
    files: dict[bytes, UnitFile] = field(default_factory=dict)
    """By path in the host."""
    runs: set[Program] = field(default_factory=set)
    """The engines that it may start."""
    commands: set[Program] = field(default_factory=set)
    """The engines that its commands name."""
    is_environment_lost: bool = False
    """Whether a file of its environment is in /run, and missing: it is gone since the host stopped."""

    @property
    def is_file(self) -> bool:
        """Whether it is a script, or a file of options or settings, instead of a unit."""
        return self.name.startswith(b"/")

    @property
    def is_docker(self) -> bool:
        """Whether its name is that of Docker's unit."""
        return self.name == b"docker.service"

    def lines(self) -> Iterator[CommandLine]:
        """The lines of all its files."""
        for file in self.files.values():
            yield from file.lines

    def starts(self) -> Iterator[tuple[bytes, bool]]:
        """Each file with a command to start, and whether one of its commands is dockerd itself."""
        for path, file in self.files.items():
            if started := [line for line in file.lines if line.key == b"ExecStart"]:
                yield path, any(Program.DOCKER in programs(line) for line in started)

    def names(self, path: bytes) -> bool:
        """Whether the unit reads the file as its environment, or a command of it names the file."""
        if any(path in file.environment_files for file in self.files.values()):
            return True
        return any(path in word for line in self.lines() for word in line.words)


def read_units(host: Host, findings: list[Finding]) -> list[Service]:
    """Every service that may belong to an engine; the drop-ins of every unit come first.

    Args:
        host: the host with the services.
        findings: gets a finding for each file that could not be read.
    """
    reader = _UnitReader(host, findings)
    texts: dict[bytes, dict[bytes, bytes]] = {_EVERY: {}}
    for name, path in _files(host):
        if text := reader.text(path):
            texts.setdefault(name, {})[path] = text
    found = [_parsed(name, files) for name, files in texts.items() if _is_engine(name, files)]
    _count_options(host, found)
    for service in sorted(found, key=lambda each: not each.runs):
        if not service.is_file:
            reader.add_environment(service)
    return found


class _UnitReader:
    """Reads files, each once, up to its limits."""

    def __init__(self, host: Host, findings: list[Finding]) -> None:
        self._host = host
        self._findings = findings
        self._texts: dict[bytes, bytes | None] = {}
        self._left = _TOTAL
        self._patterns: dict[bytes, list[RawPath]] = {}
        self._is_full = False
        try:
            self._masked: RawPath | None = host.reach(b"/dev/null")
        except OSError:  # a loop of links
            self._masked = None

    def text(self, path: bytes, *, is_needed: bool = True) -> bytes | None:
        """The text of a file; None if it is missing, cannot be read, or is a masked unit.

        Args:
            path: absolute in the host.
            is_needed: report a finding if it cannot be read.
        """
        if path not in self._texts:
            if not self._has_room(path):
                return None
            self._texts[path] = self._read(path, self._findings if is_needed else [])
            self._left -= len(self._texts[path] or b"")
        return self._texts[path]

    def add_environment(self, service: Service) -> None:
        """Add the files that set its environment (systemd.exec(5): patterns and specifiers are allowed)."""
        for path, unit in list(service.files.items()):
            unknown: list[bytes] = []
            for value in dict.fromkeys(each for each in unit.environment_files if each.startswith(b"/")):
                if b"%" in value or has_pattern(posixpath.dirname(value)):
                    unknown.append(value)
                    continue
                files = {each: self.text(each, is_needed=bool(service.runs)) for each in self._matches(value)}
                for file, read in files.items():
                    if read and self._has_room(file):
                        self._left -= len(read)  # once more for each service that reads it
                        service.files[file] = parse_environment(read)
                if None in files.values() or not files:
                    service.is_environment_lost |= value.startswith((b"/run/", b"/var/run/"))
            if unknown and Program.DOCKER in service.runs:
                setting = f"EnvironmentFile {shown(unknown[0][:200])}"
                self._findings.append(unseen(path, messages.KNOWN_AT_RUN_TIME(file=path, setting=setting)))

    def _matches(self, value: bytes) -> list[RawPath]:
        if not has_pattern(value):
            return [RawPath(value)]
        if value not in self._patterns:
            if len(self._patterns) >= _PATTERNS:
                self._stop(value, _PATTERNS, "patterns of environment files")
                return []
            self._patterns[value] = self._host.matches(value, _FILES)
        return self._patterns[value]

    def _has_room(self, path: bytes) -> bool:
        if len(self._texts) <= _FILES and self._left > 0:
            return True
        self._stop(path, _FILES, f"units, or {_TOTAL >> 20} MiB of them")
        return False

    def _stop(self, path: bytes, limit: int, what: str) -> None:
        if not self._is_full:
            self._findings.append(unseen(path, messages.TOO_MANY_SETTINGS(file=path, limit=limit, what=what)))
        self._is_full = True

    def _read(self, path: bytes, findings: list[Finding]) -> bytes | None:
        try:
            reached = self._host.reach(path)
            if reached == self._masked or is_folder(reached):
                return None
            return read_regular(reached, _LARGEST)
        except (FileNotFoundError, NotADirectoryError):
            # Links that removed packages left do not matter.
            if _has_word(path) and (why := self._host.hidden_reason(path)):
                findings.append(unseen(path, messages.SETTING_OUT_OF_REACH(file=path, problem=why)))
        except OSError as error:
            problem = error.strerror or str(error)
            findings.append(unseen(path, messages.UNREADABLE_SETTINGS(file=path, problem=problem)))
        return None


def _is_engine(name: bytes, files: dict[bytes, bytes]) -> bool:
    return name == _EVERY or _has_word(name) or any(map(_MENTIONED.search, files.values()))


def _parsed(name: bytes, files: dict[bytes, bytes]) -> Service:
    service = Service(name)
    parse: Callable[[bytes], UnitFile] = parse_unit
    if service.is_file:
        parse = parse_rancher if name.startswith(b"/etc/rancher/") else parse_shell
    service.files = {path: parse(text) for path, text in files.items()}
    named = set[Program]()
    for line in service.lines():
        found = programs(line)
        named.update(found)
        if line.is_command:
            service.commands.update(found)
    service.runs = _runs(service, named)
    return service


def _has_word(name: bytes) -> bool:
    return any(word in name for word in _WORDS)


def _named_by(service: bytes) -> Iterator[Program]:
    """The engines that a service belongs to by its name."""
    name = service.rpartition(b"/")[2]
    if service == b"docker.service":
        yield Program.DOCKER
    if name in (b"containerd", b"containerd.service"):
        yield Program.CONTAINERD
    if name.startswith(_KUBERNETES) or service.startswith(b"/etc/rancher/"):
        yield Program.KUBERNETES


def _runs(service: Service, named: set[Program]) -> set[Program]:
    if service.name == _EVERY:
        return set(Program)
    runs = named | set(_named_by(service.name))
    if service.is_file:
        return runs - {Program.DOCKER}
    if b"docker" in service.name and any(
        flag for line in service.lines() for _, words in line.groups for flag in read_flags(words, _DOCKERS_ALONE)
    ):
        runs.add(Program.DOCKER)  # behind a script of another name
    return runs


def _count_options(host: Host, services: list[Service]) -> None:
    """Mark the option files that Docker is started with: a script reads them, and a unit has to name them."""
    by_unit = any(each.is_docker and any(each.starts()) for each in services)
    by_script = _has_one(host, _SCRIPTS) and not (by_unit and _has_one(host, _SYSTEMD))
    units = [each for each in services if Program.DOCKER in each.runs]
    for service in services:
        is_dockers = service.name in _OPTIONS and service.name.endswith(b"docker")
        if is_dockers and (by_script or any(each.names(service.name) for each in units)):
            service.runs.add(Program.DOCKER)


def _has_one(host: Host, paths: tuple[bytes, ...]) -> bool:
    with suppress(OSError):  # a loop of links
        return any(os.path.lexists(host.reach(path)) for path in paths)
    return False


def _rancher(host: Host) -> Iterator[bytes]:
    for settings in _RANCHER:
        yield settings
        beside = settings + b".d"  # k3s pkg/configfilearg/parser.go dotDFiles
        reached = host.folder(beside)
        for name in sorted(names(reached, _FILES)) if reached else ():
            if name.lower().endswith((b".yaml", b".yml")):
                yield beside + b"/" + name


def _files(host: Host) -> Iterator[tuple[bytes, bytes]]:
    """Each file, with the name of its service in front."""
    yield from ((path, path) for path in (*_OPTIONS, *_rancher(host)))
    seen: set[bytes | None] = set()
    for folder in _UNITS:
        reached = host.folder(folder)
        if reached in seen:  # /lib is a link to /usr/lib on most hosts
            continue
        seen.add(reached)
        for name in sorted(names(reached, _FILES)) if reached else ():
            if name.endswith(b".service"):
                yield name, folder + b"/" + name
            elif name.endswith(b".service.d") or name == b"service.d":  # of every service
                drop_in = host.folder(folder + b"/" + name)
                for part in sorted(names(drop_in, _FILES)) if drop_in else ():
                    if part.endswith(b".conf"):
                        yield name[:-2], folder + b"/" + name + b"/" + part

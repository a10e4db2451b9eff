"""The command lines a host starts its engines with: what a flag says about storage overrides every config file.

Read as text: each path found is one more place to look at, so reading too much does no harm. What is not understood is
said of the flags of engines alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from drydock.evidence.host.config import unseen
from drydock.evidence.host.filesystem import Host
from drydock.evidence.host.units import AT_RUN_TIME, COMMAND, Program, Service, read_units
from drydock.model import messages
from drydock.model.findings import Finding, Place
from drydock.model.names import RawPath
from drydock.model.text import shown

CONTAINERD_ROOT = b"DOCKER_CONTAINERD_ROOT"
"""The variable that moves the containerd that dockerd starts or holds (moby daemon/command/daemon.go, v29.7)."""
_VALUES = 128
_ENDED = re.compile(rb"[\s,;)\]}]|\Z")
_UNPLAIN = re.compile(rb"[$%\0]")
_ARGUMENT = re.compile(rb"""\s(["'])--""")
_VARIABLE = re.compile(rb"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})\Z")
_SET = re.compile(
    rb"""(?:^[ \t]*(?:Environment[ \t]*=|export[ \t])[ \t]*(["']?)|^[ \t]*|[ \t]|(["']))"""
    rb"""([A-Za-z_]\w*)=(["']?)([^\s"'\\]*)""",
    re.MULTILINE,
)
_FLAG = re.compile(
    rb"""(?:^|[\s"'=])(?:--(data-root|graph|exec-root|root|state|config-file|config|data-dir)|-([gc])|(?:K3S_|RKE2_)?(data-dir|DATA_DIR|DOCKER_CONTAINERD_ROOT)(?=["']?[:=]))"""
    rb"""(?:(["']?)[=:\s]\s*|(?<=-g)(?=/))(["']?)([^\s"'\\]+)""",
    re.MULTILINE,
)
_LONG = {
    b"g": b"data-root",
    b"c": b"config",
    b"graph": b"data-root",
    b"DATA_DIR": b"data-dir",
    CONTAINERD_ROOT: b"containerd-root",
}
_OWNERS = {
    b"data-root": Program.DOCKER,
    b"containerd-root": Program.DOCKER,
    b"config-file": Program.DOCKER,
    b"config": Program.CONTAINERD,
    b"root": Program.CONTAINERD,
    b"data-dir": Program.KUBERNETES,
}
"""Whose storage lies elsewhere with it; what the others say is not needed to find it."""


@dataclass(slots=True)
class Services:
    """Flags of a host's engines."""

    flags: dict[bytes, list[RawPath]] = field(default_factory=lambda: defaultdict(list))
    """Absolute paths in that host, by flag: ``data-root``, ``exec-root``, ``root``, ``state``, ``config``, ...

    ``containerd-root`` is what a variable says, and no flag.
    """
    others: dict[bytes, list[RawPath]] = field(default_factory=lambda: defaultdict(list))
    """The same of Docker's flags where it is not known to be started with them: they may be another program's."""
    findings: list[Finding] = field(default_factory=list)
    configs: list[Finding] = field(default_factory=list)
    """Where containerd is started with a config that only its start knows."""


class _Line:
    """A line that has flags: whether it is a command, and where the engines are named in it."""

    def __init__(self, text: bytes, begin: int, end: int) -> None:
        line = text[begin:end]
        self.is_command = COMMAND.match(line) is not None
        found = ((each, each.value.search(line)) for each in Program)
        self.programs = {program: begin + match.start() for program, match in found if match}


class _Variables:
    """The environment that a service's files set."""

    def __init__(self, unit: Service) -> None:
        self.unit = unit

    @cached_property
    def set_to(self) -> dict[bytes, tuple[dict[bytes, None], bool]]:
        """By name: the absolute paths that it is set to, and whether it can be nothing else."""
        found: dict[bytes, tuple[dict[bytes, None], bool]] = {}
        for text in self.unit.texts.values():
            for match in _SET.finditer(text):
                values, is_sure = found.get(match[3], ({}, True))
                value, quote = match[5], match[4] or match[1] or match[2] or b""
                is_path = (
                    value.startswith(b"/") and not _UNPLAIN.search(value) and not _goes_on(text, match.end(), quote)
                )
                if is_path and len(values) <= _VALUES:
                    values[value] = None
                found[match[3]] = values, is_sure and is_path
        return found


def read_services(host: Host) -> Services:
    """Read the flags; a file that cannot be read, or a value only known at run time, is a finding."""
    services = Services()
    units = read_units(host, services.findings)
    common = _Variables(units[0])
    for unit in units:
        reader = _Reader(services, unit, common)
        for path, starts_dockerd in unit.starts() if unit.is_docker else ():
            if not starts_dockerd:
                services.findings.append(unseen(path, "what it starts Docker with is not known"))
        for path, text in unit.texts.items():
            for line, match in _flags(text):
                reader.take(path, text, line, match)
    return services


class _Reader:
    """Takes the flags of one service; what is wrong with a flag is said once of each file."""

    def __init__(self, services: Services, unit: Service, common: _Variables) -> None:
        self._services = services
        self._unit = unit
        self._variables = (_Variables(unit), common)
        self._said: set[tuple[bytes, bytes]] = set()
        self._followed: set[tuple[bytes, bytes]] = set()

    def take(self, path: bytes, text: bytes, line: _Line, match: re.Match[bytes]) -> None:
        """Note what one flag says."""
        flag = match[1] or match[2] or match[3]
        value, name = match[6], _LONG.get(flag, flag)
        owner = _OWNERS.get(name)
        its = owner is not None and self._is_of(owner, name, line, match)
        unclear = b"$" in value or b"%" in value or _is_cut(text, match)
        if its and (variable := _VARIABLE.match(value)) and not _is_cut(text, match):
            values, is_sure = self._values(variable[1] or variable[2])
            if (name, value) not in self._followed:
                self._followed.add((name, value))
                for each in values:
                    self._add(path, name, each, its)
            unclear = not values or (owner is Program.DOCKER and not is_sure)
        elif not unclear and value.startswith(b"/") and b"\0" not in value:
            self._add(path, name, value, its or owner is not Program.DOCKER)
        if not its or (flag == b"g" and value[:1] not in (b"/", b"$", b"%")):
            return
        if unclear:
            self._say(path, name, value, AT_RUN_TIME)
        elif owner is Program.DOCKER and not value.startswith((b"/", b"$")):
            self._say(path, name, value, "not an absolute path")

    def _is_of(self, owner: Program, name: bytes, line: _Line, match: re.Match[bytes]) -> bool:
        """Whether it is a flag that the engine is, or may be, started with, and no other program's."""
        if name == b"config":  # a name that many programs have
            return line.programs.get(owner, match.start()) < match.start()
        if owner not in self._unit.runs:
            return False
        is_foreign = line.is_command and owner not in line.programs and owner in self._unit.commands
        return not is_foreign or match[1] in (b"data-root", b"graph")

    def _values(self, name: bytes) -> tuple[list[bytes], bool]:
        """(the absolute paths that a variable of the service is set to, whether it can be nothing else)."""
        found = [each.set_to[name] for each in self._variables if name in each.set_to]
        values = [value for values, _ in found for value in values]
        # A script may set it in other ways, and so may a file that is gone.
        is_whole = not (self._unit.is_file or any(each.unit.lost for each in self._variables))
        return values, is_whole and all(is_sure for _, is_sure in found)

    def _add(self, path: bytes, name: bytes, value: bytes, its: bool) -> None:
        values = (self._services.flags if its else self._services.others)[name]
        if value in values:
            return
        if len(values) < _VALUES:
            values.append(RawPath(value))
        else:
            self._say(path, name, value, f"more than {_VALUES} of them: the rest is not looked at")

    def _say(self, path: bytes, name: bytes, value: bytes, message: str) -> None:
        if (path, name) in self._said:
            return
        self._said.add((path, name))
        said = f"{shown(name)} {shown(value[:200])}: {message}"
        if name != b"config":
            self._services.findings.append(unseen(path, said))
            return
        self._services.configs.append(messages.CONFIG_UNKNOWN(file=path, setting=said).at(Place(RawPath(path))))


def _flags(text: bytes) -> Iterator[tuple[_Line, re.Match[bytes]]]:
    """Each flag with its line, which is looked at once whatever the number of its flags."""
    line, end = _Line(b"", 0, 0), -1
    for match in _FLAG.finditer(text):
        at = max(match.start(1), match.start(2), match.start(3))
        if at > end:
            end = text.find(b"\n", at)
            end = len(text) if end < 0 else end
            line = _Line(text, text.rfind(b"\n", 0, at) + 1, end)
        yield line, match


def _is_cut(text: bytes, match: re.Match[bytes]) -> bool:
    """Whether the value goes on behind what was matched: after a space in quotes, a quote, an escape."""
    quote = match[5]
    if not quote and not match[4] and (argument := _ARGUMENT.match(text, max(0, match.start() - 1))):
        quote = argument[1]  # the whole argument is quoted
    return _goes_on(text, match.end(), quote)


def _goes_on(text: bytes, end: int, quote: bytes) -> bool:
    after = text[end : end + 1]
    if quote:
        return after != quote or not _ENDED.match(text, end + 1)
    return after == b"\\" or (after in (b'"', b"'") and not _ENDED.match(text, end + 1))

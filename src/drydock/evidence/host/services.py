"""The command lines that start the engines of a host: a flag about storage overrides every config file.

Each path found is one more place to look at, so reading too much does no harm. A value that is not understood is
reported only if it is a flag of an engine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from drydock.evidence.host.command_lines import Flag, read_flags
from drydock.evidence.host.config import unseen
from drydock.evidence.host.filesystem import Host
from drydock.evidence.host.unit_files import CommandLine, Position, assignment
from drydock.evidence.host.units import Program, Service, programs, read_units
from drydock.model import messages
from drydock.model.findings import Finding
from drydock.model.messages import Text
from drydock.model.names import RawPath
from drydock.model.text import shown

CONTAINERD_ROOT = b"DOCKER_CONTAINERD_ROOT"
"""The variable that moves the containerd that dockerd starts or holds (moby daemon/command/daemon.go, v29.7)."""
_VALUES = 128
_UNPLAIN = b"$%`\"'\0"
"""Characters of a value that is known at run time only, or not understood: variables, specifiers, open quotes."""
_FLAGS = frozenset(
    (b"data-root", b"graph", b"exec-root", b"root", b"state", b"config-file", b"config", b"data-dir", b"g", b"c")
)
_VARIABLES = frozenset((b"DATA_DIR", b"K3S_DATA_DIR", b"RKE2_DATA_DIR", CONTAINERD_ROOT))
"""Variables that do what a flag does."""
_LONG = {
    b"g": b"data-root",
    b"c": b"config",
    b"graph": b"data-root",
    b"DATA_DIR": b"data-dir",
    b"K3S_DATA_DIR": b"data-dir",
    b"RKE2_DATA_DIR": b"data-dir",
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
"""The engine whose storage a flag moves. The other flags are not needed to find storage."""


@dataclass(slots=True)
class Services:
    """Flags of a host's engines."""

    flags: dict[bytes, list[RawPath]] = field(default_factory=lambda: defaultdict(list))
    """Absolute paths in that host, by flag: ``data-root``, ``exec-root``, ``root``, ``state``, ``config``, ...

    ``containerd-root`` is a variable, and no flag.
    """
    others: dict[bytes, list[RawPath]] = field(default_factory=lambda: defaultdict(list))
    """The same for Docker's flags that may be another program's: Docker is not known to be started with them."""
    findings: list[Finding] = field(default_factory=list)
    configs: list[Finding] = field(default_factory=list)
    """Places where containerd is started with a config that is known at run time only."""
    units: list[Service] = field(default_factory=list)
    """The services of the engines, as they were read."""


class _Variables:
    """The environment that the files of a service set."""

    def __init__(self, unit: Service) -> None:
        self.unit = unit

    @cached_property
    def set_to(self) -> dict[bytes, tuple[dict[bytes, None], bool]]:
        """The absolute paths that each variable is set to, by its name, and whether it can have no other value."""
        found: dict[bytes, tuple[dict[bytes, None], bool]] = {}
        for line in self.unit.lines():
            for _, words in line.groups:
                for name, value in filter(None, map(assignment, words)):
                    values, is_sure = found.get(name, ({}, True))
                    is_path = value.startswith(b"/") and not _is_unplain(value)
                    if is_path and len(values) <= _VALUES:
                        values[value] = None
                    found[name] = values, is_sure and is_path
        return found


def read_services(host: Host) -> Services:
    """Read the flags. A file that cannot be read, or a value that is known at run time only, is a finding."""
    services = Services()
    services.units = units = read_units(host, services.findings)
    common = _Variables(units[0])
    for unit in units:
        reader = _FlagReader(services, unit, common)
        for path, starts_dockerd in unit.starts() if unit.is_docker else ():
            if not starts_dockerd:
                services.findings.append(unseen(path, messages.UNKNOWN_START(file=path)))
        for path, file in unit.files.items():
            for line in file.lines:
                reader.read(path, line)
    return services


class _FlagReader:
    """Takes the flags of one service; a problem with a flag is reported once for each file."""

    def __init__(self, services: Services, unit: Service, common: _Variables) -> None:
        self._services = services
        self._unit = unit
        self._variables = (_Variables(unit), common)
        self._said: set[tuple[bytes, bytes]] = set()
        self._followed: set[tuple[bytes, bytes]] = set()
        self._known: dict[tuple[bytes, bool], tuple[list[bytes], bool]] = {}

    def read(self, path: bytes, line: CommandLine) -> None:
        """Take the flags of a line."""
        flags = [((*place, flag.at), flag) for place, words in line.groups for flag in _flags(words)]
        named = programs(line) if flags else {}
        for place, flag in flags:
            self._take(path, flag, self._is_of(flag, line, named, place))

    def _take(self, path: bytes, flag: Flag, is_its: bool) -> None:
        value, name = flag.value, _LONG.get(flag.name, flag.name)
        owner = _OWNERS.get(name)
        is_unclear = _is_unplain(value)
        if is_its and (variable := _variable(value)):
            values, is_sure = self._known.get(variable) or self._known.setdefault(variable, self._values(*variable))
            if (name, value) not in self._followed:
                self._followed.add((name, value))
                for each in values:
                    self._add(path, name, each, is_its)
            is_unclear = not values or (owner is Program.DOCKER and not is_sure)
        elif not is_unclear and value.startswith(b"/"):
            self._add(path, name, value, is_its or owner is not Program.DOCKER)
        if not value or not is_its or (flag.name == b"g" and value[:1] not in (b"/", b"$", b"%", b'"', b"'")):
            return
        setting = f"{shown(name)} {shown(value[:200])}"
        if is_unclear:
            message = messages.CONFIG_UNKNOWN if name == b"config" else messages.KNOWN_AT_RUN_TIME
            self._report(path, name, message(file=path, setting=setting))
        elif owner is Program.DOCKER and not value.startswith((b"/", b"$")):
            self._report(path, name, messages.NOT_ABSOLUTE(file=path, setting=setting))

    def _is_of(self, flag: Flag, line: CommandLine, named: dict[Program, Position], place: Position) -> bool:
        """Whether the engine is, or may be, started with the flag, so that it is no other program's."""
        name = _LONG.get(flag.name, flag.name)
        owner = _OWNERS.get(name)
        if owner is None:
            return False
        if name == b"config":  # a flag of many programs
            return owner in named and named[owner] < place
        if owner not in self._unit.runs:
            return False
        is_foreign = line.is_command and owner not in named and owner in self._unit.commands
        return not is_foreign or flag.name in (b"data-root", b"graph")

    def _values(self, name: bytes, is_one_word: bool) -> tuple[list[bytes], bool]:
        """The absolute paths that a variable of the service is set to, and whether it can have no other value."""
        found = [each.set_to[name] for each in self._variables if name in each.set_to]
        values = [value for values, _ in found for value in values]
        # systemd splits the value of a variable without braces at spaces (systemd.service(5)).
        usable = [value for value in values if is_one_word or len(value.split()) == 1]
        # A script may set it in other ways, and so may a file that is gone.
        is_whole = not (self._unit.is_file or any(each.unit.is_environment_lost for each in self._variables))
        return usable, is_whole and usable == values and all(is_sure for _, is_sure in found)

    def _add(self, path: bytes, name: bytes, value: bytes, its: bool) -> None:
        values = (self._services.flags if its else self._services.others)[name]
        if value in values:
            return
        if len(values) < _VALUES:
            values.append(RawPath(value))
        else:
            is_config = name == b"config"
            many = messages.TOO_MANY_SETTINGS(file=path, limit=_VALUES, what=f"values of {shown(name)}")
            self._report(path, name, messages.TOO_MANY_CONFIGS(file=path, limit=_VALUES) if is_config else many)

    def _report(self, path: bytes, name: bytes, text: Text) -> None:
        """Report what is wrong with a flag, once of each file."""
        if (path, name) not in self._said:
            self._said.add((path, name))
            found = self._services.configs if name == b"config" else self._services.findings
            found.append(unseen(path, text))


def _flags(words: Sequence[bytes]) -> Iterator[Flag]:
    yield from read_flags(words, _FLAGS)
    for at, word in enumerate(words):
        name, equals, value = word.partition(b"=")
        if equals and name in _VARIABLES:
            yield Flag(name, value, at)


def _is_unplain(value: bytes) -> bool:
    return any(char in _UNPLAIN for char in value)


def _variable(value: bytes) -> tuple[bytes, bool] | None:
    """The variable that a value consists of, and whether it has braces, so that its value stays one word."""
    name = value[1:] if value.startswith(b"$") else b""
    in_braces = name.startswith(b"{") and name.endswith(b"}")
    name = name[1:-1] if in_braces else name
    return (name, in_braces) if assignment(name + b"=") else None

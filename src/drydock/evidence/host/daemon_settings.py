"""What the settings of a host say about the image store of its dockerd, and which version of dockerd it has.

Sources: moby cmd/dockerd/config.go (flags), daemon/config/config.go (daemon.json), v28.5; daemon/image_store_choice.go,
v29.7; hack/make/.go-autogen (where the version is in the build information), v28.5 and v29.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from drydock.evidence.files.regular import read_regular
from drydock.evidence.host.command_lines import read_flags
from drydock.evidence.host.config import DockerConfig
from drydock.evidence.host.filesystem import Host
from drydock.evidence.host.go_build_info import read_build_info
from drydock.evidence.host.unit_files import CommandLine, assignment
from drydock.evidence.host.units import Program, Service, programs
from drydock.model.names import RawPath
from drydock.model.store_modes import ChoiceRules, DaemonSettings, EngineVersion
from drydock.model.text import shown

_Value = TypeVar("_Value")
_FLAGS: Final = frozenset((b"storage-driver", b"s", b"feature", b"userns-remap"))
_UNPLAIN: Final = b"$%`\"'\0"
_FEATURE: Final = "containerd-snapshotter"
_MIGRATION: Final = "containerd-migration"
_TRUE: Final = (b"1", b"t", b"T", b"true", b"TRUE", b"True")
"""What Go's strconv.ParseBool takes for true."""
_PROGRAMS: Final = (b"/usr/bin/dockerd", b"/usr/sbin/dockerd", b"/usr/local/bin/dockerd")
_PACKAGES: Final = (b"docker-ce", b"docker.io", b"moby-engine", b"docker-engine", b"docker")
_DPKG: Final = b"/var/lib/dpkg/status"
_APK: Final = b"/lib/apk/db/installed"
_LARGEST: Final = 1 << 26
_DPKG_VERSION: Final = re.compile(rb"(?m)^Version: *(\S+)")
_INSTALLED: Final = re.compile(rb"(?m)^Status: .* installed$")
_APK_VERSION: Final = re.compile(rb"(?m)^V:(\S+)")
_NUMBERS: Final = re.compile(rb"(?:[0-9]+:)?([0-9]{1,4})\.([0-9]{1,4})(?:\.[0-9]+)*")
"""An epoch, and the version as far as it has numbers."""
_BUILT: Final = re.compile(rb"dockerversion\.Version=([0-9][0-9A-Za-z.+~-]*)")
_MODULES: Final = {
    b"github.com/docker/docker/": ("28 or earlier", (ChoiceRules.BEFORE_29,)),
    b"github.com/moby/moby/v2/": ("29 or later", (ChoiceRules.V29_0, ChoiceRules.SINCE_29_1)),
}
"""By the beginning of the path of a program's main package: go.mod of v29.0, and vendor.mod of v28.5."""


class _Options(NamedTuple):
    """What command lines say: a list has each value that was found, and whether there can be no other."""

    drivers: list[bytes]
    features: list[bool]
    migrates: bool
    is_remapped: bool
    is_whole: bool
    """Whether every command that starts dockerd has these options."""
    unclear: str | None


def read_daemon_settings(
    host: Host, services: Iterable[Service], configs: Sequence[DockerConfig], *, unread: str | None
) -> DaemonSettings:
    """What is known of the store of the dockerd that these files configure.

    Args:
        host: the host with the files.
        services: those that may start it.
        configs: its daemon.json, or several if it is not known which one it reads.
        unread: why not all of the settings could be read; None if they were.
    """
    units = [each for each in services if Program.DOCKER in each.runs]
    options = _read_options(units)
    there = [each for each in configs if each.is_there] or [DockerConfig()]
    features: set[bool | None] = {each.features.get(_FEATURE) for each in there}
    drivers: set[bytes | None] = {each.storage_driver for each in there}
    migrates = options.migrates or any(each.features.get(_MIGRATION) for each in there)
    return DaemonSettings(
        _joined(features, options.features, options.is_whole),
        _joined(drivers, options.drivers, options.is_whole),
        migrates,
        options.is_remapped or any(each.is_remapped for each in there),
        tuple(read_versions(host, units)),
        unread or options.unclear,
    )


def _joined(of_files: set[_Value], of_flags: Sequence[_Value], is_whole: bool) -> frozenset[_Value]:
    """The values that a setting may have. dockerd refuses one that both a flag and daemon.json have."""
    if not of_flags:
        return frozenset(of_files)
    return frozenset(of_flags) if is_whole else frozenset(of_flags) | of_files


def _read_options(units: Iterable[Service]) -> _Options:
    drivers: list[bytes] = []
    features: list[bool] = []
    migrates = is_remapped = False
    unclear = None
    starts = with_options = 0
    for line in (line for unit in units for line in unit.lines()):
        found = False
        for name, value in _options(line):
            found = True
            key, _, setting = value.partition(b"=")
            if any(char in _UNPLAIN for char in value):
                unclear = f"{shown(name)} {shown(value[:200])} is known at run time only"
            elif name == b"userns-remap":
                is_remapped = is_remapped or bool(value)
            elif name != b"feature":
                drivers += [value] if value else []
            elif key == _FEATURE.encode():
                features.append(not setting or setting in _TRUE)
            elif key == _MIGRATION.encode():
                migrates = migrates or not setting or setting in _TRUE
        if line.key == b"ExecStart" and Program.DOCKER in programs(line):
            starts, with_options = starts + 1, with_options + found
    return _Options(drivers, features, migrates, is_remapped, 0 < starts == with_options, unclear)


def _options(line: CommandLine) -> Iterator[tuple[bytes, bytes]]:
    """The flags of dockerd in a line, and the variables that do what a flag does."""
    named = programs(line).get(Program.DOCKER)
    for place, words in line.groups:
        for flag in read_flags(words, _FLAGS):
            # Other programs have a flag -s too; in an option file dockerd is not named.
            if flag.name != b"s" or not line.is_command or (named is not None and named < (*place, flag.at)):
                yield flag.name, flag.value
        for name, value in filter(None, map(assignment, words)):
            if name == b"DOCKER_DRIVER":
                yield name, value


def read_versions(host: Host, services: Iterable[Service]) -> Iterator[EngineVersion]:
    """The versions of Docker that are installed on a host, by the databases of packages and the programs themselves.

    A program that does not tell its exact version is left out if a package of its major version is installed.
    """
    packages = list(_packages(host))
    yield from packages
    exact = {rules for each in packages for rules in each.rules}
    started = (
        word for unit in services for line in unit.lines() if line.key == b"ExecStart" for word in line.words[:1]
    )
    named = (word for word in started if word.startswith(b"/") and word.endswith(b"/dockerd"))
    seen: set[RawPath] = set()
    for path in dict.fromkeys((*named, *_PROGRAMS)):
        try:
            reached = host.reach(path)
            info = None if reached in seen else read_build_info(reached)
        except OSError:
            continue
        seen.add(reached)
        if info is None:
            continue
        built = _BUILT.search(info.settings)
        if built:
            yield _version(built[1], path)
            continue
        for prefix, (version, rules) in _MODULES.items():
            if info.path.startswith(prefix) and not exact.intersection(rules):
                yield EngineVersion(version, RawPath(path), rules)


def _packages(host: Host) -> Iterator[EngineVersion]:
    for path, split, name, number, needs in (
        (_DPKG, b"\n\n", b"Package: ", _DPKG_VERSION, _INSTALLED),
        (_APK, b"\n\n", b"P:", _APK_VERSION, None),
    ):
        try:
            text = b"\n" + read_regular(host.reach(path), _LARGEST)
        except OSError:
            continue
        for package in _PACKAGES:
            begin = text.find(b"\n" + name + package + b"\n")
            stanza = text[text.rfind(split, 0, begin + 1) + 1 : text.find(split, begin + 1)] if begin >= 0 else b""
            found = number.search(stanza)
            if found and (needs is None or needs.search(stanza)):
                yield _version(found[1], path)


def _version(raw: bytes, source: bytes) -> EngineVersion:
    numbers = _NUMBERS.match(raw)
    major, minor = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    if major < 24:
        rules: tuple[ChoiceRules, ...] = ()
    elif major < 29:
        rules = (ChoiceRules.BEFORE_29,)
    else:
        rules = (ChoiceRules.V29_0,) if (major, minor) == (29, 0) else (ChoiceRules.SINCE_29_1,)
    return EngineVersion(shown(raw), RawPath(source), rules)

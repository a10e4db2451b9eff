"""The command lines a host starts its engines with: what a flag says about storage overrides every config file.

Units (systemd), and the option files of other init systems and of Debian's and Red Hat's packages. Read as text: each
flag found is one more place to look at, so reading too much does no harm.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from drydock.evidence.config import unseen
from drydock.evidence.file import read_regular
from drydock.evidence.host import Host, has_pattern, is_folder, names
from drydock.model.findings import Finding
from drydock.model.names import RawPath
from drydock.model.text import shown

_LARGEST = 1 << 18
_FILES = 4096
_UNITS = (
    b"/etc/systemd/system",
    b"/run/systemd/system",
    b"/usr/local/lib/systemd/system",
    b"/usr/lib/systemd/system",
    b"/lib/systemd/system",
)
_OPTIONS = tuple(
    folder + name
    for folder in (b"/etc/default/", b"/etc/sysconfig/", b"/etc/conf.d/", b"/etc/init.d/")
    for name in (b"docker", b"containerd", b"k3s", b"rke2-server", b"rke2-agent", b"k0s")
)
_RANCHER = (b"/etc/rancher/k3s/config.yaml", b"/etc/rancher/rke2/config.yaml")
_ENGINES = re.compile(rb"dockerd|containerd|k3s|rke2|k0s|DOCKER_OPTS|--data-root|data-dir")
_NAMES = re.compile(rb"docker|containerd|k3s|rke2|k0s")
_ENVIRONMENT = re.compile(rb"(?m)^[ \t]*EnvironmentFile=[ \t]*-?(/[^\n]*)")
_DOCKER_UNIT = re.compile(rb"/docker(@[^/]*)?\.service(\.d/|\Z)")
_STARTED = re.compile(rb"(?m)^[ \t]*ExecStart=[ \t]*\S[^\n]*")
_DOCKERD = re.compile(rb"dockerd|docker[ \t]+(?:daemon|-d)\b")
_ENDED = re.compile(rb"[\s,;)\]}]|\Z")
_CONTAINERD = re.compile(rb"""(?:^|[/\s"'=])containerd[\s"']""")
"""The command, and no socket's or folder's name."""
_AT_RUN_TIME = "known at run time only, or not understood"
_DOCKERS = (b"data-root", b"graph", b"config-file")
_PLACES = (b"data-root", b"root", b"data-dir", b"config-file")
_FLAG = re.compile(
    rb"""(?:^|[\s"'=])(?:--(data-root|graph|exec-root|root|state|config-file|config|data-dir)|-([gc])|(?:K3S_|RKE2_)?(data-dir|DATA_DIR)(?=[:=]))"""
    rb"""(?:[=:\s]\s*|(?<=-g)(?=/))(["']?)([^\s"'\\]+)""",
    re.MULTILINE,
)


@dataclass(slots=True)
class Services:
    """Flags of a host's engines."""

    flags: dict[bytes, list[RawPath]] = field(default_factory=lambda: defaultdict(list))
    """Absolute paths in that host, by flag: ``data-root``, ``exec-root``, ``root``, ``state``, ``config``, ..."""
    findings: list[Finding] = field(default_factory=list)
    configs: list[Finding] = field(default_factory=list)
    """Where containerd is started with a config that only its start knows."""


def read_services(host: Host) -> Services:
    """Read the flags; a file that cannot be read, or a value only known at run time, is a finding."""
    services = Services()
    masked = _masked(host)
    waiting = dict(_files(host))
    seen: set[bytes] = set()
    while waiting and len(seen) < _FILES:
        path = next(iter(waiting))
        included = waiting.pop(path)
        if path in seen:
            continue
        seen.add(path)
        try:
            reached = host.reach(path)
            if reached == masked or is_folder(reached):
                continue
            text = read_regular(reached, _LARGEST)
        except (FileNotFoundError, NotADirectoryError):
            # Links that removed packages leave behind are no engine's.
            if _NAMES.search(path) and (why := host.doubt(path)):
                services.findings.append(unseen(path, why))
            continue
        except OSError as error:
            services.findings.append(unseen(path, f"cannot be read: {error.strerror or error}"))
            continue
        if not included and not _ENGINES.search(text):
            continue
        text = re.sub(rb"(?m)^[ \t]*[#;].*$|\\\n", b"", text)
        # What a unit takes its options from; such a file may say nothing of which engine it is for.
        waiting |= dict.fromkeys(_included(host, path, text, services), True)
        started = _STARTED.findall(text) if _DOCKER_UNIT.search(path) else []
        if started and not any(map(_DOCKERD.search, started)):
            services.findings.append(unseen(path, "what it starts Docker with is not known"))
        for match in _FLAG.finditer(text):
            flag = match[1] or match[2] or match[3]
            flag = {b"g": b"data-root", b"c": b"config", b"graph": b"data-root", b"DATA_DIR": b"data-dir"}.get(
                flag, flag
            )
            value = match[5]
            if b"$" in value or b"%" in value or _is_cut(text, match):
                line = text[text.rfind(b"\n", 0, match.start()) + 1 : match.start() + 1]
                if flag == b"config" and _CONTAINERD.search(line):
                    services.configs.append(unseen(path, f"containerd's config {shown(value[:200])}: {_AT_RUN_TIME}"))
                elif flag in _PLACES:
                    services.findings.append(unseen(path, f"{shown(flag)} {shown(value[:200])}: {_AT_RUN_TIME}"))
            elif not value.startswith(b"/") and match[1] in _DOCKERS:
                services.findings.append(unseen(path, f"{shown(flag)} {shown(value[:200])}: not an absolute path"))
            elif value.startswith(b"/") and b"\0" not in value and value not in services.flags[flag]:
                services.flags[flag].append(RawPath(value))
    if waiting:
        services.findings.append(unseen(next(iter(waiting)), f"more than {_FILES} units: the rest is not read"))
    return services


def _masked(host: Host) -> RawPath | None:
    """Where a unit that must not start is a link to; None where a loop of links is in the way."""
    try:
        return host.reach(b"/dev/null")
    except OSError:
        return None


def _is_cut(text: bytes, match: re.Match[bytes]) -> bool:
    """Whether the value goes on behind what was matched: after a space in quotes, a quote, an escape."""
    after = text[match.end() : match.end() + 1]
    quote = match[4]
    if not quote and (argument := re.match(rb"""\s(["'])--""", text[max(0, match.start() - 1) : match.start() + 4])):
        quote = argument[1]  # the whole argument is quoted
    if quote:
        return after != quote or not _ENDED.match(text, match.end() + 1)
    return after == b"\\" or (after in (b'"', b"'") and not _ENDED.match(text, match.end() + 1))


def _included(host: Host, path: bytes, text: bytes, services: Services) -> Iterator[bytes]:
    """The files that a unit takes its environment from (systemd.exec(5): a pattern, and specifiers, are allowed)."""
    for value in map(bytes.rstrip, _ENVIRONMENT.findall(text)):
        if b"%" in value or has_pattern(posixpath.dirname(value)):
            if _DOCKER_UNIT.search(path) or b"dockerd" in text:
                services.findings.append(unseen(path, f"EnvironmentFile {shown(value[:200])}: {_AT_RUN_TIME}"))
        else:
            yield from host.matches(value, _FILES)


def _rancher(host: Host) -> Iterator[bytes]:
    for settings in _RANCHER:
        yield settings
        beside = settings + b".d"  # k3s pkg/configfilearg/parser.go dotDFiles
        reached = host.folder(beside)
        for name in sorted(names(reached, _FILES)) if reached else ():
            if name.lower().endswith((b".yaml", b".yml")):
                yield beside + b"/" + name


def _files(host: Host) -> Iterator[tuple[bytes, bool]]:
    """(file, whether it is an engine's by the unit that it belongs to, whatever its text)."""
    yield from ((path, False) for path in (*_OPTIONS, *_rancher(host)))
    seen: set[bytes | None] = set()
    for folder in _UNITS:
        reached = host.folder(folder)
        if reached in seen:  # /lib is a link to /usr/lib on most hosts
            continue
        seen.add(reached)
        for name in sorted(names(reached, _FILES)) if reached else ():
            if name.endswith(b".service"):
                yield folder + b"/" + name, _DOCKER_UNIT.search(b"/" + name) is not None
            elif name.endswith(b".service.d") or name == b"service.d":  # of every service
                drop_in = host.folder(folder + b"/" + name)
                for part in sorted(names(drop_in, _FILES)) if drop_in else ():
                    if part.endswith(b".conf"):
                        yield folder + b"/" + name + b"/" + part, bool(_NAMES.search(name)) or name == b"service.d"

"""Where containerd's config.toml, dockerd's daemon.json and buildkitd's buildkitd.toml put storage.

Sources: containerd cmd/containerd/server/config/config.go (v2.1: ``LoadConfig``, ``resolveImports``, ``mergeConfig``),
plugins/snapshots/overlay/plugin/plugin.go (``root_path``); moby daemon/config/config.go (v28: ``data-root``,
``graph``); buildkit cmd/buildkitd/config/config.go (v0.34: ``root``).
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from drydock.evidence.files.regular import read_regular
from drydock.evidence.host.filesystem import Host, has_pattern
from drydock.model import messages
from drydock.model.findings import Finding, Place
from drydock.model.messages import Text
from drydock.model.names import RawPath
from drydock.model.text import shown

_LARGEST = 1 << 20
_IMPORTS = 64
"""The most files that are read, and the most entries that are followed."""
_NAMES = 4096
_SNAPSHOTTER = "io.containerd.snapshotter.v1."


@dataclass(slots=True)
class ContainerdConfig:
    """The settings of an effective config.toml that matter for storage; paths are absolute in its host."""

    root: RawPath | None = None
    state: RawPath | None = None
    snapshotters: dict[bytes, RawPath] = field(default_factory=dict)
    """``root_path`` by snapshotter, for those with one."""
    is_toml: bool = False
    """Whether the file itself exists and is TOML."""
    findings: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class DockerConfig:
    """The settings of a daemon.json that matter for storage; paths are absolute in its host."""

    data_root: RawPath | None = None
    exec_root: RawPath | None = None
    is_there: bool = False
    """Whether the file itself exists."""
    features: dict[str, bool] = field(default_factory=dict)
    storage_driver: bytes | None = None
    is_remapped: bool = False
    """Whether ``userns-remap`` is set."""
    findings: list[Finding] = field(default_factory=list)


def read_containerd_config(host: Host, path: bytes) -> ContainerdConfig:
    """Read ``path`` and the files that it imports; values of a later file win, as containerd merges them.

    Args:
        host: the host that has the file.
        path: absolute in that host. A missing file sets nothing.

    Returns:
        The settings, with a finding for each file that could not be read or followed.
    """
    config = ContainerdConfig()
    waiting, seen, followed = [RawPath(path)], set[bytes](), set[bytes]()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        if len(seen) >= _IMPORTS:
            config.findings.append(
                unseen(name, messages.TOO_MANY_SETTINGS(file=name, limit=_IMPORTS, what="imported files"))
            )
            break
        seen.add(name)
        document = _toml(host, name, config.findings)
        if document is None:
            continue
        config.is_toml = config.is_toml or name == path
        config.root = _path(document.get("root"), name, config.findings) or config.root
        config.state = _path(document.get("state"), name, config.findings) or config.state
        plugins = document.get("plugins")
        for plugin, settings in plugins.items() if isinstance(plugins, dict) else ():
            # Version 1 names plugins by their id alone, later versions by type and id.
            if isinstance(settings, dict) and (not plugin.startswith("io.") or plugin.startswith(_SNAPSHOTTER)):
                where = _path(settings.get("root_path"), name, config.findings)
                if where is not None:
                    config.snapshotters[plugin.removeprefix(_SNAPSHOTTER).encode()] = where
        waiting.extend(_imports(host, name, document.get("imports"), followed, config.findings))
    return config


def read_docker_config(host: Host, path: bytes) -> DockerConfig:
    """Read a daemon.json.

    Args:
        host: the host that has the file.
        path: absolute in that host. A missing file sets nothing.

    Returns:
        The settings, with a finding if the file could not be read.
    """
    config = DockerConfig(is_there=True)
    try:
        raw = read_regular(host.reach(path), _LARGEST)
        import json  # noqa: PLC0415 - a host without Docker must not pay for it

        document: Any = json.loads(raw) if raw.strip() else {}
    except (FileNotFoundError, NotADirectoryError):
        config.is_there = False
        if why := host.hidden_reason(path):
            config.findings.append(unseen(path, messages.SETTING_OUT_OF_REACH(file=path, problem=why)))
        return config
    except (OSError, ValueError, RecursionError) as error:
        config.findings.append(unseen(path, messages.UNREADABLE_SETTINGS(file=path, problem=_why(error))))
        return config
    if not isinstance(document, dict):
        config.findings.append(unseen(path, messages.SETTINGS_NOT_JSON(file=path)))
        return config
    for key in ("data-root", "graph"):  # "graph" is its name before Docker 17.05
        config.data_root = config.data_root or _path(document.get(key), path, config.findings)
    config.exec_root = _path(document.get("exec-root"), path, config.findings)
    features = document.get("features")
    if isinstance(features, dict):  # dockerd does not start if a value is no boolean
        config.features = {name: value for name, value in features.items() if isinstance(value, bool)}
    driver = document.get("storage-driver")
    config.storage_driver = driver.encode("utf-8", "surrogatepass") if isinstance(driver, str) and driver else None
    config.is_remapped = bool(document.get("userns-remap"))
    return config


def read_buildkit_config(host: Host, path: bytes, findings: list[Finding]) -> RawPath | None:
    """The root that a buildkitd.toml names, absolute in its host; None if it names none, or is missing.

    Args:
        host: the host that has the file.
        path: absolute in that host.
        findings: gets a finding if the file could not be read.
    """
    document = _toml(host, RawPath(path), findings)
    return None if document is None else _path(document.get("root"), path, findings)


def _toml(host: Host, path: RawPath, findings: list[Finding]) -> dict[str, Any] | None:
    try:
        raw = read_regular(host.reach(path), _LARGEST)
        # A host without such a file must not pay for the parser.
        if sys.version_info >= (3, 11):
            import tomllib  # noqa: PLC0415 - the same
        else:
            import tomli as tomllib  # noqa: PLC0415 - the same
        document: dict[str, Any] = tomllib.loads(raw.decode())
    except (FileNotFoundError, NotADirectoryError):
        if why := host.hidden_reason(path):
            findings.append(unseen(path, messages.SETTING_OUT_OF_REACH(file=path, problem=why)))
        return None
    except (OSError, ValueError, RecursionError) as error:  # tomllib's and UTF-8's errors are ValueErrors
        findings.append(unseen(path, messages.UNREADABLE_SETTINGS(file=path, problem=_why(error))))
        return None
    return document


def _imports(
    host: Host, importer: RawPath, value: object, followed: set[bytes], findings: list[Finding]
) -> Iterator[RawPath]:
    """The files that an ``imports`` list names, relative to the importing file; the last name may be a pattern.

    Entries in ``followed`` are skipped, and new ones are added to it.
    """
    for entry in value if isinstance(value, list) else ():
        is_path = isinstance(entry, str) and "\0" not in entry
        # normpath keeps two leading slashes, as POSIX allows; they mean nothing here.
        path = posixpath.normpath(posixpath.join(posixpath.dirname(importer), entry.encode())) if is_path else b""
        if path in followed:
            continue
        if len(followed) >= _IMPORTS:
            text = messages.TOO_MANY_SETTINGS(file=importer, limit=_IMPORTS, what="imports")
            findings.append(unseen(importer, text))
            return
        followed.add(path)
        if not is_path:
            findings.append(unseen(importer, messages.IMPORT_NOT_A_PATH(file=importer)))
        elif has_pattern(posixpath.dirname(path)):
            findings.append(unseen(importer, messages.IMPORT_WITH_PATTERN(file=importer, path=entry.encode())))
        else:
            yield from host.matches(path, _NAMES)


def _path(value: object, file: bytes, findings: list[Finding]) -> RawPath | None:
    """The value of a setting as an absolute path; None if it sets nothing, or is no such path."""
    if value is None or value == "":
        return None
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""
    if not raw.startswith(b"/") or b"\0" in raw or b"$" in raw:
        findings.append(unseen(file, messages.NOT_ABSOLUTE(file=file, setting=raw[:200] or "a value")))
        return None
    return RawPath(raw)


def _why(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return shown(text.encode("utf-8", "surrogateescape"))[:200] or type(error).__name__


def unseen(file: bytes, text: Text) -> Finding:
    """The finding that a setting could not be read, though it may name a root."""
    return text.at(Place(RawPath(file)))

"""Reads Docker's plugins of a data root: ``plugins/<id>/config.json`` and the blobs in ``plugins/storage``.

What is below ``rootfs`` and ``propagated-mount`` is a plugin's, and is not looked at. The content store has no meta.db:
the plugins' own records say which blobs are in use. Source: moby plugin/manager.go, plugin/v2/plugin.go (v28.5).
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any, Final

from drydock.evidence.files.directory import fingerprint, folder, names
from drydock.evidence.files.regular import read_regular
from drydock.evidence.files.sizes import Measure
from drydock.model import messages
from drydock.model.findings import Place
from drydock.model.names import Digest, RawPath, is_container_id, is_digest
from drydock.model.plugin_store import Plugin, PluginEntry, PluginStore

_TOP: Final = b"plugins"
_CONFIG: Final = b"config.json"
_LARGEST: Final = 8 << 20
_REMOVING: Final = b"-removing"
_OLD: Final = b"rootfs-old"
"""What an upgrade leaves that could not remove it (moby plugin/manager_linux.go upgradePlugin, v28.5)."""
_UNPACKING: Final = b".rootfs"
_BLOCK: Final = 512


def read_plugins(data: RawPath, measure: Measure) -> PluginStore | None:
    """Read the plugins of a data root; None if it has no folder for them.

    Args:
        data: absolute path of the data root.
        measure: counts the blocks of what was left.
    """
    store = PluginStore(data)
    try:
        with folder(data, _TOP) as descriptor:
            listed = names(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        _note(store, _TOP, error)
        return store
    for name in listed:
        if is_container_id(name):  # 64 hexadecimal digits too
            store.plugins[name] = _plugin(store, name)
            _entries(store, (_TOP, name), measure, lambda each: each == _OLD)
        elif is_container_id(name.removesuffix(_REMOVING)):
            _entries(store, (_TOP,), measure, name.__eq__)
    _entries(store, (_TOP, b"tmp"), measure, lambda each: each.startswith(_UNPACKING))
    _entries(store, (_TOP, b"storage", b"ingest"), measure, lambda _: True)
    _entries(store, (_TOP, b"storage", b"blobs", b"sha256"), measure, is_container_id, is_blob=True)
    return store


def _plugin(store: PluginStore, name: bytes) -> Plugin:
    path = RawPath(os.path.join(store.data, _TOP, name, _CONFIG))
    try:
        with folder(store.data, _TOP, name) as descriptor:
            found: Any = json.loads(read_regular(_CONFIG, _LARGEST, descriptor))
        blobs = tuple(_digests([found["Config"], *(found["Blobsums"] or ())]))
        manifest = next(_digests([found["Manifest"]]), None) if found.get("Manifest") else None
        called = found["plugin"]["Name"].encode("utf-8", "surrogatepass")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else "it is not what dockerd writes"
        store.findings.append(messages.UNREADABLE_PLUGIN(path=path, problem=problem).at(Place(path), name))
        return Plugin(name, b"", is_known=False)
    return Plugin(name, called, blobs, manifest)


def _digests(found: list[Any]) -> Iterator[Digest]:
    """The digests in a list.

    Raises:
        ValueError: one is none.
    """
    for each in found:
        raw = each.encode("utf-8", "surrogatepass") if isinstance(each, str) else b""
        if not is_digest(raw):
            raise ValueError("no digest")
        yield Digest(raw)


def _entries(
    store: PluginStore,
    parts: tuple[bytes, ...],
    measure: Measure,
    wanted: Callable[[bytes], bool],
    *,
    is_blob: bool = False,
) -> None:
    try:
        with folder(store.data, *parts) as descriptor:
            for name in filter(wanted, names(descriptor)):
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                is_folder = stat.S_ISDIR(found.st_mode)
                size = measure.folder(name, descriptor).allocated if is_folder else found.st_blocks * _BLOCK
                path, called = RawPath(b"/".join((*parts, name))), b"sha256:" + name if is_blob else name
                store.entries.append(PluginEntry(called, path, fingerprint(found), size, is_blob))
    except FileNotFoundError:  # it is not there, or it went meanwhile
        return
    except OSError as error:
        _note(store, b"/".join(parts), error)


def _note(store: PluginStore, path: bytes, error: OSError) -> None:
    whole = RawPath(os.path.join(store.data, path))
    store.complete = False
    problem = error.strerror or str(error)
    store.findings.append(messages.UNREADABLE(path=whole, problem=problem).at(Place(whole)))

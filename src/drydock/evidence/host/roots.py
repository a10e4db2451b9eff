"""Where roots lie: on this host, below the root of a mounted one, in a Docker data root, or given directly.

A root is that of a containerd, or the folder of a BuildKit worker that runs builds itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from drydock.evidence.host.filesystem import Host, is_folder
from drydock.evidence.host.layout import (
    distinct_roots,
    find_layout,
    is_data_root,
    links_to_remapped,
    managed_roots,
    nested_roots,
    with_layer_stores,
    with_remapped,
    worker_roots,
)
from drydock.evidence.host.survey import Survey
from drydock.model.errors import EvidenceUnreadable
from drydock.model.names import RawPath
from drydock.model.roots import Engine, Root
from drydock.model.text import shown


def discover(where: RawPath | None, *, data_roots: bool = False) -> list[Root]:
    """The roots of a place.

    Args:
        where: a containerd root, a BuildKit root or one of its workers, a Docker data root, or the root of a mounted
            host file system; None: this host.
        data_roots: find also the Docker data roots that no containerd root belongs to.

    Returns:
        Each root once, by device and inode; none if a host has no root.

    Raises:
        EvidenceUnreadable: ``where`` is none of these, or no root was found and a setting that may name one could not
            be read.
    """
    if where is None:
        return _discover_host(Host(), data_roots=data_roots)
    path = RawPath(os.path.realpath(where))
    try:
        os.lstat(path)
    except FileNotFoundError as error:
        raise EvidenceUnreadable(f"{shown(where)}: no such folder") from error
    except PermissionError as error:
        raise EvidenceUnreadable(f"{shown(where)}: permission denied (run as root)") from error
    except OSError as error:
        raise EvidenceUnreadable(f"{shown(where)}: {error.strerror}") from error
    if not is_folder(path):
        raise EvidenceUnreadable(f"{shown(where)}: not a folder")
    if not os.access(path, os.R_OK | os.X_OK):
        raise EvidenceUnreadable(f"{shown(where)}: permission denied (run as root)")
    if find_layout(path) is not None:
        return [_known_root(path)]
    if workers := worker_roots(path, RawPath(b"/")):
        return [_known_root(each.path) for each in workers]
    host = Host(path)
    if _is_host(host):
        return _discover_host(host, data_roots=data_roots)
    if is_data_root(path) or managed_roots(host, path):
        return _below_data_root(path, data_roots=data_roots)
    if host.folder(b"/etc") or host.folder(b"/var/lib"):
        return _discover_host(host, data_roots=data_roots)
    raise EvidenceUnreadable(f"{shown(where)}: {_what_else(path)}")


def _discover_host(host: Host, *, data_roots: bool) -> list[Root]:
    survey = Survey(host)
    found = survey.roots()
    if data_roots:
        found += survey.data_roots(found)
    found = with_layer_stores(found)
    if not found and survey.closed:
        raise EvidenceUnreadable(f"{shown(survey.closed[0])}: permission denied (run as root)")
    if not found and survey.findings:
        raise EvidenceUnreadable(f"no containerd root found, and {survey.findings[0].message}")
    return found


def _known_root(path: RawPath) -> Root:
    """The root ``path`` with its owners and settings, from the nearest host above; or else by its place alone."""
    for host in _hosts_above(path):
        for root in with_layer_stores(Survey(host).roots()):
            if os.path.samefile(root.path, path):
                return root._replace(path=path)
    for up in (1, 2):  # <data-root>/containerd/daemon, and <data-root>/containerd
        data = RawPath(b"/".join(path.split(b"/")[:-up]) or b"/")
        managed = managed_roots(Host(data), data)
        if path in managed and is_data_root(data):
            owners, has_links = with_remapped(data), bool(links_to_remapped(data))
            found = [Root(each, Engine.DOCKER, docker=owners, docker_known=not has_links) for each in managed]
            return with_layer_stores(found)[managed.index(path)]
    layout = find_layout(path)
    if layout is not None and layout.worker:
        return Root(path, Engine.BUILDKIT, layout=layout, buildkit=(RawPath(os.path.dirname(path)),))
    return Root(path, Engine.CONTAINERD)


def _below_data_root(path: RawPath, *, data_roots: bool) -> list[Root]:
    known = [root for host in _hosts_above(path) for root in Survey(host).roots()]
    below = [root for root in known if root.path.startswith(path + b"/")]
    host = Host(path)
    owners, has_links = with_remapped(path), bool(links_to_remapped(path))
    alone = [Root(each, Engine.DOCKER, docker=owners, docker_known=not has_links) for each in managed_roots(host, path)]
    found = distinct_roots([*below, *alone, *nested_roots(host, path, RawPath(b"/"))])
    if data_roots and owners and not any(path in root.docker for root in found):
        found.insert(0, Root(path, Engine.DOCKER, docker=owners, docker_known=not has_links, has_containerd=False))
    if not found:
        other = next((root for root in known if path in root.docker), None)
        hint = f"; {shown(other.path)} holds it: give that" if other else ""
        raise EvidenceUnreadable(
            f"{shown(path)}: no containerd storage below it, though it looks like a Docker data root{hint}"
        )
    return with_layer_stores(found)


def _hosts_above(path: RawPath) -> Iterator[Host]:
    """The hosts that ``path`` may belong to, the nearest first."""
    parts = path.split(b"/")
    for end in range(len(parts) - 1, 0, -1):
        host = Host(RawPath(b"/".join(parts[:end]) or b"/"))
        if _is_host(host):
            yield host


def _is_host(host: Host) -> bool:
    return host.folder(b"/etc") is not None and host.folder(b"/var/lib") is not None


def _what_else(path: RawPath) -> str:
    if os.path.lexists(path + b"/containerdmeta.db"):
        return "the storage of a BuildKit worker under another name: a worker's folder is called runc-SNAPSHOTTER"
    if os.path.lexists(path + b"/meta.db") or is_folder(path + b"/blobs"):
        return "part of a containerd root: give the folder that holds io.containerd.metadata.v1.bolt"
    return "neither a containerd root, nor a Docker data root, nor the root of a host file system"

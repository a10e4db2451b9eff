"""The calls of containerd's API that ctr has no command for, made with curl: gRPC is HTTP/2 with a frame around it.

Field numbers: containerd api/services/leases/v1/leases.proto and api/services/content/v1/content.proto, v1.6.
"""

from __future__ import annotations

import re
import shutil
import struct

from tests.engines.containerd import Containerd
from tests.engines.unavailable import EngineUnavailable

_WRITE = 1


def hold(engine: Containerd, namespace: str, lease: str, kind: str, name: str) -> None:
    """Add a resource to a lease: ``kind`` is ``content``, ``ingests`` or ``snapshots/<snapshotter>``."""
    resource = _text(1, name) + _text(2, kind)
    _call(engine, namespace, "leases.v1.Leases/AddResource", _text(1, lease) + _bytes(2, resource))


def open_ingest(
    engine: Containerd, namespace: str, ref: str, data: bytes, *, total: int, lease: str | None = None
) -> None:
    """Begin to write content and go away before the end. Without a lease it expires in 24 h."""
    message = _number(1, _WRITE) + _text(2, ref) + _number(3, total) + _bytes(6, data)
    _call(engine, namespace, "content.v1.Content/Write", message, lease=lease)


def share_ingest(engine: Containerd, namespace: str, ref: str, digest: str, *, total: int) -> None:
    """Begin to write content that another namespace has: recorded as expected, with no data of its own."""
    message = _text(2, ref) + _number(3, total) + _text(4, digest)
    _call(engine, namespace, "content.v1.Content/Write", message)


def _call(engine: Containerd, namespace: str, method: str, message: bytes, *, lease: str | None = None) -> None:
    if shutil.which("curl") is None:
        raise EngineUnavailable("curl is not installed")
    headers = ["content-type: application/grpc", "te: trailers", f"containerd-namespace: {namespace}"]
    if lease is not None:
        headers.append(f"containerd-lease: {lease}")
    said = engine.sandbox.run(
        "curl", "-sS", "--http2-prior-knowledge", "--unix-socket", engine.socket,
        *(word for header in headers for word in ("-H", header)),
        "--data-binary", "@-", "-D", "-", "-o", "/dev/null", f"http://containerd/containerd.services.{method}",
        stdin=struct.pack(">BI", 0, len(message)) + message,
    ).stdout.decode()  # fmt: skip
    if not re.search(r"(?m)^grpc-status: 0\s*$", said):
        raise RuntimeError(f"{method}: {said.strip()}")


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

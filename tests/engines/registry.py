"""A registry that can stop in the middle of a blob, at a byte given beforehand: how pulls are interrupted here."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING

from tests.engines.images import Blob, Image

if TYPE_CHECKING:
    from typing_extensions import Self

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)")
_HELD_TIMEOUT = 120.0


class Registry:
    """Serves images on a listening socket (of a sandbox), as a context manager.

    Args:
        listener: from :meth:`tests.engines.sandbox.Sandbox.listen`.
        images: by ``repository:tag``.
    """

    def __init__(self, listener: socket.socket, images: Mapping[str, Image]) -> None:
        self._tags = {name: image.manifest for name, image in images.items()}
        self._blobs = {blob.digest: blob for image in images.values() for blob in image.blobs}
        self._holds: dict[str, int] = {}
        self.held = threading.Event()
        """Set once a held blob has been served up to its limit."""
        self._release = threading.Event()
        self._server = ThreadingHTTPServer(("", 0), self._handler(), bind_and_activate=False)
        self._server.daemon_threads = True
        # block_on_close would wait for connections that an interrupted client left open.
        self._server.block_on_close = False
        self._server.socket.close()
        self._server.socket = listener
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        """What goes before a repository's name."""
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def hold(self, blob: Blob, after: int) -> None:
        """Serve only the first ``after`` bytes of ``blob`` and then nothing, the connection open."""
        self._holds[blob.digest] = after

    def _find(self, name: str, kind: str, reference: str) -> Blob | None:
        if kind == "manifests" and not reference.startswith("sha256:"):
            return self._tags.get(f"{name}:{reference}")
        return self._blobs.get(reference)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                # Docker tries TLS first, and falls back when the answer begins like HTTP/1.
                if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
                    self.wfile.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                    return
                super().handle()

            def do_GET(self) -> None:
                self._serve(body=True)

            def do_HEAD(self) -> None:
                self._serve(body=False)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Say nothing."""

            def _serve(self, *, body: bool) -> None:
                if self.path == "/v2/":
                    self._head(200, 0, "application/json")
                    return
                match = _PATH.fullmatch(self.path.partition("?")[0])
                blob = registry._find(**match.groupdict()) if match else None
                if blob is None:
                    self._head(404, 0, "application/json")
                    return
                start = 0
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                if asked and 0 < int(asked[1]) < len(blob.data):
                    start = int(asked[1])
                self._head(206 if start else 200, len(blob.data) - start, blob.media_type, blob.digest, start)
                if body:
                    self._send(blob, start)

            def _head(self, status: int, length: int, media: str, digest: str = "", start: int = 0) -> None:
                self.send_response(status)
                self.send_header("Content-Type", media)
                self.send_header("Content-Length", str(length))
                self.send_header("Accept-Ranges", "bytes")
                if digest:
                    self.send_header("Docker-Content-Digest", digest)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{start + length - 1}/{start + length}")
                self.end_headers()

            def _send(self, blob: Blob, start: int) -> None:
                limit = registry._holds.get(blob.digest, len(blob.data))
                try:
                    self.wfile.write(blob.data[start:limit])
                    self.wfile.flush()
                    if limit < len(blob.data):
                        registry.held.set()
                        registry._release.wait(_HELD_TIMEOUT)
                        self.close_connection = True
                except OSError:
                    # The client went away: that is what an interrupted pull looks like from here.
                    self.close_connection = True

        return Handler

"""A layer as a stream without its compression: gzip, zstd or none, recognised by its first bytes as in containerd.

Sources: containerd pkg/archive/compression/compression.go (DetectCompression, v2.1); RFC 8878, 3.1 (zstd frames).
Anybody may have written the layer, so memory is bounded by one window, whatever the layer unpacks to.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable
from typing import IO, Any, Final, cast

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_SKIPPABLE: Final = range(0x184D2A50, 0x184D2A60)
_SINGLE_SEGMENT: Final = 0x20
_WINDOW_LOG: Final = 27
"""128 MiB, the limit of the zstd command; encoders of images use 8 MiB or less."""
_MIB: Final = 1 << 20
_LONGEST_HEAD: Final = 18
"""Size of the longest header of a zstd frame, in bytes."""


class UnreadableLayer(Exception):
    """The layer cannot be read, so nothing can be compared with it; the message is one shown line."""


class NotCompared(UnreadableLayer):
    """The layer may be intact, and still cannot be compared here.

    Args:
        why: one shown line.
        remedy: a command after which it can be compared, if there is one.
    """

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(why)
        self.remedy = remedy


class NoDecoder(NotCompared):
    """No decoder here reads its compression."""


class ReadStopped(Exception):
    """The caller of a reader ended it."""


class LayerStream:
    """The bytes of a layer, decompressed.

    Args:
        blob: the layer as it is stored, at its beginning.
        stop: called before each read, which ends the stream once it returns true, however much a blob unpacks to.

    Raises:
        NoDecoder: no decoder here reads it.
    """

    def __init__(self, blob: io.BufferedReader[io.RawIOBase], stop: Callable[[], bool]) -> None:
        self._stop = stop
        self._errors: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
        head = blob.peek(_LONGEST_HEAD)[:_LONGEST_HEAD]
        if head.startswith(_GZIP):
            self._stream = cast("IO[bytes]", gzip.GzipFile(fileobj=blob))
        elif head.startswith(_ZSTD) or int.from_bytes(head[:4], "little") in _SKIPPABLE:
            zstd = _zstd()
            _check_window(head)
            self._errors += (zstd.ZstdError,)
            limit = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
            self._stream = cast("IO[bytes]", zstd.ZstdFile(blob, options=limit))
        else:
            self._stream = cast("IO[bytes]", blob)

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes; none at the end.

        Raises:
            ReadStopped: ``stop`` returned true.
            UnreadableLayer: it cannot be decompressed.
        """
        if self._stop():
            raise ReadStopped
        try:
            return self._stream.read(size)
        except self._errors as error:
            raise UnreadableLayer(f"its layer cannot be decompressed ({type(error).__name__})") from error


def _zstd() -> Any:  # noqa: ANN401 - one of two modules with the same interface
    """The module of Python 3.14, or its backport as a library."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415 - few layers need it
        else:
            from backports import zstd  # noqa: PLC0415 - the same
    except ImportError:
        raise NoDecoder(
            "its layer is compressed with zstd, and this Python has no module that reads it",
            "pip install 'containerd-drydock[zstd]'",
        ) from None
    return zstd


def _check_window(head: bytes) -> None:
    """Refuse a frame that needs too much memory: the error of the decoder does not tell this from damage."""
    if not head.startswith(_ZSTD) or len(head) < _LONGEST_HEAD:
        return
    descriptor = head[4]
    if descriptor & _SINGLE_SEGMENT:
        # The window is the whole content, whose size follows the number of the dictionary.
        begin = 5 + (0, 1, 2, 4)[descriptor & 3]
        length = 1 << (descriptor >> 6)
        window = int.from_bytes(head[begin : begin + length], "little")
    else:
        window = (8 + (head[5] & 7)) << (7 + (head[5] >> 3))
    if window > 1 << _WINDOW_LOG:
        raise NoDecoder(
            f"its layer is compressed with zstd and a window of {window // _MIB} MiB; "
            f"drydock decodes up to {(1 << _WINDOW_LOG) // _MIB} MiB"
        )

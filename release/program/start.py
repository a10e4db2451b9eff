"""What the executable runs first: imports from its own memory, then drydock.

Frozen into it as ``_drydock_start``. The archive is the length of its index (8 bytes, little-endian), the index, by
marshal (path: place, compressed bytes; places count from the index's end), and what it lists, each compressed by zlib.
"""

import marshal
import sys
import zlib

# The package importlib is in the archive itself.
from _frozen_importlib import ModuleSpec
from posix import _exit, write

import _drydock_archive

_LENGTH = 8
_UNREADABLE = 8
_FAULT = 64

_data = _drydock_archive.data
_begin = _LENGTH + int.from_bytes(_data[:_LENGTH], "little")
_index = marshal.loads(_data[_LENGTH:_begin])


def _read(path):
    place, size = _index[path]
    return zlib.decompress(_data[_begin + place : _begin + place + size])


class _Importer:
    """Finds and loads the modules of the archive; a spec's state is its path there."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # noqa: ARG004 - as importlib calls it
        """The module's specification, or None where the archive has no such module."""
        base = name.replace(".", "/")
        for member, is_package in ((f"{base}.pyc", False), (f"{base}/__init__.pyc", True)):
            if member in _index:
                return ModuleSpec(
                    name, _Importer, origin=f"drydock:{member}", loader_state=member, is_package=is_package
                )
        return None

    @staticmethod
    def create_module(spec):
        """None: Python makes it."""

    @staticmethod
    def exec_module(module):
        """Run its code."""
        exec(marshal.loads(_read(module.__spec__.loader_state)), module.__dict__)

    @staticmethod
    def get_code(name):
        """Its code, for ``runpy`` and tools that ask."""
        return marshal.loads(_read(_Importer.find_spec(name).loader_state))

    @staticmethod
    def get_source(name):
        """None: the archive holds no sources."""

    @staticmethod
    def get_resource_reader(name):
        """What gives a package's data files to ``importlib.resources``."""
        return _Reader(name.replace(".", "/"))


class _Reader:
    def __init__(self, folder):
        self._folder = folder

    def files(self):
        return _Place(self._folder)


class _Place:
    """A file or folder of the archive: what ``importlib.resources`` calls a Traversable."""

    def __init__(self, path):
        self._path = path
        self.name = path.rpartition("/")[2]

    def __str__(self):
        return f"drydock:{self._path}"

    def joinpath(self, *parts):
        return _Place("/".join((self._path, *parts)))

    __truediv__ = joinpath

    def is_file(self):
        return self._path in _index

    def is_dir(self):
        return any(path.startswith(self._path + "/") for path in _index)

    def iterdir(self):
        begin = self._path + "/"
        for name in sorted({path[len(begin) :].partition("/")[0] for path in _index if path.startswith(begin)}):
            yield _Place(begin + name)

    def read_bytes(self):
        if self._path not in _index:
            raise FileNotFoundError(str(self))
        return _read(self._path)

    def read_text(self, encoding="utf-8", errors="strict"):
        return self.read_bytes().decode(encoding, errors)

    def open(self, mode="r", *arguments, **options):
        import io

        stream = io.BytesIO(self.read_bytes())
        return stream if "b" in mode else io.TextIOWrapper(stream, *arguments, **options)


def run():
    """Run drydock; Python's own status for what is not caught, 1, would say that something can be freed."""
    # Nothing is ever imported from the host.
    sys.meta_path[:] = [*sys.meta_path[:2], _Importer]
    try:
        from drydock.__main__ import main

        main()
    except MemoryError:
        # Not print, and no orderly end: both need memory.
        write(2, b"drydock: not enough memory to start\n")
        _exit(_UNREADABLE)
    except Exception as error:  # noqa: BLE001 - the last line of defence of the exit status
        print(f"drydock: this is a fault of the one file: {error!r}", file=sys.stderr)
        sys.exit(_FAULT)

"""Compile what goes into the executable; runs on the Python that is built in, for only that knows its own bytecode.

Usage: compile.py STAGE LIBRARY OUT: STAGE holds the packages, LIBRARY is Python's Lib. Makes in OUT ``archive`` (its
format is in start.py), ``frozen.h`` and ``contents.json``.
"""

import _imp
import json
import marshal
import sys
import zlib
from modulefinder import ModuleFinder
from pathlib import Path

_FROZEN = {
    "encodings": "encodings/__init__.py",
    "encodings.aliases": "encodings/aliases.py",
    "encodings.utf_8": "encodings/utf_8.py",
}
"""What Python imports before anything of the archive can be."""
_UNUSED = [
    # Of other systems, and of programs that start, serve or ask others.
    "_aix_support", "_android_support", "_apple_support", "_ios_support", "_osx_support", "_pydecimal", "_pyrepl",
    "asyncio.windows_events", "asyncio.windows_utils", "bz2", "cProfile", "compression", "concurrent.futures.process",
    "ctypes.macholib", "ctypes.util",
    "curses", "dbm", "doctest", "email", "ftplib", "getpass", "http", "idlelib", "lzma",
    "multiprocessing", "nturl2path", "optparse", "profile", "pydoc", "smtplib", "ssl", "tkinter", "unittest",
    "urllib.error", "urllib.request", "webbrowser", "xml", "xmlrpc", "zipfile",
    # Of other packages; the extra "fleet" is not in the one file.
    "IPython", "attr", "attrs", "cloudpickle", "cryptography", "duckdb", "ipywidgets", "lz4", "markdown_it", "numpy",
    "pandas", "pyarrow", "pygments", "ruamel", "textual_dev", "tomli", "tomli_w", "tree_sitter", "yaml",
]  # fmt: skip
"""What something names that drydock never comes to."""
_ALWAYS = (
    "_strptime", "encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.raw_unicode_escape",
    "encodings.unicode_escape", "encodings.utf_16", "encodings.utf_32", "encodings.utf_8_sig",
)  # fmt: skip
"""What is imported by names that are made at run time."""


def main(stage: Path, library: Path, out: Path) -> None:
    """Write the three files."""
    found = {path.relative_to(stage).as_posix(): path for path in sorted(stage.rglob("*")) if path.is_file()}
    finder = ModuleFinder([str(stage), str(library)], excludes=_UNUSED)
    for name in (*(_module(path) for path in found if path.endswith(".py")), *_ALWAYS):
        finder.import_hook(name)
    frozen_already = _imp._frozen_module_names()
    for name, module in sorted(finder.modules.items()):
        path = Path(module.__file__ or "")
        if path.suffix == ".py" and path.is_relative_to(library) and name not in frozen_already:
            found[path.relative_to(library).as_posix()] = path
    members = {}
    for name, path in sorted(found.items()):
        if name.endswith(".py"):
            members[f"{name}c"] = _compiled(path, f"drydock:{name}")
        elif not name.endswith((".typed", ".pyi")):
            members[name] = path.read_bytes()
    index, body = {}, bytearray()
    for name, data in members.items():
        compressed = zlib.compress(data, 9)
        index[name] = len(body), len(compressed)
        body += compressed
    head = marshal.dumps(index, 2)
    (out / "archive").write_bytes(len(head).to_bytes(8, "little") + head + body)
    frozen = {name: (library / path, path.endswith("__init__.py")) for name, path in _FROZEN.items()}
    frozen["_drydock_start"] = Path(__file__).with_name("start.py"), False
    (out / "frozen.h").write_text("".join(_frozen(frozen)))
    (out / "contents.json").write_text(json.dumps({name: len(data) for name, data in members.items()}, indent=1))

    print(f"compile: {len(members)} files, {sum(map(len, members.values()))} bytes, {len(body)} compressed")


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _compiled(path: Path, shown: str) -> bytes:
    code = compile(path.read_bytes(), shown, "exec", dont_inherit=True, optimize=0)
    return marshal.dumps(code)


def _frozen(modules: dict[str, tuple[Path, bool]]):
    for number, (name, (path, _)) in enumerate(modules.items()):
        data = _compiled(path, f"drydock:{name}")
        yield f"static const unsigned char frozen_{number}[] = {{{','.join(map(str, data))}}};\n"
    yield "static const struct _frozen frozen_modules[] = {\n"
    for number, (name, (_, is_package)) in enumerate(modules.items()):
        yield f'    {{"{name}", frozen_{number}, sizeof frozen_{number}, {int(is_package)}}},\n'
    yield "    {0},\n};\n"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

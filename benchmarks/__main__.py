"""All benchmarks, or those that are named; writes docs/benchmarks.md.

    python -m benchmarks [NAME...] [--quick] [--write] [--directory DIR] [--rounds N]

NAME: start, onefile, visit, second, blobs, scan, disk, data-root, digest, remove, whole, memory, compact, browse. The
full sizes take about an hour, 25 GB below DIR, and root. ``--quick`` has them a hundred times smaller: that they run,
not how fast.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "src")]

from benchmarks import browse, compact, disk, memory, onefile, removal, ruler, start, store, visit, whole  # noqa: E402 - the project's tree is found above

ALL = {
    "start": start.version,
    "onefile": onefile.one_file,
    "visit": visit.visit,
    "second": visit.second,
    "blobs": visit.scan,
    "scan": store.recorded,
    "disk": store.measured,
    "data-root": store.data_root,
    "digest": disk.digest,
    "remove": removal.remove,
    "whole": whole.whole,
    "memory": memory.memory,
    "compact": compact.compact,
    "browse": browse.keys,
}


def main() -> None:
    """Run, print, and with --write put into the docs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--quick", action="store_true", help="small sizes: a smoke test")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--directory", type=Path, help="where roots are built, and kept for another run")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed")
    options = parser.parse_args()
    if unknown := set(options.names) - set(ALL):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="drydock-benchmarks-") as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        for name in options.names or ALL:
            where = ruler.machine()
            # The peak of a process is at least what the one that started it had (Linux fs/exec.c, exec_mmap): after
            # other benchmarks that is more than a scan takes.
            with ProcessPoolExecutor(1) as alone:
                run = alone.submit(ALL[name], directory, quick=options.quick, rounds=options.rounds)
                title, lines = run.result()
            command = f"python -m benchmarks {name} --rounds {options.rounds}{' --quick' * options.quick}"
            section = "\n".join([f"## {title}", "", f"`{command}`: {where}.", "", *lines])
            print(section, flush=True)
            print(flush=True)
            if options.write:
                ruler.write(name, section)


if __name__ == "__main__":
    main()

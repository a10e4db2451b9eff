"""``python -m fuzz TARGET [SECONDS]``: look for inputs that break a target, from its seeds and its corpus on.

What is found new goes to ``build/fuzz/TARGET``; an input that breaks something to ``build/fuzz/TARGET-broken-…``, with
the exception. Needs atheris (``pip install --group fuzz``).
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path

from fuzz.mutate import mutate

TARGETS = ("bolt_reader", "records", "rows", "surgery", "salvage", "plan", "layer", "erofs", "documents")
_HEADS = {"surgery": 2}
_MOST_BYTES = 16384
CORPUS = Path(__file__).parent / "corpus"


def run(target: str, seconds: int) -> None:
    """Fuzz one target; does not return."""
    import atheris  # noqa: PLC0415 - where only a corpus is replayed, it is not installed

    with atheris.instrument_imports(include=["bbolt_reader", "bbolt_surgery", "drydock"]):
        module = importlib.import_module(f"fuzz.{target}")
    found = Path("build/fuzz") / target
    found.mkdir(parents=True, exist_ok=True)
    for seed in module.seeds():
        (found / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={_MOST_BYTES}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        f"-artifact_prefix={found}-broken-",
        "-print_final_stats=1",
    ]
    folders = [str(found), *(str(each) for each in [CORPUS / target] if each.is_dir())]
    head = _HEADS.get(target, 0)

    def mutation(data: bytes, most: int, seed: int) -> bytes:
        if hasattr(module, "mutation"):
            return bytes(module.mutation(data, most, seed, atheris.Mutate))
        return mutate(data, most, seed, atheris.Mutate, head=head)

    custom = {} if target == "plan" else {"custom_mutator": mutation}
    atheris.Setup([sys.argv[0], *options, *folders], module.one, **custom)
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m fuzz {'|'.join(TARGETS)} [SECONDS]")
    run(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60)

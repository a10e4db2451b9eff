"""Plan files, journals and manifests that anybody may have written: each is read as json reads it, or is refused.

An input is a letter and a text: ``p`` a plan file as it is, ``s`` a plan file whose hashes are made right, ``j`` a
journal, ``m`` a manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.plan_documents import EXPECT, PLAN, WHY, seal

from drydock.model.documents.journal import ManifestMember
from drydock.model.errors import DrydockError, EvidenceUnreadable, Refused
from drydock.model.names import RawPath
from drydock.model.text import unshown
from drydock.reclaim.journal import read_journal
from drydock.reclaim.plan_file import read_requests
from drydock.reclaim.quarantine_manifest import FILE, read_manifest

_LARGEST = 1 << 80
_NUMBERS = ("txid_before", "txid_after", "root_before", "sequence_before", "root_after", "sequence_after", "hwm_before",
            "hwm_after", "pages_written", "grew_by")  # fmt: skip
_REMOVAL = {"n": 2, "do": "remove", "target": "blob", "path": "b", "to": None, "bytes": 4096, "why": WHY,
            "expect": EXPECT, "after_edit": True}  # fmt: skip
_CUT = {"n": 6, "do": "cut", "data_root": "/d", "path": "l", "to": None, "keep": 2, "current": True, "bytes": 4096,
        "why": WHY, "expect": EXPECT}  # fmt: skip
_LINES: list[dict[str, Any]] = [
    {"schema": "drydock.journal/1", "tool": "0", "time": "2027-01-15T08:00:00Z", "root": "/r", "plan": "a" * 64},
    {"missing": "s/metadata.db/\\x00"},
    {"n": 1, "do": "edit", "path": "/r/meta.db", "fields": {**dict.fromkeys(_NUMBERS, 7), "backup": "/b/meta.db"}},
    {"ended": 1, "status": "done", "freed": 0, "detail": ""},
    _REMOVAL,
    {**_REMOVAL, "n": 3, "do": "move", "to": "/q/b"},
    {**_REMOVAL, "n": 4, "do": "move", "to": "/q/c", "owner": [0, 1000], "manifest": [0, 100, "b" * 64]},
    {**_REMOVAL, "n": 5, "do": "move", "to": "/q/d", "owner": None, "manifest": None},
    _CUT,
    {**_CUT, "n": 7, "to": "/q/l", "keep": 0},
    {"ended": 3, "status": "changed since the plan", "freed": 0, "detail": "size"},
    {"finished": "2027-01-15T08:00:00Z"},
    {"finished": "2027-01-15T08:00:00Z", "by": "later"},
]
_ENTRIES = [[0, "", 0o040755, 0, 0, 0, 0, ""], [1, "a\\x0a", 0o100644, 0, 1000, 3, -1, "c" * 32]]
_WORD = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+|true|false|null|[{}\[\],:\n]')
_HOSTILE = ("NaN", "1e999", "1.0", "true", "null", "9" * 400, "-1", '"\\ud800"', "[" * 2000, '{"a":' * 2000, "{}", "[]")


def seeds() -> Iterator[bytes]:
    """Sound documents, and the same with one value of them hostile, a field too many, one twice or one too few."""
    plan = json.dumps({"schema": "drydock.plan/1", "drydock": "0", "plans": [PLAN]})
    journal = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in _LINES)
    manifest = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in _ENTRIES)
    for letter, text in (("p", plan), ("s", plan), ("j", journal), ("m", manifest)):
        yield (letter + text).encode()
        for place, hostile in enumerate(_HOSTILE):
            commas = [at for at, char in enumerate(text) if char == ","]
            at = commas[place * 7 % len(commas)]
            yield f"{letter}{text[:at]},{hostile}{text[at:]}".encode()
            colons = [at for at, char in enumerate(text) if char == ":"] or commas
            at = colons[place * 11 % len(colons)]
            rest = text[at + 1 :]
            yield f"{letter}{text[: at + 1]}{hostile}{rest[rest.find(',') :]}".encode()
        yield f"{letter}{text[: len(text) // 2]}".encode()
        yield f"{letter}{text.replace('kind', 'new')}".encode()
        yield (letter + text.replace("{", '{"schema":"drydock.plan/1",')).encode()


def mutation(data: bytes, most: int, seed: int, any_mutation: Callable[[bytes, int], bytes]) -> bytes:
    """Half the time as libFuzzer does it; else some words of the text are exchanged, or made hostile."""
    choose = random.Random(seed)
    if choose.random() < 0.5:
        return any_mutation(data, most)
    for _ in range(choose.randint(1, 4)):
        words = list(_WORD.finditer(data, 1))
        if not words:
            break
        place = choose.choice(words)
        new = choose.choice(words)[0] if choose.random() < 0.5 else choose.choice(_HOSTILE).encode()
        data = data[: place.start()] + new + data[place.end() :]
    return data[:most]


def one(data: bytes) -> None:
    """Read it."""
    kind, text = data[:1], data[1:]
    if kind == b"j":
        _read_journal(text)
    elif kind == b"m":
        _read_manifest(text)
    else:
        _read_plans(_sealed(text) if kind == b"s" else text)


def _sealed(text: bytes) -> bytes:
    try:
        document = json.loads(text)
        for plan in document["plans"]:
            plan["hash"] = seal(plan)
        return json.dumps(document).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


def _read_plans(text: bytes) -> None:
    try:
        found = read_requests(text.decode("utf-8", "replace"), "plan")
    except (EvidenceUnreadable, Refused) as error:
        _is_told(error)
        return
    plans = json.loads(text.decode("utf-8", "replace"))["plans"]
    assert [plan["hash"] for plan in plans] == [seal(plan) for plan in plans]
    for each, plan in zip(found, plans, strict=True):
        assert {*PLAN, "hash"} - {"logs"} <= plan.keys() <= {*PLAN, "hash"}
        assert (each.now, each.policy.older_than) == (plan["now"], plan["policy"]["older_than"])
        assert abs(each.now) < _LARGEST
        assert b"\0" not in each.root + each.host


def _read_journal(text: bytes) -> None:
    path = Path(_folder.name, "journal.jsonl")
    path.write_bytes(text)
    path.chmod(0o600)
    try:
        found = read_journal(RawPath(os.fsencode(path)))
    except EvidenceUnreadable as error:
        _is_told(error)
        return
    lines = [json.loads(line) for line in text.split(b"\n")[:-1] if line.startswith(b"{") and _is_json(line)]
    actions = [line for line in lines if "n" in line][: len(found.entries)]
    assert [(each.number, each.do) for each in found.entries] == [(line["n"], line["do"]) for line in actions]
    for each, line in zip(found.entries, actions, strict=True):
        assert (each.to is not None) is (each.do == "move") or each.do == "cut"
        assert b"\0" not in each.path + (each.to or b"")
        if each.removal is not None:
            assert (list(each.removal.expect), each.removal.bytes) == (line["expect"], line["bytes"])
            assert max(map(abs, each.removal.expect)) < _LARGEST
        if each.cut is not None:
            assert (list(each.cut.expect), each.cut.keep) == (line["expect"], line["keep"])
            assert each.cut.keep <= each.cut.expect.size < _LARGEST


def _read_manifest(text: bytes) -> None:
    packed = zlib.compress(text, wbits=31)
    Path(_folder.name, os.fsdecode(FILE)).write_bytes(packed)
    member = ManifestMember(0, len(packed), hashlib.sha256(packed).hexdigest())
    found, problem = [], ""
    try:
        found.extend(read_manifest(RawPath(os.fsencode(_folder.name)), member))
    except OSError as error:
        problem = str(error)
    assert problem.isprintable()
    for line, read in zip(text.split(b"\n"), found, strict=False):
        values = json.loads(line)
        assert [read.depth, *read[2:]] == [values[0], *values[2:]]
        assert read.name == unshown(values[1])
        assert 0 <= min(read.uid, read.gid) <= max(read.uid, read.gid) < (1 << 32) - 1


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode()), dict)
    except (ValueError, RecursionError):
        return False


def _is_told(error: DrydockError) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 4096


_folder = tempfile.TemporaryDirectory(prefix="drydock-fuzz-")

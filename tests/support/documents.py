"""Scan documents as the command prints them, for comparison with what engines said."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Container
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner
from msgspec import Struct
from tests.support.captures import Capture
from tests.support.program import DRYDOCK, PROGRAM

from drydock.cli import main
from drydock.model.documents.common import compact
from drydock.model.documents.fleet import ReportedScan
from drydock.model.documents.scan import ScanRow
from drydock.report.rows import document_rows

_OWN_FAULT = 64
Names = dict[str, dict[str, list[str]]]


def run(*arguments: str | Path, status: int | Container[int] | None = None) -> str:
    """Run ``drydock``, in this process unless another program is to be tested, and give what it printed on stdout.

    Args:
        arguments: of the command.
        status: the exit status that it is to have, or those of which it is to have one; by default any but a fault.
    """
    expected = range(_OWN_FAULT) if status is None else (status,) if isinstance(status, int) else status
    if PROGRAM is not None:
        done = subprocess.run([*DRYDOCK, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode in expected, done.stderr
        return done.stdout
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in expected, result.output
    return result.stdout


def listed_runs(state: Path) -> list[dict[str, Any]]:
    """The runs whose journals are below ``state``: this machine may have others in the default places."""
    found: list[dict[str, Any]] = json.loads(run("runs", "--format", "json", "--state", state))["runs"]
    return [each for each in found if Path(each["journal"]).is_relative_to(state)]


def parsed(document: Struct) -> Any:
    """A document, or a part of one, as a program has it that reads its JSON."""
    return json.loads(compact.encode(document))


def rows_of(document: dict[str, Any]) -> list[ScanRow]:
    """The rows of a scan document that was read from a host's JSON."""
    return list(document_rows(msgspec.convert(document, ReportedScan)))


def scan(capture: Capture, host: Path, *options: str, status: int | None = None) -> dict[str, Any]:
    """The document of the one root of a capture, judged by the clock of the day it was taken."""
    text = run("scan", "--now", capture.taken_at, "--format", "json", *options, host, status=status)
    roots = json.loads(text)["roots"]
    assert len(roots) == 1
    assert Path(roots[0]["path"]) == host / capture.root
    return roots[0]


def recorded(root: dict[str, Any], *states: str) -> Names:
    """The recorded objects in these states (all without), per namespace and kind, named as ctr names them.

    An ingest whose folder is gone is left out: ``ctr content active`` does not list it.
    """
    kinds = {"blob": "content", "ingest": "ingests", "snapshot": "snapshots"}
    found: dict[str, dict[str, set[str]]] = {}
    for each in root["objects"]:
        if (states and each["state"] not in states) or (each["kind"] == "ingest" and each["path"] is None):
            continue
        name = f"{each['snapshotter']}/{each['id']}" if each["kind"] == "snapshot" else each["id"]
        for namespace in each["namespaces"]:
            found.setdefault(namespace, {}).setdefault(kinds[each["kind"]], set()).add(name)
    return {namespace: {kind: sorted(names) for kind, names in kinds.items()} for namespace, kinds in found.items()}

"""The table a person reads: fits the terminal, whole lines in a pipe, and no raw name in either."""

import io
import re

import pytest
from rich.console import Console
from tests.support.scans import ENDED, judged, scan_of_everything
from tests.support.values import blob, digest, image, lease, store

from drydock.cli.output import printer
from drydock.model.disk_usage import FileSystem, PlaceUsage, UsageCategory, UsageEntry
from drydock.model.names import RawPath
from drydock.model.objects import ObjectKind, State
from drydock.model.policies import SizeSource
from drydock.report.table import print_scans
from drydock.report.terminal import TerminalPrinter

WHERE = RawPath(b"/mnt/a host")
SGR = re.compile(r"\x1b\[[0-9;]*m")


def printed(*scans, width=None, encoding="utf-8", where=WHERE):
    """What is printed on a terminal of this width, or (None) into a pipe."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    if width is None:
        on = printer(file)
    else:
        console = Console(
            file=file, width=width, force_terminal=True, color_system="standard", highlight=False, emoji=False,
            markup=False, legacy_windows=False,
        )  # fmt: skip
        on = TerminalPrinter(console)
    print_scans(scans, on, where)
    file.flush()
    return raw.getvalue().decode(encoding)


def test_a_data_root_has_its_block():
    """What else it takes, the largest with a line each, who frees it, what was not measured, and the file system."""
    place = PlaceUsage(
        RawPath(b"/data"),
        (
            UsageEntry(UsageCategory.NAMED_VOLUMES, b"pgdata", RawPath(b"/data/volumes/pgdata"), 3 << 20),
            UsageEntry(UsageCategory.TMP, b"tmp", RawPath(b"/data/tmp"), None),
        ),
        FileSystem(7, RawPath(b"/data"), 4 << 30, 3 << 30, 1 << 30, 100, 50),
    )
    scan = judged(store())
    scan.places.append(place)
    text = printed(scan)
    assert (
        """
  File system of /data: 4.0 GiB, 3.0 GiB used, 1.0 GiB free, 50 inodes free.
        size  what it is full of          freed by
     3.0 MiB  volumes (1)                 you: docker volume rm NAME
  Not measured: tmp.
      drydock scan --measure disk '/mnt/a host'   # measures them
  Largest:
     3.0 MiB  volume pgdata

  Can be freed now: nothing.
  volumes: drydock never removes one"""
        in text
    )
    scan.verdict.store.measured = SizeSource.DISK
    assert "Not measured: tmp." in printed(scan)
    assert "--measure disk" not in printed(scan)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_terminal_is_filled_and_not_overrun(width):
    """No line is wider, but for commands and paths; every state, amount, reason and command is there, word by word."""
    scan = scan_of_everything(b"plain")
    text = SGR.sub("", printed(scan, width=width))
    wider = [line for line in text.splitlines() if len(line) > width]
    assert all(line.startswith("      drydock ") or max(map(len, line.split())) > width - 6 for line in wider)
    flat = " ".join(text.split())
    for state, total in scan.totals().items():
        assert re.search(rf"{state.value} +{total.count} +\d", flat), state
    for words in (
        "Can be freed now: 8.0 KiB in 2 files and directories that nothing references.",
        "drydock clean '/mnt/a host'",
        "drydock clean --apply '/mnt/a host'",
        "Held by temporary leases only: 0 B.",
        "Held by other leases only: 4.0 KiB.",
        "unknown: 1 lease, 4.0 KiB; no end is set",
        "Of that, held by nothing: 1 object,",
        "Damage:",
        "Could not be read or understood: 1",
        "what to do: do this",
        "it is recorded, but its file is missing",
    ):
        assert words in flat


def test_a_part_is_not_larger_than_the_whole():
    """Of what nothing holds only what can be freed now is counted there: the snapshot is kept, its data is not here."""
    scan = scan_of_everything(b"plain")
    unreachable = [found for found in scan.verdict.objects if found.state is State.UNREACHABLE]
    assert {found.kind for found in unreachable} == {ObjectKind.BLOB, ObjectKind.SNAPSHOT}
    assert scan.freed_by_engine() == (1, 4096)
    assert "Of that, held by nothing: 1 object, 4.0 KiB that" in printed(scan)


def test_bars_are_in_proportion_and_fit():
    """The largest state has the longest bar; what is there at all has one; and with the numbers it fits 80 columns."""
    text = SGR.sub("", printed(scan_of_everything(b"plain"), width=80))
    bars = {line.split()[0]: line.count("█") for line in text.splitlines() if "█" in line}
    assert len(bars) >= 4
    scan = scan_of_everything(b"plain")
    sizes = {state.value: total.bytes for state, total in scan.totals().items() if total.bytes}
    assert set(bars) == set(sizes)
    by_size = sorted(sizes, key=sizes.__getitem__)
    assert [bars[state] for state in by_size] == sorted(bars.values())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("width", [None, 80])
def test_an_encoding_without_blocks_has_other_bars(encoding, width):
    """A serial console or LANG=C: ASCII bars, and nothing that cannot be encoded."""
    text = printed(scan_of_everything(b"plain"), width=width, encoding=encoding)
    assert "#####" in text
    assert text.isascii()


def test_hostile_names_reach_no_terminal():
    """Only rich's own colours are escape sequences; no other control or format character is in it."""
    text = printed(scan_of_everything(), width=80)
    assert "\x1b[" in text
    text = SGR.sub("", text)
    assert all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_commands_can_be_copied(width):
    """Each is one line, however narrow the terminal; a remark stands beside it or, commented out, above it."""
    where = RawPath(b"/mnt/a host/with a path that is too long for it")
    text = SGR.sub("", printed(scan_of_everything(b"plain"), width=width, where=where))
    for command in ("clean", "clean --apply", "pulls", "clean --end-leases temporary"):
        (line,) = re.findall(
            rf"^ +(drydock {command} '/mnt/a host/with a path that is too long for it'.*)$", text, re.MULTILINE
        )
        assert re.fullmatch(r"[^#]*'(   # [a-z ]+)?", line)
    assert "shows what ending the temporary leases frees" in " ".join(text.split())


def test_paths_can_be_copied():
    """What has a word wider than the terminal is left to it."""
    scan = scan_of_everything(b"x" * 300)
    text = SGR.sub("", printed(scan, width=80))
    assert f"{'x' * 300}: said" in text


def test_only_records_can_go():
    """A lease that has ended and holds nothing: that nothing on disk goes is said, and how the record goes."""
    ended = lease(b"old", ENDED)
    text = printed(judged(store(image(digest(1)), blob(digest(1)), ended, files=[digest(1)])), where=None)
    assert "Can be freed now: nothing on disk; only database records" in text
    assert "drydock clean --apply   #" in text


@pytest.mark.parametrize("name", [b"plain", b"x" * 2000])
def test_a_pipe_gets_whole_lines(name):
    """For grep: no colour, no wrapping, no padding at the end of a line, no control character."""
    text = printed(scan_of_everything(name))
    assert "\x1b" not in text
    for line in text.splitlines():
        assert line == line.rstrip()
    assert sum("it is recorded, but its file is missing" in line for line in text.splitlines()) == 1
    if name != b"plain":
        assert any(len(line) > 2000 for line in text.splitlines())


def test_nothing_to_say():
    """A store in order: that nothing can be freed, and no empty headings."""
    text = printed(judged(store(image(digest(1)), blob(digest(1)), files=[digest(1)])), where=None)
    assert "Can be freed now: nothing." in text
    for heading in ("Damage", "Held by", "Could not", "Looks free", "collection"):
        assert heading not in text


def test_withheld_things_are_counted_with_the_reason():
    """What looks free and is kept says why."""
    text = printed(scan_of_everything(b"plain", complete=False))
    assert "Looks free and is kept: 8.0 KiB in 3 objects, because" in text
    assert "Can be freed now: nothing." in text

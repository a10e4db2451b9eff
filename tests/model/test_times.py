"""Times are read as Go's RFC 3339 parser reads them (model §4.5: each case was run through Go)."""

from datetime import datetime, timezone

import pytest

from drydock.model.times import parse_time, show_span, show_time


def _nano(*moment, nanoseconds=0):
    return int(datetime(*moment, tzinfo=timezone.utc).timestamp()) * 10**9 + nanoseconds


@pytest.mark.parametrize(
    ("raw", "nanoseconds"),
    [
        (b"2026-01-31T12:00:00Z", _nano(2026, 1, 31, 12)),
        (b"2026-01-31T12:00:00+02:00", _nano(2026, 1, 31, 10)),
        (b"2026-01-31T12:00:00-05:30", _nano(2026, 1, 31, 17, 30)),
        (b"2026-01-31T12:00:00.123456789123Z", _nano(2026, 1, 31, 12, nanoseconds=123456789)),
        (b"2026-01-31T12:00:00,5Z", _nano(2026, 1, 31, 12, nanoseconds=500000000)),
        (b"2026-01-31T5:00:00Z", _nano(2026, 1, 31, 5)),
    ],
)
def test_reads_what_go_reads(raw, nanoseconds):
    """Fractions of any length, a comma, and a one-digit hour are times to Go."""
    assert parse_time(raw) == nanoseconds


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"never",
        b"2026-01-31t12:00:00z",
        b"2026-01-31 12:00:00Z",
        b"2026-01-31T12:00:60Z",
        b"2026-01-31T24:00:00Z",
        b"2026-02-30T12:00:00Z",
        b"2026-1-31T12:00:00Z",
        b"2026-01-31T12:00:00+0000",
        b"2026-01-31T12:00:00+24:00",
        b" 2026-01-31T12:00:00Z",
        b"2026-01-31T12:00:00Z\n",
        "2026-01-31T12:00:0٣Z".encode(),
    ],
)
def test_refuses_what_go_refuses(raw):
    """An expiry that does not parse must count as none: containerd then never expires the lease."""
    assert parse_time(raw) is None


def test_shows_times_in_utc_and_spans_in_large_units():
    """What reports print is fixed text."""
    assert show_time(_nano(2026, 1, 31, 12, nanoseconds=5)) == "2026-01-31T12:00:00Z"
    assert show_time(2**63 - 1).startswith("2262-")
    assert show_time(10**30).endswith("s since 1970")
    assert [show_span(n * 10**9) for n in (0, 59, 60, 3600, 5400, 86400, 90000)] == [
        "0 s", "59 s", "1 min", "1 h", "1 h 30 min", "1 d", "1 d 1 h",
    ]  # fmt: skip

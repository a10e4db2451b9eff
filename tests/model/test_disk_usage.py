"""Totals of a place: what was not measured is no 0."""

from drydock.model.disk_usage import PlaceUsage, UsageCategory, UsageEntry
from drydock.model.names import RawPath

PATH = RawPath(b"/data")
LOGS, TMP, UNKNOWN = UsageCategory.LOGS, UsageCategory.TMP, UsageCategory.UNKNOWN


def place(*entries):
    """A place with these entries: categories and bytes."""
    return PlaceUsage(PATH, tuple(UsageEntry(category, b"", PATH, size) for category, size in entries), None)


def test_a_category_that_was_not_measured_has_no_total():
    """One that was measured in part has the sum of that part."""
    found = place((LOGS, 3), (LOGS, 4), (LOGS, None), (TMP, None), (UNKNOWN, 0))
    assert found.totals(measured=False) == {LOGS: 7, UNKNOWN: 0}


def test_a_category_without_entries_is_0_if_everything_was_measured():
    """But for the one that has entries without bytes."""
    found = place((LOGS, 3), (TMP, None)).totals(measured=True)
    assert found == {category: 3 if category is LOGS else 0 for category in UsageCategory if category is not TMP}

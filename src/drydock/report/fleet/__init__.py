"""The scans of many hosts, asked about with DuckDB: this package needs the extra ``fleet``."""

from drydock.report.fleet import answers, database, over_time, reports

__all__ = ["answers", "database", "over_time", "reports"]

"""Spark in this process (local mode), as docs/fleet.md uses it on a cluster."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

ENVIRONMENT = {
    # Spark looks this machine's name up, and many a container's is not to be found.
    "SPARK_LOCAL_IP": "127.0.0.1",
    # Of what Spark takes to answer once, half is Java's second compiler and its collector's threads.
    "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
"""What Spark is started with here."""


class SparkUnavailable(Exception):
    """There is no Spark here; the message is the reason, in one line. Tests skip on it and print it."""


@contextmanager
def spark(work: Path) -> Iterator[Any]:
    """A Spark session on two cores that keeps its files in a folder.

    Raises:
        SparkUnavailable: Java is not installed.
    """
    if shutil.which("java") is None:
        raise SparkUnavailable("java is not installed")
    from pyspark.sql import SparkSession

    os.environ.update(ENVIRONMENT)
    builder = SparkSession.builder.master("local[2]").appName("drydock")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(work / "warehouse"),
        "spark.local.dir": str(work),
    }.items():
        builder = builder.config(name, value)
    # Spark sets a handler of its own, which fails once the session has ended.
    handler = signal.getsignal(signal.SIGINT)
    session = builder.getOrCreate()
    signal.signal(signal.SIGINT, handler)
    session.sparkContext.setLogLevel("ERROR")
    try:
        yield session
    finally:
        session.stop()
        # pyspark keeps it as long as this process lives. Each clean looks at all files that any process has open.
        for child in psutil.Process().children():
            if child.name() == "java":
                child.terminate()
                child.wait(30)


def rows(frame: Any) -> list[tuple[Any, ...]]:
    """What a statement gave, times in UTC: Spark hands them out in the zone of this machine."""
    return [tuple(_plain(value) for value in row) for row in frame.collect()]


def _plain(value: Any) -> Any:
    return value.astimezone(timezone.utc).replace(tzinfo=None) if isinstance(value, datetime) else value

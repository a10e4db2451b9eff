"""Docker data roots made by hand: containers with logs, and volumes. What dockerd writes, without dockerd.

tests/system/test_logs_of_docker.py holds these forms against a real engine.
"""

import gzip
import json
import os
import struct
from datetime import datetime, timezone

from tests.support import boltwriter

SECOND = 1_000_000_000
START = 1_780_000_000 * SECOND
"""The time of the first record of a log: 2026-05-28T20:26:40Z."""


def container_id(number):
    """The id of the ``number``-th container."""
    return f"{number:x}" * 64


def json_line(number, text=None):
    """The ``number``-th line of a log of json-file, one second after the one before."""
    moment = datetime.fromtimestamp(START // SECOND + number, tz=timezone.utc)
    time = moment.strftime("%Y-%m-%dT%H:%M:%S.000000000Z")
    said = f"line {number}\n" if text is None else text
    return json.dumps({"log": said, "stream": "stdout", "time": time}, separators=(",", ":")).encode() + b"\n"


def _varint(number):
    out = b""
    while number > 0x7F:
        out += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return out + bytes((number,))


def frame(number):
    """The ``number``-th record of a log of the driver local (moby daemon/logger/local/local.go, v28.5)."""
    line = f"line {number}".encode()
    message = b"\x0a\x06stdout\x10" + _varint(START + number * SECOND) + b"\x1a" + _varint(len(line)) + line
    return struct.pack(">I", len(message)) + message + struct.pack(">I", len(message))


def add_container(data, number, name, *, driver="json-file", options=None, mounts=(), labels=None):
    """Write the folder of a container, with its configuration, and give the folder.

    ``mounts`` has pairs of a volume's name and a target.
    """
    cid = container_id(number)
    folder = data / "containers" / cid
    folder.mkdir(parents=True)
    points = {
        target: {"Type": "volume", "Name": volume, "Driver": "local", "Destination": target}
        for volume, target in mounts
    }
    config = {
        "ID": cid,
        "Name": f"/{name}",
        "Driver": "overlay2",
        "State": {"Running": False},
        "Config": {"Image": "busybox", "Labels": labels or {}},
        "MountPoints": points,
    }
    (folder / "config.v2.json").write_text(json.dumps(config))
    (folder / "hostconfig.json").write_text(json.dumps({"LogConfig": {"Type": driver, "Config": options or {}}}))
    return folder


def add_json_log(folder, lines, *, rotated=()):
    """Write ``<id>-json.log`` with lines of these numbers, and ``.1``, ``.2`` and so on; and give the newest file."""
    log = folder / f"{folder.name}-json.log"
    log.write_bytes(b"".join(map(json_line, lines)))
    for place, each in enumerate(rotated, 1):
        (folder / f"{log.name}.{place}").write_bytes(b"".join(map(json_line, each)))
    return log


def add_local_log(folder, records, *, rotated=()):
    """Write ``local-logs/container.log`` with records of these numbers, and the packed older ones."""
    (folder / "local-logs").mkdir()
    log = folder / "local-logs" / "container.log"
    log.write_bytes(b"".join(map(frame, records)))
    for place, each in enumerate(rotated, 1):
        (folder / "local-logs" / f"container.log.{place}.gz").write_bytes(gzip.compress(b"".join(map(frame, each))))
    return log


def add_volume(data, name, *, options=None):
    """Make the folder of a volume with a file, and give its data folder."""
    inside = data / "volumes" / os.fsdecode(name) / "_data"
    inside.mkdir(parents=True)
    (inside / "file").write_bytes(b"x" * 1000)
    if options is not None:
        (inside.parent / "opts.json").write_text(json.dumps(options))
    return inside


def write_volume_rows(data, rows):
    """Write the database of volumes: by name, the driver and the labels."""
    values = {
        name.encode(): json.dumps({"Name": name, "Driver": driver, "Labels": labels, "Options": None}).encode()
        for name, (driver, labels) in rows.items()
    }
    (data / "volumes").mkdir(parents=True, exist_ok=True)
    boltwriter.write(data / "volumes/metadata.db", {b"volumes": values})

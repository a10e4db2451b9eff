"""Containers of a real Docker, made on a capture: some ran when it was stopped, and some ended long before."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

from tests.engines.docker import Docker
from tests.support import gobbolt

ENDED = ("ended", "labelled", "never-ran", "by-hand", "web")
"""Those that did not run when the engine was stopped; a container of the capture among them."""
RAN = ("always", "plain")
"""Those that ran: one that the engine starts again, and one that it does not."""
_BUCKETS = ("images", "leases", "containers", "blob", "overlayfs")
_TIMES = re.compile(rb'"(Created|StartedAt|FinishedAt)":"([0-9-]{10}T[0-9:]{8})')


def make_containers(docker: Docker, image: str) -> None:
    """Make the containers of :data:`ENDED` and :data:`RAN`, without ``web``."""
    apart = ("--network", "none")
    shell = (image, "/bin/busybox", "sh", "-c")
    docker.docker("run", "--name", "ended", *apart, *shell, "echo wrote >/srv/wrote; echo logged")
    docker.docker("run", "--name", "labelled", "--label", "tier=test", *apart, *shell, "true")
    docker.docker("create", "--name", "never-ran", "--label", "tier=prod", *apart, image, "/bin/busybox", "true")
    for name, policy in (("by-hand", "unless-stopped"), ("always", "always"), ("plain", "no")):
        docker.docker("run", "--detach", "--name", name, "--restart", policy, "--stop-timeout", "1", *apart, *shell,
                      "test -s /srv/up || echo up >/srv/up; exec sleep 600")  # fmt: skip
    docker.docker("stop", "by-hand")


def age(data: Path, days: int = 1, *, ended: tuple[str, ...] = ENDED, ran: tuple[str, ...] = RAN[:1]) -> None:
    """Have containers end days ago, and others have started before that; the engine is off."""
    for path in data.glob("containers/*/config.v2.json"):
        text = path.read_bytes()
        name = json.loads(text)["Name"].removeprefix("/")
        shift = {**dict.fromkeys(ended, days), **dict.fromkeys(ran, 2 * days)}.get(name, 0)

        def earlier(found: re.Match[bytes], shift: int = shift) -> bytes:
            time = datetime.fromisoformat(found[2].decode())
            if time.year > 1 and (found[1] != b"FinishedAt" or shift == days):
                time -= timedelta(days=shift)
            return b'"%s":"%s' % (found[1], time.isoformat().encode())

        path.write_bytes(_TIMES.sub(earlier, text))


def records(root: Path) -> set[str]:
    """The image, lease, container, blob and snapshot records of dockerd's namespace, as Go reads them.

    Without temporary views: BuildKit deletes their leases some time after its start.
    """
    found = set()
    for line in gobbolt.dump(root / "io.containerd.metadata.v1.bolt/meta.db").splitlines():
        kind, path, *_ = line.split(" ")
        names = [bytes.fromhex(part).decode("utf-8", "replace") for part in path.split("/") if part]
        is_record = kind == "bucket" and names[:2] == ["v1", "moby"] and len(names) > 3 and names[-2] in _BUCKETS
        if is_record and not names[-1].endswith("-view"):
            found.add("/".join(names[2:]))
    return found

"""crictl against containerd's CRI plugin in a sandbox: a kubelet's part. Pods have the host's network unless asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.engines.containerd import Containerd
from tests.engines.sandbox import CAPTURED, Daemon, wait_for

_POD, _NODE = 0, 2
"""runtime.v1.NamespaceMode of cri-api: the pod has a namespace of its own, or shares the host's."""


class Cri:
    """Runs crictl commands.

    Args:
        engine: with CRI, in a sandbox that has crictl among its programs.

    Raises:
        TimeoutError: the plugin does not answer.
    """

    def __init__(self, engine: Containerd) -> None:
        self._engine = engine
        self._command = ["crictl", "--config", "/dev/null", "--runtime-endpoint", f"unix://{engine.socket}"]

        # containerd listens before its CRI plugin has recovered the pods (internal/cri/server/service.go, v2.4.2).
        wait_for(self._answers, 30.0, "the CRI plugin", lambda: engine.daemon.running)

    def __call__(self, *arguments: str | Path) -> str:
        """Run a command and give what it printed.

        Raises:
            RuntimeError: it failed.
        """
        return self._engine.sandbox.run(*self._command, *arguments).stdout.decode().strip()

    def begin(self, *arguments: str | Path) -> Daemon:
        """Start a command that is to be interrupted."""
        return self._engine.sandbox.spawn("crictl.log", *self._command, *arguments)

    def pod(self, name: str, *, network: bool = False) -> str:
        """Run a new pod, with the network of the host or one of its own, and give its id."""
        return self("runp", self._written(f"{name}.json", _pod(name, _POD if network else _NODE)))

    def container(self, pod: str, name: str, image: str, *busybox: str) -> str:
        """Make a container in a pod, which runs a busybox command once it is started, and give its id."""
        made = {
            "metadata": {"name": name},
            "image": {"image": image},
            "command": ["/bin/busybox", *busybox],
            "linux": {},
        }
        return self.configured(pod, made)

    def configured(self, pod: str, made: dict[str, Any]) -> str:
        """Make a container in a pod from a runtime.v1.ContainerConfig of cri-api, and give its id."""
        # The pod's own configuration is asked for again; crictl reads no more of it than the folder of its logs.
        return self("create", pod, self._written("container.json", made), self._written("pod.json", _pod("pod")))

    def start(self, container: str) -> None:
        """Start a container that was made."""
        self("start", container)

    def state(self, container: str) -> dict[str, Any]:
        """What the plugin says of a container: ``state``, ``exitCode`` and more."""
        found: dict[str, Any] = json.loads(self("inspect", container))["status"]
        return found

    def _answers(self) -> bool:
        return self._engine.sandbox.run(*self._command, "version", check=False).returncode == 0

    def _written(self, name: str, value: dict[str, Any]) -> Path:
        path = self._engine.sandbox.work / name
        path.write_text(json.dumps(value))
        return path


def _pod(name: str, network: int = _NODE) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-of-{name}"},
        "linux": {"cgroup_parent": f"/{CAPTURED}", "security_context": {"namespace_options": {"network": network}}},
    }

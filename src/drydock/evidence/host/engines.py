"""The programs that use containerd storage, by name, and how to stop each."""

from __future__ import annotations

import re

from drydock.model.roots import Engine

DAEMONS: dict[bytes, Engine | None] = {
    b"dockerd": Engine.DOCKER,
    b"docker-containerd": Engine.DOCKER,
    b"containerd": Engine.CONTAINERD,
    b"buildkitd": Engine.BUILDKIT,
    b"k3s": Engine.K3S,
    b"k3s-server": Engine.K3S,
    b"k3s-agent": Engine.K3S,
    b"rke2": Engine.RKE2,
    b"k0s": Engine.K0S,
    b"kubelite": Engine.MICROK8S,
    b"kubelet": None,
}
"""The engine of each daemon; None for one that several engines have."""

_SHIM = re.compile(rb"(docker-)?containerd-shim(-[a-z0-9-]+)?\Z")
_STOP = (
    (b"containerd-shim", "stop its container, or kill the shim"),
    (b"dockerd", "systemctl stop docker.socket docker"),
    (b"containerd", "systemctl stop docker.socket docker containerd"),
    (b"buildkitd", "systemctl stop buildkit"),
    (b"kubelet", "systemctl stop kubelet"),
    (b"k3s", "k3s-killall.sh"),
    (b"rke2", "rke2-killall.sh"),
    (b"k0s", "k0s stop"),
    (b"kubelite", "microk8s stop"),
    (b"drydock", "let it end, or press Ctrl-C in its terminal"),
)
_OF_ENGINE = {
    Engine.K3S: "k3s-killall.sh",
    Engine.RKE2: "rke2-killall.sh",
    Engine.K0S: "k0s stop",
    Engine.MICROK8S: "microk8s stop",
    Engine.KIND: "docker stop the kind node",
    Engine.ROOTLESS: "systemctl --user stop docker containerd, as its user",
}


def program(arguments: list[bytes], comm: bytes) -> bytes:
    """The name of a program: that of its first argument, or else the kernel's, which has at most 15 bytes."""
    # k3s sets its title to "/usr/local/bin/k3s server", which is one argument.
    first = arguments[0].split(b" ", 1)[0] if arguments else b""
    name = first.rsplit(b"/", 1)[-1]
    if arguments[1:3] == [b"-m", b"drydock"]:
        return b"drydock"
    return name if name in DAEMONS or is_shim(name) else comm


def is_shim(name: bytes) -> bool:
    """Whether ``name`` is a containerd shim's. A shim keeps a container running without its engine."""
    return _SHIM.match(name) is not None


def how_to_stop(name: bytes, pid: int, engine: Engine | None = None) -> str:
    """A command that ends a process; a suggestion only."""
    if engine in _OF_ENGINE and (name in DAEMONS or is_shim(name)):
        return _OF_ENGINE[engine]
    for prefix, command in _STOP:
        if name.startswith(prefix):
            return command
    return f"end process {pid}"

"""Asks other tools what drydock answers, on captures with real engines: ``python -m tests.support.peers``, as root.

What they said is kept in tests/docs/peers.json, with versions and the day; the table of docs/others.md is made of it. A
tool answers a question about data if its output names it, or, where it lists everything anyway, if its output differs
from the one before the data was damaged or planted.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fixtures.recipes.docker_interrupted_pull import PORT, images, start_pull
from tests.engines.containerd import Containerd
from tests.engines.docker import Docker
from tests.engines.hosts import containerd_on, docker_on, newest, newest_on
from tests.engines.images import busybox_layer
from tests.engines.modules import BINARIES, Module, built
from tests.engines.registry import Registry
from tests.engines.sandbox import Sandbox
from tests.support.captures import Capture, capture, unpack

RECORD: Final = Path(__file__).parents[1] / "docs" / "peers.json"
PAGE: Final = Path(__file__).parents[2] / "docs" / "others.md"
BEGIN, END = "<!-- recorded -->\n", "<!-- end of what was recorded -->\n"
QUESTIONS: Final = {
    "pull": "names the lease of an interrupted pull",
    "end": "ends it",
    "orphans": "notices a blob and a layer that no record names",
    "damage": "notices a blob with a wrong byte",
    "cache": "lists the build cache",
    "switch": "lists the images of the store that Docker does not use",
    "stopped": "answers while the engine is stopped",
    "undo": "can take a removal back",
}
_DOCKERS: Final = ("docker-26.1-interrupted-pull", "docker-28.5-interrupted-pull", "docker-29-interrupted")
_DOCKER_LISTS: Final = (("images", "-a", "--digests"), ("system", "df", "-v"), ("ps", "-a", "-s"))
_CTR_LISTS: Final = (
    ("leases", "ls"),
    ("content", "ls"),
    ("content", "active"),
    ("snapshots", "ls"),
    ("images", "check"),
)
_NERDCTL_LISTS: Final = (("images", "-a", "--digests"), ("ps", "-a", "-s"), ("image", "ls", "--names"))
_CRICTL_LISTS: Final = (("images", "-v"), ("ps", "-a"), ("pods",))
_DRYDOCK_LISTS: Final = (("pulls",), ("ls", "content"), ("ls", "snapshots"), ("verify", "--data"))
_CHECK: Final = (("check",), ("layers",))
_WRONG: Final = re.compile("corrupt|incomplete|mismatch|damage|checksum|not accounted")
_PROVED: Final = {"end": "tests/system/test_reclaim.py", "undo": "tests/system/test_undo.py"}
"""What drydock does is not tried here once more: these tests do."""
_CRICTL: Final = "1.37.0"
"""It was not built by its own scripts, and does not know its version."""
_STORAGE: Final = "1.59.1"
_EXCERPT: Final = 200

Ask = Callable[..., tuple[int, str]]
"""Runs a command of a tool: its exit status, and all that it printed."""


@dataclass(slots=True)
class Trial:
    """One question that one tool was asked."""

    question: str
    tool: str
    version: str
    commands: list[str]
    answers: bool
    said: str
    """The line that decides it, shortened; or how the commands ended."""
    day: str


class _Tool:
    def __init__(self, name: str, version: str, ask: Ask) -> None:
        self.name, self.version, self.ask = name, version, ask
        self.trials: list[Trial] = []

    def lists(self, words: tuple[tuple[str, ...], ...]) -> list[str]:
        return [self.ask(*each)[1] for each in words]

    def note(self, question: str, words: tuple[tuple[str, ...], ...], answers: bool, said: str) -> None:
        commands = [" ".join((self.name, *each)) for each in words]
        day = time.strftime("%Y-%m-%d", time.gmtime())
        self.trials.append(Trial(question, self.name, self.version, commands, answers, said[:_EXCERPT], day))

    def names(self, question: str, words: tuple[tuple[str, ...], ...], needles: list[str]) -> None:
        """Whether one of the outputs has one of the words."""
        lines = [line for text in self.lists(words) for line in text.splitlines()]
        found = [line for line in lines if any(needle in line for needle in needles)]
        self.note(question, words, bool(found), " ".join(found[0].split()) if found else "it is in none of the outputs")

    def notices(self, question: str, words: tuple[tuple[str, ...], ...], before: list[str], needle: str) -> None:
        """Whether a line is new that has the word, or says that something is wrong; times and sizes change anyway."""
        old = {_sorted(line) for text in before for line in text.splitlines()}
        lines = [line for text in self.lists(words) for line in text.splitlines() if _sorted(line) not in old]
        new = [line for line in lines if needle in line or _WRONG.search(line)]
        self.note(question, words, bool(new), " ".join(new[0].split()) if new else "no line of the outputs says it")

    def works_stopped(self, words: tuple[str, ...]) -> None:
        """Whether it answers without its engine."""
        status, text = self.ask(*words)
        last = (text.strip().splitlines() or ["nothing"])[-1]
        self.note("stopped", (words,), status == 0, f"exit status {status}: {' '.join(last.split())}")

    def has_undo(self) -> None:
        """Whether its help has a command for it."""
        self.names("undo", (("--help",),), ["undo"])


def _sorted(line: str) -> str:
    """A line whatever the order of its words, in which ctr shows labels, and without ages, which go on."""
    return " ".join(sorted(re.split(r"[\s,]+", re.sub(r"\b\d+ (second|minute|hour)s?\b", "", line))))


def _plant(root: Path) -> str:
    """A blob and an unpacked layer that no record names; the beginning of the digest."""
    data = b"no record names this"
    path = root / "io.containerd.content.v1.content/blobs/sha256" / hashlib.sha256(data).hexdigest()
    path.write_bytes(data)
    (root / "io.containerd.snapshotter.v1.overlayfs/snapshots/777777/fs").mkdir(parents=True)
    return path.name[:12]


def _damage(root: Path) -> str:
    """One byte of the largest blob; the beginning of its digest."""
    blobs = root / "io.containerd.content.v1.content/blobs/sha256"
    path = max(blobs.iterdir(), key=lambda each: each.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path.name[:12]


def _leases(of: Capture) -> list[str]:
    """Those of interrupted pulls, as the engine listed them; a view's is of a build."""
    ended = [lease for leases in of.facts["leases_ended"].values() for lease in leases]
    return [lease for lease in ended if not lease.endswith("-view") and (lease.count("-") == 1 or lease == "pull")]


def _command(run: Callable[..., subprocess.CompletedProcess[bytes]], *first: str | Path) -> Ask:
    def ask(*words: str) -> tuple[int, str]:
        done = run(*first, *words, check=False)
        return done.returncode, (done.stdout + (done.stderr or b"")).decode(errors="replace")

    return ask


def _first_line(ask: Ask, *words: str) -> str:
    text = ask(*words)[1].replace(",", " ").split()
    return next((word.lstrip("v") for word in text if word.lstrip("v")[:1].isdigit()), "unknown")


def _examined(tools: list[tuple[_Tool, tuple[tuple[str, ...], ...]]], root: Path, leases: list[str]) -> None:
    """The questions about pulls, orphans and damage."""
    for tool, words in tools:
        tool.names("pull", words, leases)
    before = [tool.lists(words) for tool, words in tools]
    needle = _plant(root)
    for (tool, words), old in zip(tools, before, strict=True):
        tool.notices("orphans", words, old, needle)
    before = [tool.lists(words) for tool, words in tools]
    needle = _damage(root)
    for (tool, words), old in zip(tools, before, strict=True):
        tool.notices("damage", words, old, needle)


def _ctr_words(namespace: str) -> tuple[tuple[str, ...], ...]:
    return tuple(("-n", namespace, *words) for words in _CTR_LISTS)


def _on_docker(of: Capture, work: Path) -> Iterator[_Tool]:
    """Docker and the ctr beside it; a pull is interrupted now, since the leases of the capture have ended."""
    host = unpack(of, _made(work, "host"))
    served = images(busybox_layer())
    with docker_on(of, host, work / "engine") as engine:
        before = _pulling(engine)
        with Registry(engine.sandbox.listen(PORT), served) as registry:
            start_pull(engine, registry, "tools:2", served["tools:2"], held=3).interrupt()
        leases = sorted(_pulling(engine) - before)
        version = f"29.7 (moby v{engine.version()})" if of.version.startswith("29.") else engine.version()
        docker = _Tool("docker", version, _command(engine.sandbox.run, "docker"))
        ask = _command(engine.sandbox.run, "ctr", "--address", "/run/docker/containerd/containerd.sock")
        ctr = _Tool("ctr", _first_line(ask, "--version"), ask)
        docker.names("cache", (("builder", "du"),), ["Total:"])
        _examined([(docker, _DOCKER_LISTS), (ctr, _ctr_words("moby"))], host / of.root, leases)
        ends = (("image", "prune", "-f"), ("system", "prune", "-a", "-f"))
        docker.lists(ends)
        left = sorted(_pulling(engine) & set(leases))
        docker.note("end", ends, not left, f"{len(leases) - len(left)} of {len(leases)} leases are gone")
        if left:
            removes = (("-n", "moby", "leases", "rm", *left),)
            ctr.lists(removes)
            still = _pulling(engine) & set(leases)
            ctr.note("end", removes, not still, f"{len(left) - len(still)} of {len(left)} leases are gone")
        engine.stop()
        docker.works_stopped(("images",))
        ctr.works_stopped(("-n", "moby", "images", "ls"))
        for each in (docker, ctr):
            each.has_undo()
            yield each


def _pulling(engine: Docker) -> set[str]:
    lines = engine.ctr("leases", "ls").splitlines()[1:]
    return {line.split()[0] for line in lines if "gc.expire" in line}


def _on_containerd(of: Capture, work: Path, namespace: str) -> Iterator[_Tool]:
    """The ctr of this machine."""
    host = unpack(of, _made(work, "host"))
    with containerd_on(of, host, work / "engine", collect=False) as engine:
        yield from _ctr_of(engine, host / of.root, namespace, _leases(of), [])


def _on_newest(of: Capture, work: Path) -> Iterator[_Tool]:
    """Ctr, nerdctl and crictl."""
    host = unpack(of, _made(work, "host"))
    with (
        Sandbox(work, programs=newest()) as sandbox,
        newest_on(sandbox, host, "overlayfs", collect=False) as engine,
    ):
        nerd = _command(
            sandbox.run, "nerdctl", "--address", engine.socket, "--data-root", engine.root.with_name("nerdctl")
        )
        cri = _command(sandbox.run, "crictl", "--config", "/dev/null", "--runtime-endpoint", f"unix://{engine.socket}")
        others = [
            (_Tool("nerdctl", _first_line(nerd, "--version"), nerd), _NERDCTL_LISTS),
            (_Tool("crictl", _CRICTL, cri), _CRICTL_LISTS),
        ]
        yield from _ctr_of(engine, host / of.root, "default", _leases(of), others)


def _ctr_of(
    engine: Containerd,
    root: Path,
    namespace: str,
    leases: list[str],
    others: list[tuple[_Tool, tuple[tuple[str, ...], ...]]],
) -> Iterator[_Tool]:
    ask = _command(engine.sandbox.run, "ctr", "--address", engine.socket)
    tools = [(_Tool("ctr", engine.version(), ask), _ctr_words(namespace)), *others]
    _examined(tools, root, leases)
    engine.stop()
    for tool, words in tools:
        tool.works_stopped(words[0])
        tool.has_undo()
        yield tool


def _on_switched(of: Capture, work: Path) -> Iterator[_Tool]:
    """Docker with two stores."""
    host = unpack(of, _made(work, "host"))
    with docker_on(of, host, work / "engine") as engine:
        docker = _Tool("docker", engine.version(), _command(engine.sandbox.run, "docker"))
        docker.names("switch", _DOCKER_LISTS, ["old"])
        yield docker


def _on_own_store(work: Path) -> Iterator[_Tool]:
    """containers-storage on a store of its own: containerd's is none to it."""
    program = built(Module.CONTAINERS_STORAGE) / BINARIES / "containers-storage"
    at = ("--graph", work / "graph", "--run", work / "run", "--storage-driver", "vfs")
    tool = _Tool("containers-storage", _STORAGE, _command(_run, program, *at))
    (work / "file").write_text("whole\n")
    subprocess.run(["tar", "-C", work, "-cf", work / "layer.tar", "file"], check=True)
    status, said = tool.ask("import-layer", "--file", str(work / "layer.tar"))
    assert status == 0, said
    before = tool.lists(_CHECK)
    (work / "graph/vfs/dir/777777").mkdir()
    tool.notices("orphans", _CHECK, before, "777777")
    before = tool.lists(_CHECK)
    (found,) = (work / "graph").rglob("dir/*/file")
    found.write_text("wrong\n")
    tool.notices("damage", _CHECK, before, "file")
    tool.works_stopped(("layers",))
    tool.has_undo()
    yield tool


def _run(*words: str | Path, check: bool) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=check)


def _drydock(work: Path) -> Iterator[_Tool]:
    """drydock, on the same captures, with no engine running."""
    ask = _command(_run, sys.executable, "-m", "drydock")
    version = _first_line(ask, "--version")
    for name in (*_DOCKERS, "containerd-1.6-namespaces", "containerd-2.4-overlayfs"):
        of = capture(name)
        host = unpack(of, _made(work, name))
        tool = _Tool("drydock", version, _at(ask, of, host))
        _examined([(tool, _DRYDOCK_LISTS)], host / of.root, _leases(of))
        if name == _DOCKERS[1]:
            tool.names("cache", (("scan", "--measure", "disk"),), ["build cache"])
        tool.note("stopped", (("scan",),), ask("scan", str(host))[0] < 8, "no engine ran")
        yield tool
    of = capture("docker-28.5-switched")
    tool = _Tool("drydock", version, _at(ask, of, unpack(of, _made(work, of.name))))
    tool.names("switch", (("ls", "images"),), ["old"])
    for question, test in _PROVED.items():
        tool.note(question, (), True, test)
    yield tool


def _at(ask: Ask, of: Capture, host: Path) -> Ask:
    return lambda *words: ask(*words, "--now", of.taken_at, str(host))


def table(trials: list[Trial]) -> str:
    """The answers as a table of Markdown: a line for each question, a column for each tool with its versions."""
    tools = list(dict.fromkeys(each.tool for each in trials))
    lines = ["| | " + " | ".join(tools) + " |", "| --- |" + " --- |" * len(tools)]
    for key, question in QUESTIONS.items():
        cells = []
        for tool in tools:
            asked = [each for each in trials if (each.question, each.tool) == (key, tool)]
            cells.append(_cell(asked))
        lines.append(f"| {question} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(asked: list[Trial]) -> str:
    """Yes or no; with the versions of each, where they do not agree."""
    words = {True: "yes", False: "no"}
    if not asked:
        return "not asked"
    if len({each.answers for each in asked}) == 1:
        return words[asked[0].answers]
    by_answer = {
        word: ", ".join(each.version for each in asked if each.answers is answer) for answer, word in words.items()
    }
    return "; ".join(f"{word}: {versions}" for word, versions in by_answer.items())


def page_section(trials: list[Trial]) -> str:
    """What stands between the two marks of the page."""
    versions: dict[str, dict[str, None]] = {}
    for each in trials:
        versions.setdefault(each.tool, {})[each.version] = None
    tried = "; ".join(f"{tool} {', '.join(found)}" for tool, found in versions.items())
    day = max(each.day for each in trials)
    return f"{BEGIN}\n{table(trials)}\nTried on {day}: {tried}.\n\n{END}"


def read_record() -> list[Trial]:
    """The trials that were recorded last."""
    return [Trial(**each) for each in json.loads(RECORD.read_text(encoding="utf-8"))]


def main() -> None:
    """Ask all, write the record, and the table in the page."""
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix="drydock-peers-") as folder:
        runs: list[Iterator[_Tool]] = []
        runs += [_on_docker(capture(name), _made(folder, name)) for name in _DOCKERS]
        runs.append(_on_containerd(capture("containerd-1.6-namespaces"), _made(folder, "old"), "k8s.io"))
        runs.append(_on_newest(capture("containerd-2.4-overlayfs"), _made(folder, "new")))
        runs.append(_on_switched(capture("docker-28.5-switched"), _made(folder, "switched")))
        runs.append(_on_own_store(_made(folder, "own")))
        runs.append(_drydock(_made(folder, "drydock")))
        for run in runs:
            for tool in run:
                trials += tool.trials
    RECORD.write_text(json.dumps([asdict(each) for each in trials], indent=1) + "\n", encoding="utf-8")
    if PAGE.exists():
        text = PAGE.read_text(encoding="utf-8")
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        PAGE.write_text(before + page_section(trials) + after, encoding="utf-8")


def _made(folder: str | Path, name: str) -> Path:
    path = Path(folder, name)
    path.mkdir()
    return path


if __name__ == "__main__":
    main()

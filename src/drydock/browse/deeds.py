"""What browse has the commands do: read, explain, verify, export, plan. What changes a store is a :class:`Deed`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from drydock import commands, report
from drydock.browse.marks import Answer, policy_of
from drydock.browse.tree import Item, Tree
from drydock.commands.browse import Looked, decide, explain_entry, explain_subject, read
from drydock.model.access import Access
from drydock.model.errors import Refused
from drydock.model.names import RawPath
from drydock.model.policies import Policy, VerifyOptions
from drydock.model.progress import Progress
from drydock.model.runs import PastRun, PastRuns, UndoState
from drydock.model.scans import Scan
from drydock.model.text import quoted_path, shown
from drydock.report.wording import show_bytes

LOOK_ONLY: Final = "with --live, browse only looks: stop the engine, and start drydock browse without --live"
_EXPORTED: Final = ("image", "container", "volume")


class Clean(NamedTuple):
    """The user wants to carry out what is marked."""

    policy: Policy
    quarantine: RawPath | None


class Undo(NamedTuple):
    """The user wants to undo a run."""

    run: PastRun


Deed = Clean | Undo
"""What ends the view: it is carried out where the view is not, as the command of the same name does."""


@dataclass(frozen=True, slots=True)
class View:
    """A place as it was read."""

    looked: Sequence[Looked]
    tree: Tree
    base: Answer
    """What goes although nothing is marked."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where browse looks, and how."""

    where: RawPath | None
    access: Access
    """With ``live``, nothing but looking is done."""

    def read(self, progress: Progress) -> View:
        """Read and judge it.

        Raises:
            DrydockError: as :func:`drydock.commands.browse.read`.
        """
        looked = read(self.where, self.access._replace(progress=progress))
        progress("listing", 0)
        return View(looked, Tree([each.scan for each in looked]), Answer(decide(looked, policy_of(()))))

    def refuse_if_live(self) -> None:
        """Refuse what needs the engine stopped.

        Raises:
            Refused: browse looks beside an engine.
        """
        if self.access.live:
            raise Refused(LOOK_ONLY)

    def plan(self, policy: Policy, progress: Progress) -> list[Scan]:
        """Plan what is marked by the store as it is now.

        Raises:
            DrydockError: as :func:`drydock.commands.plan.plan`.
        """
        self.refuse_if_live()
        return commands.plan.plan(self.where, self._timed(progress)._replace(policy=policy))

    def write_plan(self, policy: Policy, path: RawPath, progress: Progress) -> list[str]:
        """The same, written to a file for ``drydock apply``; what was done, in shown lines."""
        scans = self.plan(policy, progress)
        commands.plan.write_plans(scans, path)
        return [f"Written to {shown(path)}. drydock apply {quoted_path(path)} carries it out.", "", *plan_lines(scans)]

    def verify(self, wanted: VerifyOptions, progress: Progress) -> list[str]:
        """Check which data is intact; what was found, in shown lines."""
        self.refuse_if_live()
        found = commands.verify.verify(self.where, self._timed(progress), wanted=wanted)
        return list(report.verification.verification_lines(found, self.where, self.access.state))

    def export(self, item: Item, path: RawPath, progress: Progress) -> list[str]:
        """Write an image, a container's files or a volume to a new file; what was written, in shown lines.

        Raises:
            DrydockError: as the functions of :mod:`drydock.commands.export`.
        """
        access = Access(timed=False, progress=progress)
        name = item.leases[0].key if item.leases else item.refs[0].key if item.refs else item.names[0]
        if item.kind == "image":
            namespace = item.refs[0].namespace or None
            done = commands.export.export_image(name, self.where, access, output=path, namespace=namespace)
        elif item.kind == "container":
            done = commands.export.export_container(name, self.where, access, output=path)
        else:
            done = commands.export.export_volume(name, self.where, access, output=path)
        unit = "blobs" if item.kind == "image" else "entries"
        return [report.listing.export_line(done, unit), *report.listing.export_problems(done)]

    def refuse_export(self, item: Item) -> None:
        """Refuse to export what is no image, container or volume, or beside an engine.

        Raises:
            Refused: with the reason.
        """
        self.refuse_if_live()
        if item.kind not in _EXPORTED:
            raise Refused(f"x exports an image, a container or a volume; this is a {item.kind}")

    def runs(self) -> PastRuns:
        """The past runs."""
        return commands.runs.runs(self.access.state)

    def _timed(self, progress: Progress) -> Access:
        """For what is judged now, and not when browse began."""
        return Access(state=self.access.state, now=self.access.now, measure=self.access.measure, progress=progress)


def plan_lines(scans: Iterable[Scan]) -> list[str]:
    """Plans as ``drydock clean`` shows them."""
    return [line for scan in scans for line in report.plan_text.scan_lines(scan)]


def explain_lines(item: Item, looked: Looked) -> list[str]:
    """Why an item is there, as ``drydock explain`` says it."""
    if item.entry is not None:
        found = explain_entry(looked, item.entry, item.names[0])
    elif item.found is not None:
        found = explain_subject(looked, item.found)
    else:
        found = [each for ref in item.leases or item.refs for each in explain_subject(looked, ref)]
    lines = [line for each in found for line in (*report.explanation.explanation_lines(each), "")]
    if not lines:
        lines = [f"{item.title} is no record: Enter lists what is in it, and e explains each of these."]
    return lines


def run_line(run: PastRun) -> str:
    """A past run on one shown line."""
    did = [f"deleted {run.deleted} ({show_bytes(run.freed)})"] if run.deleted else []
    did += [f"moved {run.moved} ({show_bytes(run.moved_bytes)})"] if run.moved else []
    did += [f"edited {run.edited}"] if run.edited else []
    did += [f"failed {run.failed}"] if run.failed else []
    undo = f"undo: {run.undo.value}" + (f", {run.reason}" if run.undo is UndoState.IMPOSSIBLE else "")
    return f"{run.began[:19]}Z {run.end.value}: {', '.join(did) or 'nothing'}; {undo}; {shown(run.root)}"

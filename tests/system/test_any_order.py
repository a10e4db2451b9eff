"""Scan, plan, apply, kill and undo in any order, on random stores on disk: a model of the collector agrees."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.support.documents import run
from tests.support.faults import run_counted
from tests.support.worlds import WORLD, black, digest, expected, key, row_name, world_rows
from tests.support.worlds_on_disk import NOW, lay_out, observed, settled

LONG = "DRYDOCK_TEST_LONG" in os.environ
STRENGTH = {"live": 3, "leased": 2, "unreachable": 1}
KINDS = ("images", "leases", "blobs", "ingests", "snapshots", "extra_rows", "files", "folders", "ingest_folders")
CLEAN = ("clean", "--apply", "--yes", "--end-leases", "temporary", "--now", NOW)


class AnyOrder(RuleBasedStateMachine):
    """One store; ``world`` is what the model says is there."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="drydock-any-order-"))
        self.root, self.state, self.apart = (self.folder / name for name in ("root", "state", "apart"))
        for path in (self.root, self.state, self.apart):
            path.mkdir(mode=0o700)
        self.world, self.before, self.journals, self.moved = None, None, set(), False

    def teardown(self):
        """Nothing stays behind."""
        shutil.rmtree(self.folder)

    @initialize(world=WORLD)
    def start(self, world):
        """A store as it was found."""
        self.world = settled(world)
        lay_out(self.world, self.root)
        self.world = observed(self.world, self.root)

    @rule()
    def scan(self):
        """The states are the model's, and nothing changes."""
        text = run("scan", "--format", "json", "--now", NOW, "--state", self.state, self.root)
        live = black(self.world, self.world["leases"].keys())[0]
        reached = black(self.world, set())[0]
        names = {"blob": digest, "snapshot": key, "ingest": None}
        for each in json.loads(text)["roots"][0]["objects"]:
            name = names[each["kind"]]
            if name is None or not each["namespaces"] or each["reach"] is None or each["state"] == "orphaned":
                continue
            marked = [
                "live" if found in live else "leased" if found in reached else "unreachable"
                for space in each["namespaces"]
                for number in range(7)
                if name(number).decode() == each["id"]
                and (found := (each["kind"], space.encode(), number))[1:] in self.world[f"{each['kind']}s"]
            ]
            if marked:
                assert each["reach"] == max(marked, key=STRENGTH.__getitem__), each

    @rule()
    def plan_only(self):
        """Showing what would go changes nothing."""
        run("clean", "--end-leases", "temporary", "--now", NOW, self.root)

    @rule(by_plan=st.booleans(), apart=st.booleans())
    def clean(self, by_plan, apart):
        """All that the model drops goes, nothing else does, and then nothing is left to do."""
        self._remember(apart=apart)
        after = self._after()
        aside = ("--quarantine", self.apart) if apart else ()
        if by_plan:
            plan = self.folder / "plan"
            run("plan", "--end-leases", "temporary", "--now", NOW, "-o", plan, self.root)
            run("apply", "--state", self.state, *aside, plan, status=0)
        else:
            run(*CLEAN, "--state", self.state, *aside, self.root, status=0)
        self.world = observed(self.before, self.root)
        assert {kind: self.world[kind] for kind in KINDS} == {kind: after[kind] for kind in KINDS}
        assert not self.world["stray_rows"] | self.world["half_gone"]
        assert "othing to remove" in run("clean", "--end-leases", "temporary", "--now", NOW, self.root)

    @rule(at=st.integers(1, 90), apart=st.booleans())
    def killed(self, at, apart):
        """Killed anywhere: what the model keeps is there, and what is there was there before."""
        self._remember(apart=apart)
        after = self._after()
        aside = ("--quarantine", self.apart) if apart else ()
        ended = run_counted(*CLEAN, "--state", self.state, *aside, self.root, kill_after=at)
        assert ended.signal or ended.status == 0, ended.output
        self.world = observed(self.before, self.root)
        for kind in KINDS:
            assert set(after[kind]) <= set(self.world[kind]) <= set(self.before[kind]), kind
        kept = {row_name(key) for key in world_rows(after)}
        there = {row_name(key) for key in world_rows(self.world)} | self.world["stray_rows"]
        assert kept <= there

    @precondition(lambda self: self.before is not None and self._new_journal() is not None)
    @rule()
    def undo(self):
        """What the last run moved and edited is back."""
        run("undo", self._new_journal(), status=0)
        assert observed(self.before, self.root) == self.before
        self.world, self.before = self.before, None

    @invariant()
    def nothing_kept_is_gone(self):
        """What the model reaches is there, by its record and by its data, as far as it was there before."""
        if self.world is not None:
            there = observed(self.world, self.root)
            assert {kind: there[kind] for kind in KINDS} == {kind: self.world[kind] for kind in KINDS}

    def _remember(self, *, apart):
        self.before = self.world
        self.journals = self._all_journals()
        # What was deleted cannot be put back.
        self.moved = apart

    def _all_journals(self):
        return set(self.state.glob("*/journal.jsonl"))

    def _new_journal(self):
        new = self._all_journals() - self.journals
        # A run that was killed before its first line was whole has done nothing.
        return next((path for path in new if self.moved and b"\n" in path.read_bytes()), None)

    def _after(self):
        """What the model leaves of the world."""
        ended, records, rows, paths = expected(self.world)
        left = dict(self.world)
        left["leases"] = {key: facts for key, facts in left["leases"].items() if key not in ended}
        for kind in ("blob", "snapshot", "ingest"):
            left[f"{kind}s"] = {key: facts for key, facts in left[f"{kind}s"].items() if (kind, *key) not in records}
        left["extra_rows"] = {number: above for number, above in left["extra_rows"].items() if number not in rows}
        left["files"] = left["files"] - {path[1] for path in paths if path[0] == "blob"}
        left["folders"] = left["folders"] - {path[1] for path in paths if path[0] == "snapshot"}
        left["ingest_folders"] = left["ingest_folders"] - {path[1:] for path in paths if path[0] == "ingest"}
        return left


TestAnyOrder = pytest.mark.root(pytest.mark.slow(AnyOrder.TestCase))
TestAnyOrder.settings = settings(
    max_examples=600 if LONG else 8,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.root
def test_the_folder_of_a_row_that_a_kill_left():
    """A row without its record names its folder, so that this is not that of the record whose row is lost."""
    machine = AnyOrder()
    try:
        machine.start(
            world={
                "blobs": {(b"one", 2): (False, None)},
                "folders": {11},
                "snapshots": {
                    (b"two", 1): (True, None, None),
                    (b"one", 0): (False, None, None),
                    (b"two", 0): (False, None, None),
                    (b"one", 1): (False, None, None),
                },
                "images": set(),
                "ingest_folders": {(b"two", 0)},
                "leases": {},
                "extra_rows": {},
                "lost_rows": {(b"two", 1)},
                "files": {0, 1, 2, 3, 4},
                "ingests": {(b"one", 0): ("past", None)},
            }
        )
        machine.killed(at=71, apart=False)
        assert machine.world["stray_rows"]
        machine.clean(by_plan=False, apart=False)
    finally:
        machine.teardown()

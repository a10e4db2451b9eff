"""The one way in: locks last as long as the block, and what uses a root is refused until the first change."""

import fcntl
import subprocess
from contextlib import suppress
from functools import partial

import pytest
from fuzz.stores import put
from tests.support.roots import data

import drydock
from drydock import commands
from drydock.model.access import Access
from drydock.model.names import RawPath
from drydock.model.policies import Policy
from drydock.model.roots import Engine, Root
from drydock.session import find_roots, open_root, policies

LATER = 1_000_000_800_000_000_000
LOOKING, CHANGING, BESIDE = Access(now=LATER), Access(now=LATER, exclusive=True), Access(now=LATER, live=True)


@pytest.fixture
def root(tmp_path):
    """A small root with something of every state."""
    put(tmp_path / "root")
    return tmp_path / "root"


def entered(path, access):
    """Whether the root can be entered now."""
    (found,) = find_roots(RawPath(bytes(path)), access)
    try:
        with open_root(found, access):
            return True
    except drydock.InUse:
        return False


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        (LOOKING, LOOKING, True),
        (LOOKING, CHANGING, False),
        (CHANGING, LOOKING, False),
        (CHANGING, CHANGING, False),
        (CHANGING, BESIDE, True),
        (BESIDE, CHANGING, True),
    ],
)
def test_locks_last_until_the_block_ends(root, first, second, fits):
    """Readers share a root, a writer has it alone, and a live look takes no lock; after an error it is free again."""
    (found,) = find_roots(RawPath(bytes(root)), first)
    with suppress(ZeroDivisionError), open_root(found, first):
        assert entered(root, second) is fits
        raise ZeroDivisionError
    assert entered(root, CHANGING)


def test_a_data_root_that_dockerd_has_open_is_not_changed(root, tmp_path):
    """The lock on volumes that dockerd has keeps a writer out, and a writer keeps dockerd out; readers take none."""
    (tmp_path / "docker/volumes").mkdir(parents=True)
    volumes = tmp_path / "docker/volumes/metadata.db"
    volumes.touch()
    (found,) = find_roots(RawPath(bytes(root)), LOOKING)
    found = found._replace(docker=(RawPath(bytes(tmp_path / "docker")),))
    with volumes.open() as dockerd:
        fcntl.flock(dockerd, fcntl.LOCK_EX)
        with open_root(found, LOOKING), open_root(found, BESIDE):
            pass
        with pytest.raises(drydock.InUse, match=r"metadata\.db is locked by"), open_root(found, CHANGING):
            pass
    with open_root(found, CHANGING), volumes.open() as dockerd, pytest.raises(BlockingIOError):
        fcntl.flock(dockerd, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("access", [LOOKING, BESIDE, CHANGING], ids=["held", "live", "exclusive"])
def test_a_wrong_clock_is_refused_on_every_way_in(root, access):
    """A time before most records is refused; where no time is judged, any will do."""
    early = access._replace(now=10**9)
    (found,) = find_roots(RawPath(bytes(root)), early)
    with pytest.raises(drydock.Refused, match="carry a later time"), open_root(found, early):
        pass
    with open_root(found, early._replace(timed=False)) as session:
        assert session.verdict.objects


def test_what_begins_to_use_a_root_while_the_user_is_asked_is_refused(root, tmp_path):
    """A process that enters the root after it was planned: nothing is removed, in this root or another."""
    before = data(root)
    started = []

    def agree(scans):
        assert not scans[0].plan.is_empty
        started.append(subprocess.Popen(["sleep", "600"], cwd=root))
        return True

    try:
        with pytest.raises(drydock.Refused, match="is in use: sleep"):
            drydock.clean(root, agree=agree, now=LATER, state=tmp_path / "state")
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert data(root) == before


@pytest.mark.parametrize("option", ["state", "quarantine"])
def test_an_engines_folder_is_refused_before_anything_is_read(root, option):
    """For every command that takes one: a state directory or a quarantine in the root itself."""
    inside = {option: root / "kept"}
    calls = [lambda: drydock.clean(root, agree=lambda _: True, now=LATER, **inside)]
    calls.append(lambda: drydock.repair(root, agree=lambda _: True, now=LATER, apply=True, **inside))
    if option == "state":
        calls += [partial(call, root, now=LATER, **inside) for call in (drydock.scan, drydock.plan, drydock.verify)]
    (scan,) = drydock.plan(root, now=LATER)
    calls.append(lambda: drydock.apply([drydock.request(scan)], **inside))
    for call in calls:
        with pytest.raises(drydock.Refused, match="which an engine owns"):
            call()


@pytest.mark.parametrize("access", [LOOKING, BESIDE], ids=["shared", "live"])
def test_a_command_that_changes_a_root_holds_it_as_a_writer(root, tmp_path, access):
    """Clean, apply and undo take exclusive locks, also if the access that they get asks for less."""
    access = access._replace(policy=Policy(), state=RawPath(bytes(tmp_path / "state")))
    path, asked = RawPath(bytes(root)), []

    def agree(scans):
        asked.append(entered(root, LOOKING))
        return False

    assert commands.apply.clean(path, access, agree=agree) == []
    assert asked == [False]
    (scan,) = drydock.plan(root, now=LATER)
    (found,) = find_roots(path, LOOKING)
    with open_root(found, LOOKING), pytest.raises(drydock.InUse):
        commands.apply.apply([drydock.request(scan)], access)
    (run,) = commands.apply.clean(path, access, agree=lambda _: True)
    with open_root(found, LOOKING), pytest.raises(drydock.InUse):
        commands.undo.undo(run.journal, access)


@pytest.mark.parametrize("access", [LOOKING, BESIDE, BESIDE._replace(exclusive=True)], ids=["shared", "live", "both"])
def test_a_session_without_exclusive_locks_changes_nothing(root, tmp_path, access):
    """A plan of a shared or a live session is refused before anything is done."""
    before = data(root)
    (found,) = find_roots(RawPath(bytes(root)), access)
    access = access._replace(policy=Policy(), state=RawPath(bytes(tmp_path / "state")))
    with open_root(found, access) as session:
        made = session.scan().plan
        assert not made.is_empty
        with pytest.raises(drydock.Refused, match="not locked for a change"):
            commands.apply.carry_out([(session, made)])
    assert data(root) == before


def test_what_begins_to_use_a_later_root_while_the_first_is_changed_is_refused(root, tmp_path):
    """The first root is cleaned; in the second nothing is removed, and its run tells why."""
    later, state = tmp_path / "later", RawPath(bytes(tmp_path / "state"))
    put(later)
    before, started = data(later), []

    def start(*_):
        if not started:
            started.append(subprocess.Popen(["sleep", "600"], cwd=later))

    access = CHANGING._replace(policy=Policy(), state=state)
    (first,), (second,) = (find_roots(RawPath(bytes(path)), access) for path in (root, later))
    try:
        with open_root(first, access) as one, open_root(second, access) as other:
            plans = [(session, session.scan().plan) for session in (one, other)]
            one.access = access._replace(progress=start)
            done, refused = commands.apply.carry_out(plans)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert done.journal is not None
    assert not done.failed
    assert refused.journal is None
    assert refused.failed
    assert "is in use: sleep" in refused.warnings[0]
    assert data(later) == before


def test_logs_of_one_data_root_are_cut_once(tmp_path):
    """Of several roots that have a data root, the first cuts its logs; all else of the policy is the same."""
    shared = RawPath(bytes(tmp_path))
    roots = [
        Root(RawPath(b"/a"), Engine.DOCKER, docker=(shared,)),
        Root(RawPath(b"/b"), Engine.DOCKER, docker=(shared,)),
    ]
    access = LOOKING._replace(policy=drydock.Policy("temporary", truncate_logs=7))
    entries = [(root.path, entry.policy) for root, entry in policies(roots, access)]
    assert entries == [(b"/a", access.policy), (b"/b", drydock.Policy("temporary"))]
    assert [entry.policy for _, entry in policies(roots, LOOKING)] == [None, None]


@pytest.mark.parametrize("size", [-1, 1.5, "10M", True])
def test_a_size_that_no_log_has(size):
    """The library takes whole numbers of bytes."""
    with pytest.raises(drydock.Usage, match="is not a number of bytes"):
        drydock.Policy(truncate_logs=size)


def test_what_nobody_asked_for_in_the_block_is_there_behind_it(root, monkeypatch):
    """A worker that lists the blobs ends with the block: what it listed has been taken over by then."""
    monkeypatch.setattr("drydock.evidence.containerd.store.LARGE", 0)
    monkeypatch.setattr("threading.active_count", lambda: 1)  # tests before it may have left some
    (found,) = find_roots(RawPath(bytes(root)), LOOKING)
    with open_root(found, LOOKING) as session:
        assert session.held.listing is not None
        assert callable(session.store.listed)
    there = {entry.name for entry in (root / "io.containerd.content.v1.content/blobs/sha256").iterdir()}
    assert {digest.removeprefix(b"sha256:").decode() for digest in session.store.content.blobs} == there
    assert session.verdict.objects

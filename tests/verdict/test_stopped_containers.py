"""Which containers a choice drops: by rules written here again, and never one that ran at the engine's last stop."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.values import FINGERPRINT, NOW, lease, snapshot, store

from drydock.commands.plan import refuse_unknown_names
from drydock.model.container_drops import ContainerFiles, ContainerFolder, LastRun, Pod
from drydock.model.drops import parse_drop, parse_filter
from drydock.model.errors import Usage
from drydock.model.names import Kind, RawPath, Ref, UnixNano
from drydock.model.policies import Policy
from drydock.model.records import Container, Sandbox
from drydock.model.roots import DockerContainer, Owners
from drydock.model.scans import Scan
from drydock.reclaim.plan import make_plan
from drydock.verdict.judge import judge
from drydock.verdict.stopped_containers import choose_containers

DATA = RawPath(b"/data")
SECOND = 10**9
HOUR = 3600 * SECOND
WEB, DB, JOB = (letter * 64 for letter in (b"a", b"b", b"c"))
NAMES = {WEB: b"web", DB: b"db", JOB: b"job"}


def before(seconds):
    """A time some seconds ago."""
    return UnixNano(NOW - seconds * SECOND)


def run(started, ended, *, restart=b"no", by_hand=False, active=False, created=None, grace=10):
    """A last run, in seconds ago; None for never."""
    times = [None if each is None else before(each) for each in (started, ended)]
    made = before((started or 0) + 1 if created is None else created)
    return LastRun(active, made, *times, restart, by_hand, grace * SECOND)


def host(runs, labels=None, records=()):
    """A store of Docker's image store with containers, by id."""
    containers = {key: DockerContainer(key, NAMES.get(key, key[:4]), b"overlayfs") for key in runs}
    owners = Owners(containers=containers, containers_changed=NOW, by_data_root={DATA: containers})
    held = [lease(key, snapshots=[key]) for key in runs]
    read = store(*held, *(snapshot(key) for key in runs), *records, owners=owners)
    read.root = read.root._replace(docker=(DATA,))
    read.container_files = ContainerFiles(
        {
            key: ContainerFolder(
                DATA, RawPath(b"containers/" + key), FINGERPRINT, 4096, (labels or {}).get(key, {}), each
            )
            for key, each in runs.items()
        }
    )
    return read


def chosen(read, drop=b"stopped-containers", *, accepted=(b"all",), filters=(), **options):
    """Names of the containers that go, and what is said of those that stay."""
    verdict, _ = judge(read, NOW)
    words = [parse_filter(each) for each in filters]
    found = choose_containers(verdict, [parse_drop(drop)], accepted=accepted, filters=words, **options)
    return {each.drop.called for each in found.going}, {name: why for name, _, why in found.staying}


LONG = run(9000, 100)
"""Ran until shortly before the end."""


@pytest.mark.parametrize(
    "last",
    [
        run(8000, 8000, active=True),
        run(8000, 7000, restart=b"always"),
        run(8000, 7000, restart=b"on-failure"),
        run(8000, 7000, restart=None),
        run(8000, 130),
        run(8000, None),
        None,
    ],
)
def test_what_may_have_run_stays(last):
    """Running, restarted by a policy, ended by the stop, or unreadable: named with the reason, gone by name only."""
    read = host({WEB: last, DB: LONG})
    going, staying = chosen(read)
    assert (going, set(staying)) == (set(), {"web", "db"})
    assert staying["web"].startswith("container web stays: ")
    assert chosen(read, b"container=web")[0] == {b"web"}


@pytest.mark.parametrize(
    ("last", "other", "goes"),
    [
        (run(8000, 7000), LONG, True),  # the other ran on
        (run(8000, 7000), run(6000, 5990, created=9000), True),  # somebody started the other later
        (
            run(8000, 7000),
            run(6000, 5990, restart=b"always", created=9000),
            False,
        ),  # a start that failed may have done that
        (run(8000, 7000), run(6000, 5000, restart=b"always", created=9000), True),  # a start that lasted
        (run(8000, 7000), run(None, None, created=6000), True),  # somebody created the other later
        (run(8000, 7000), run(7500, 6950, created=9000), False),  # a stop of the engine may take that long
        (run(8000, 7000), run(7500, 6800, grace=600), False),  # and with this container longer
        (run(8000, 7000), run(9000, 8500), False),  # nothing is later
        (run(8000, 7000, restart=b"always", by_hand=True), LONG, True),
        (run(None, None, created=5), run(9000, 8500), True),  # it never ran
    ],
)
def test_an_end_before_the_last_stop_is_shown_by_another(last, other, goes):
    """Each kind of evidence that the engine went on, and what looks like it and is none."""
    assert (b"web" in chosen(host({WEB: last, DB: other}))[0]) == goes


def test_what_is_lost_is_asked_for():
    """Without ``--accept-loss`` it is named with the command that saves it; one name accepts one."""
    read = host({WEB: run(8000, 7000), JOB: run(8000, 7000), DB: LONG})
    going, staying = chosen(read, accepted=())
    assert not going
    assert "WOULD BE LOST" in staying["web"]
    assert "drydock export container web" in staying["web"]
    assert chosen(read, accepted=(b"job",))[0] == {b"job"}
    assert chosen(read, kept=(b"web",))[0] == {b"job"}


def test_filters_and_age_are_the_engines():
    """As moby's matchLabels: each label, and not all of the negated ones; an end counts, or else the creation."""
    labels = {WEB: {b"tier": b"a", b"x": b"1"}, JOB: {b"tier": b"b"}}
    read = host({WEB: run(8000, 7000), JOB: run(None, None, created=8000), DB: LONG}, labels)
    both = {b"web", b"job"}
    for words, going in (
        ((b"label=tier",), both),
        ((b"label=tier=b",), {b"job"}),
        ((b"label=tier", b"label=x"), {b"web"}),
        ((b"label!=x",), {b"job"}),
        ((b"label!=x", b"label!=tier=b"), both),
        ((b"label!=x", b"label!=tier=a"), {b"job"}),
    ):
        assert chosen(read, filters=words)[0] == going, words
    assert chosen(read, unused_for=2 * HOUR)[0] == {b"job"}
    for word in (b"label", b"label=", b"until=1h"):
        with pytest.raises(Usage):
            parse_filter(word)


def record(name, space=b"default", **labels):
    """A container record of nerdctl or the CRI plugin."""
    found = {key.encode().replace(b"_", b"/"): value for key, value in labels.items()}
    return Container(space, name, b"x:1", b"overlayfs", name, b"", b"runc", found)


def test_those_of_containerd_and_kubernetes_go_by_name_alone():
    """By the id, or POD/NAME; never by their kind; no sandbox, and none of nerdctl whose files were not found."""
    pod = {"io.kubernetes.container.name": b"main", "io.kubernetes.pod.name": b"shop"}
    sandbox = {"io.cri-containerd.kind": b"sandbox"}
    records = [
        record(b"n1", nerdctl_name=b"box"),
        record(b"c1"),
        record(b"k1", b"k8s.io", **pod),
        record(b"s1", b"k8s.io", **sandbox),
    ]
    read = host({WEB: run(8000, 7000), DB: LONG}, records=records)
    assert chosen(read)[0] == {b"web"}
    for word, going in ((b"box", set()), (b"c1", {b"c1"}), (b"shop/main", {b"main"}), (b"s1", set())):
        assert chosen(read, b"container=" + word)[0] == going, word


@pytest.mark.parametrize(
    ("field", "pod_of", "words", "goes"),
    [
        (b"", {}, b"s1", False),  # whose c1 is, is not known
        (b"", {b"c1": b""}, b"s1", False),
        (b"", {b"c1": b"s2"}, b"s1", True),
        (b"", {b"c1": b"s1"}, b"s1", False),  # containerd 1.6 has it in the metadata alone
        (b"s1", {}, b"s1", False),
        (b"s1", {}, b"s1,c1", True),
        (b"s2", {}, b"s1", True),
    ],
)
@pytest.mark.parametrize("lacking", ["", "metadata", "sandboxer"])
def test_a_sandbox_goes_after_all_containers_of_its_pod(field, pod_of, words, goes, lacking):
    """With its record and its lease; never where its metadata could not be read, or 1.7 has its record elsewhere."""
    kind = "io.cri-containerd.kind"
    own = record(b"s1", b"k8s.io", **{kind: b"sandbox"})
    other = record(b"c1", b"k8s.io", **{kind: b"container"})._replace(sandbox_id=field)
    stored = Sandbox(b"k8s.io", b"s1", b"podsandbox", b"runc", {}, outside_v1=lacking == "sandboxer")
    read = host({WEB: run(8000, 7000)}, records=[own, other, stored, lease(b"s1", namespace=b"k8s.io")])
    read.container_files.pods = {} if lacking == "metadata" else {b"s1": Pod()}
    read.container_files.pod_of = pod_of
    verdict, _ = judge(read, NOW)
    drops = [parse_drop(b"container=" + word) for word in words.split(b",")]
    going = {each.drop.id: each for each in choose_containers(verdict, drops, accepted=(b"all",)).going}
    assert (b"s1" in going) == (goes and not lacking)
    if b"s1" in going:
        assert {ref.kind for ref in going[b"s1"].refs} == {Kind.CONTAINER, Kind.SANDBOX, Kind.LEASE}


def test_what_frees_the_network_of_a_pod_can_be_copied_into_a_shell():
    """Also where somebody else named a network or a namespace so that it would be another command."""
    kind = "io.cri-containerd.kind"
    read = host({}, records=[record(b"s1", b"k8s.io", **{kind: b"sandbox"})])
    networks = b"/var/lib/cni/networks/"
    addresses = (RawPath(networks + b"a/10.0.0.1"), RawPath(networks + b"b;reboot/10.0.0.2"))
    read.container_files.pods = {b"s1": Pod(has_network=True, addresses=addresses, namespace=b"cni-$(reboot)")}
    verdict, _ = judge(read, NOW)
    (sandbox,) = choose_containers(verdict, [parse_drop(b"container=s1")], accepted=(b"all",)).going
    said = sandbox.drop.why.partition("freed by: ")[2].split("; ")
    assert [shlex.split(each) for each in said] == [
        *(["rm", each.decode()] for each in addresses), ["ip", "netns", "delete", "cni-$(reboot)"],
    ]  # fmt: skip
    assert "'cni-$(reboot)'" in said[2]


def test_an_id_in_two_namespaces_names_neither():
    """Refused with both, and each with its namespace is one container: the other stays."""
    records = [record(b"c1" * 32, space) for space in (b"default", b"other")]
    read = host({WEB: run(8000, 7000), DB: LONG}, records=records)

    def planned(word):
        policy = Policy(drops=[b"container=" + word], accept_loss=["all"])
        verdict, reached = judge(read, NOW)
        scan = Scan(verdict, make_plan(verdict, reached, policy, ()))
        refuse_unknown_names([scan], policy)
        return {each.namespace for each in scan.plan.containers}

    for word in (b"c1" * 32, b"c1c1c1"):
        with pytest.raises(Usage, match=r"there are 2 containers .*default/c1.*, other/c1.*; name one with its namesp"):
            planned(word)
    assert planned(b"other/" + b"c1" * 32) == {b"other"}
    assert planned(b"moby/" + WEB) == {b""}


TIME = st.integers(0, 12).map(lambda step: step * 40)


@st.composite
def last_runs(draw):
    """Runs with times in one frame, so that they meet often."""
    start, length, made = draw(TIME), draw(TIME), draw(TIME)
    ran = draw(st.booleans())
    active = ran and draw(st.booleans())
    ended = None if not ran or active else max(0, start - length)
    restart = draw(st.sampled_from([b"no", b"no", b"always", None]))
    return run(start if ran else None, ended, restart=restart, by_hand=draw(st.booleans()), active=active,
               created=start + made)  # fmt: skip


@given(st.dictionaries(st.sampled_from([WEB, DB, JOB]), last_runs(), min_size=1), st.booleans(), st.data())
def test_nothing_that_may_have_run_is_in_a_plan(runs, names_one, data):
    """Whatever the host: what the plan takes had ended before, by a model of its own; lease and folder go with it."""
    read = host(runs)
    named = data.draw(st.sampled_from(sorted(runs))) if names_one else None
    words = [b"stopped-containers", *([b"container=" + named] if named else [])]
    made = make_plan(*judge(read, NOW), Policy(drops=words, accept_loss=["all"]), ())
    going = {each.id for each in made.containers}
    assert {end.ref for end in made.leases} == {Ref(Kind.LEASE, b"moby", each) for each in going}
    assert {each.path for each in made.removals} == {b"containers/" + each for each in going}
    for each in going - {named}:
        last = runs[each]
        assert not last.is_active
        assert last.restart == b"no" or (last.restart is not None and last.is_stopped_by_hand)
        # A stop of the engine at its end, with all others down and nothing begun by hand since, must be impossible.
        assert last.started is None or any(
            other is not last
            and (
                other.created - last.ended > 70 * SECOND
                or (
                    other.started is not None
                    and (
                        (other.restart == b"no" and other.started - last.ended > 70 * SECOND)
                        or (
                            other.ended is not None
                            and other.ended - last.ended > 70 * SECOND
                            and (other.started <= last.ended or other.ended - other.started > 600 * SECOND)
                        )
                    )
                )
            )
            for other in runs.values()
        )


def test_a_name_is_one_word_of_a_command(monkeypatch):
    """Dockerd makes no such name, but another system's disk may have any: what is copied runs no other command."""
    monkeypatch.setitem(NAMES, WEB, b"web;$(reboot) \x1b")
    _, staying = chosen(host({WEB: run(8000, 7000), DB: LONG}), accepted=())
    (why,) = (why for why in staying.values() if "WOULD BE LOST" in why)
    word = "'web;$(reboot) \\x1b'"
    assert f"drydock export container {word} -o FILE" in why
    assert f"--accept-loss {word} " in why

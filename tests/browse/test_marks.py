"""Marks become a policy, and the planner says what goes and why not; on a capture of a real engine."""

import pytest
from tests.browse.test_tree import every, one
from tests.support.captures import capture

from drydock import commands
from drydock.browse.deeds import Place
from drydock.browse.marks import Answer, foot, policy_of, wish_of
from drydock.browse.tree import Item
from drydock.commands.browse import decide
from drydock.model.access import Access
from drydock.model.disk_usage import UsageCategory, UsageEntry
from drydock.model.drops import Drop, DropKind
from drydock.model.errors import Refused
from drydock.model.names import Kind, RawPath, Ref
from drydock.model.policies import EndLeases

pytestmark = pytest.mark.root


@pytest.fixture(scope="session")
def items(view):
    """All items."""
    return list(every(view.tree, view.tree.top))


def answer(view, *items, accepted=()):
    """The planner's answer to marks."""
    return Answer(decide(view.looked, policy_of(items, accepted)))


def test_the_options_that_marks_stand_for(items):
    """Each kind of mark is an option of clean; several are one policy, and the widest class of leases counts."""
    image = one(items, "image", "base:v1")
    temporary = one(items, "group", "temporary leases")
    lease = temporary.below[0]
    policy = policy_of([image, lease, one(items, "group", "build history")])
    assert policy.drops == (*(Drop(DropKind.IMAGE, name) for name in image.names), Drop(DropKind.BUILD_HISTORY))
    assert policy.leases == (lease.leases[0].namespace + b"/" + lease.leases[0].key,)
    assert policy.end is EndLeases.EXPIRED
    assert policy_of([temporary, image]).end is EndLeases.TEMPORARY
    for space, name in ((b"k8s.io", b"k8s.io/c1"), (b"moby", b"c1"), (b"", b"c1")):
        container = Item("container", "c1", names=(b"c1",), refs=(Ref(Kind.CONTAINER, space, b"c1"),))
        assert policy_of([container]).drops == (Drop(DropKind.CONTAINER, name),)
    assert policy_of([Item("group", "logs")]).truncate_logs == 10 << 20


def test_it_answers_as_clean_does(view, host, items):
    """The plan of marks is the plan that clean makes of the same options when it reads the store anew."""
    marked = [one(items, "group", "temporary leases"), one(items, "image", "base:v1")]
    now = view.looked[0].session.now
    policy = policy_of(marked)
    (scan,) = commands.plan.plan(
        str(host).encode(), Access(now=now, policy=policy, measure=view.looked[0].session.access.measure)
    )
    (made,) = answer(view, *marked).plans
    assert made == scan.plan._replace(fingerprints=())
    assert made.bytes > 0


def test_what_goes_with_a_mark(view, items):
    """With a lease go the objects that only it holds, and no other; each item says so."""
    lease = one(items, "group", "temporary leases").below[0]
    found = answer(view, lease)
    assert found.why_not(lease, view.base) is None
    below = view.tree.level(lease)
    assert {item for item in items if item.found is not None and found.goes(item)} == {
        item for item in below if item.unique or item.state.value == "leased"
    }
    assert found.bytes == lease.unique


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("image", "demo:v2", "container killed uses it"),
        ("image", "dang:v1", "WOULD BE LOST"),
        ("snapshot", "unpacked layer", "something holds it"),
    ],
)
def test_what_stays_says_why(kind, name, why, view, items):
    """The reason is the planner's."""
    item = one(items, kind, name)
    assert why in answer(view, item).why_not(item, view.base)


def test_a_lease_whose_owner_exists_is_refused(view, items):
    """Its planner refuses, and that is the reason."""
    lease = one(items, "group", "build history").below[0]
    with pytest.raises(Refused, match="belongs to build"):
        answer(view, lease)


def test_a_loss_is_accepted_by_name(view, items):
    """An image that no registry has goes once its name was accepted."""
    image = one(items, "image", "dang:v1")
    assert answer(view, image, accepted=image.names).why_not(image, view.base) is None


def test_a_container_goes_with_what_it_wrote(view, items):
    """Its loss is named first; once accepted, its files and its lease go."""
    container = one(items, "container", "exited")
    assert "WOULD BE LOST: what container exited wrote" in answer(view, container).why_not(container, view.base)
    found = answer(view, container, accepted=container.names)
    assert found.why_not(container, view.base) is None
    assert found.bytes > container.unique


def test_what_no_option_removes():
    """Volumes have no mark, and the reason names what removes them."""
    assert "docker volume rm" in wish_of(Item("volume", "pgdata"))
    assert isinstance(wish_of(Item("tmp", "x")), str)


def test_a_group_without_a_mark_says_where_the_marks_are():
    """What is in it may go, so it is not said that nothing frees it; of measured files nothing else can be said."""
    assert wish_of(Item("group", "classic layer store", places=[1])) == (
        "it cannot be marked as a whole: go down with Enter"
    )
    entry = UsageEntry(UsageCategory.TMP, b"tmp", RawPath(b"/data/tmp"), 1)
    tmp = Item("group", "tmp", below=[Item("tmp", "tmp", entry=entry)])
    assert wish_of(tmp) == "no option of drydock clean frees it"


def test_logs_that_are_short_say_so(view):
    """A mark on them asks to cut the long ones, and there is none."""
    logs = Item("group", "logs")
    assert answer(view, logs).why_not(logs, view.base) == "no log of a stopped container is longer than 10.0 MiB"


def test_the_foot(view, items):
    """Bytes, and what else goes; without marks what is held by nothing anyway."""
    assert foot(0, None, view.base) == "nothing is marked"
    found = answer(view, one(items, "group", "temporary leases"))
    assert foot(1, found, view.base).startswith("1 marked: frees ")
    assert "1 lease, " in foot(1, found, view.base)


def test_unreferenced_data_can_be_marked(unpacked):
    """What no record names: the group and each thing in it; and the foot says that it goes with any plan."""
    from tests.browse.conftest import ignore, place_of

    of = capture("containerd-1.6-planted-orphans")
    place = place_of(of, unpacked(of))
    assert isinstance(place, Place)
    view = place.read(ignore)
    items = list(every(view.tree, view.tree.top))
    group = one(items, "group", "without a record")
    for item in (group, next(item for item in group.below if item.state.value == "orphaned")):
        assert answer(view, item).why_not(item, view.base) is None
    assert "held by nothing" in foot(0, None, view.base)
    assert "goes with any plan" in foot(1, answer(view, group), view.base)


def test_an_image_of_the_classic_store(unpacked):
    """It stays for the planner's reason, and goes once its loss is accepted."""
    from tests.browse.conftest import ignore, place_of

    of = capture("docker-28.5-classic")
    view = place_of(of, unpacked(of)).read(ignore)
    items = list(every(view.tree, view.tree.top))
    image = one(items, "image", "kept:1")
    assert "WOULD BE LOST" in answer(view, image).why_not(image, view.base)
    found = answer(view, image, accepted=image.names)
    assert found.why_not(image, view.base) is None
    used = one(items, "image", "shop:1")
    assert "container" in answer(view, used).why_not(used, view.base)

"""What a plan frees of a classic layer store, in which order, and how carrying it out ends, killed at any call too."""

import errno
import os
import shutil
import signal
from contextlib import ExitStack

import pytest
from fuzz.stores import put
from tests.support.classic_root import ClassicRoot, hexed

from drydock.evidence.docker.containers import read_containers
from drydock.evidence.docker.layer_store import read_layer_store
from drydock.model.access import Access
from drydock.model.names import Kind, RawPath, Ref
from drydock.model.plans import CLASSIC_RECORDS, Plan, Status, Target
from drydock.model.policies import Policy
from drydock.reclaim import execute, execute_removals, knife
from drydock.reclaim.journal import read_journal
from drydock.reclaim.layer_plan import plan_layers
from drydock.reclaim.state_dir import find_unfinished
from drydock.reclaim.undo import undo
from drydock.session import find_roots, open_root
from drydock.verdict.layer_store import judge_layer_store

LATER = 1_000_000_800_000_000_000
LAYERS = "image/overlay2/layerdb/sha256"
MOUNTS = "image/overlay2/layerdb/mounts"
LOST = Ref(Kind.LAYER_MOUNT, b"", hexed("container lost").encode())


@pytest.fixture
def root(tmp_path):
    """What is kept: two layers of an image, a container. What is not: of each kind something."""
    return made(tmp_path / "docker")


def made(data):
    """The same in a folder of this path."""
    root = ClassicRoot(data)
    put(data / "containerd/daemon")
    root.layer("base")
    root.layer("top", "base")
    root.an_image("shop:1", "base", "top")
    root.container("web", "top")
    root.kept = tree(root)
    root.layer("gone", "base")
    root.layer("gone too", "gone")
    root.layer("going", "base")
    record = root.layerdb / "sha256" / hexed_chain(root, "going")
    record.rename(record.with_name(f"{record.name}-{'0' * 64}-removing"))
    root.directory(hexed("killed"), root.below("top"))
    root.directory("b" * 25, root.below("top"))
    os.symlink("../gone/diff", root.overlay / "l" / ("G" * 26))
    (root.layerdb / "tmp/write-set-1").mkdir()
    (root.layerdb / "tmp/write-set-1/diff").write_text("sha256:" + "0" * 64)
    root.mount("c" * 25, "top", hexed("step"), init=False)
    return root


def written(root):
    """A layer that a container wrote, whose folder is gone, on a layer that nothing else needs."""
    root.layer("old", "base")
    shutil.rmtree(root.data / "containers" / root.container("lost", "old"))


def hexed_chain(root, word):
    """The name of a layer's record."""
    return root.chains[word].removeprefix("sha256:")


def link_of(name):
    """The link to a directory."""
    return "overlay2/l/" + hexed(name)[:26].upper()


def tree(root):
    """Every path of the classic store with its kind and contents, without the marks of what was made on a layer."""
    found = {}
    for top in ("overlay2", "image"):
        for folder, folders, files in os.walk(root.data / top):
            for name in folders + files:
                path = os.path.join(folder, name)
                if name == "committed":
                    continue
                held = os.readlink(path) if os.path.islink(path) else None
                if held is None and name in files:
                    with open(path, "rb") as file:
                        held = file.read()
                found[os.path.relpath(path, root.data)] = held
    return found


def plan(root, *ended, kept=(), records=True):
    """The plan of the layer store as it is now."""
    data = os.fsencode(root.data)
    store = read_layer_store(data, read_containers(data, [])[0])
    found = judge_layer_store(store, LATER)
    reasons = {**found.kept, **dict.fromkeys(map(os.fsencode, kept), "kept by --keep")}
    return plan_layers(store, found.objects, ended=ended, kept=reasons, records=records)


def paths(removals):
    """As text."""
    return [os.fsdecode(each.path) for each in removals]


UNUSED = [hexed(each) for each in ("directory gone", "directory gone too", "directory going", "killed", "step")]
EXPECTED = {
    *map(link_of, UNUSED),
    *(f"overlay2/{each}" for each in UNUSED),
    link_of("b" * 25),
    "overlay2/l/" + "G" * 26,
    "overlay2/" + "b" * 25,
    "image/overlay2/layerdb/tmp/write-set-1",
    f"{MOUNTS}/{'c' * 25}",
}


def expected(root):
    """What goes, by how the store was made."""
    going = f"{LAYERS}/{hexed_chain(root, 'going')}-{'0' * 64}-removing"
    return {*EXPECTED, going, *(f"{LAYERS}/{hexed_chain(root, word)}" for word in ("gone", "gone too"))}


def test_what_goes_is_what_nothing_uses(root):
    """All that was made for no image and no container, and nothing else; a foreign folder stays."""
    (root.overlay / "mine").mkdir()
    found = plan(root)
    assert set(paths(found.removals)) == expected(root)
    assert found.withheld == []


def test_the_order_leaves_what_dockerd_tolerates(root):
    """Records before what they name, the layers of an image from the top, links before directories."""
    found = plan(root).removals
    order = paths(found)
    assert order.index(f"{LAYERS}/{hexed_chain(root, 'gone too')}") < order.index(
        f"{LAYERS}/{hexed_chain(root, 'gone')}"
    )
    records = [each.target in CLASSIC_RECORDS for each in found]
    assert records == sorted(records, reverse=True)
    data = [each.target for each in found if each.target not in CLASSIC_RECORDS]
    assert data == sorted(data, key=[Target.LINK, Target.LAYER].index)
    named = {os.fsdecode(each.path): os.fsdecode(each.named_by) for each in found}
    record = f"{LAYERS}/{hexed_chain(root, 'gone')}"
    directory = hexed("directory gone")
    assert (named[f"overlay2/{directory}"], named[link_of(directory)], named[record]) == (record, record, "")
    assert named[f"overlay2/{hexed('killed')}"] == ""


def test_a_written_layer_goes_only_by_name(root):
    """With its record, its init directory and the layer below that nothing else needs; not otherwise."""
    before = set(paths(plan(root).removals))
    written(root)
    assert set(paths(plan(root).removals)) == before
    found = plan(root, LOST).removals
    more = {os.fsdecode(each.path): each.target for each in found if os.fsdecode(each.path) not in before}
    writable, old = hexed("written lost"), hexed("directory old")
    assert more == {
        f"{MOUNTS}/{hexed('container lost')}": Target.MOUNT_RECORD,
        f"{LAYERS}/{hexed_chain(root, 'old')}": Target.LAYER_RECORD,
        f"overlay2/{writable}": Target.WRITTEN_LAYER,
        f"overlay2/{writable}-init": Target.LAYER,
        f"overlay2/{old}": Target.LAYER,
        **dict.fromkeys(map(link_of, (writable, f"{writable}-init", old)), Target.LINK),
    }


def test_what_is_kept_keeps_what_it_needs(root):
    """A layer keeps its directory and all below it; a directory that nothing names, all in its lower."""
    top = f"{LAYERS}/{hexed_chain(root, 'gone too')}"
    found = plan(root, kept=[top])
    left = {
        path
        for word in ("gone", "gone too")
        for path in (
            f"{LAYERS}/{hexed_chain(root, word)}",
            f"overlay2/{hexed(f'directory {word}')}",
            link_of(hexed(f"directory {word}")),
        )
    }
    assert set(paths(found.removals)) == expected(root) - left
    assert {each.reason for each in found.withheld} >= {"kept by --keep", f"{top} stays, and needs it"}
    unnamed = hexed("built on it")
    root.directory(unnamed, [hexed("directory gone"), *root.below("base")])
    found = plan(root, kept=[f"overlay2/{unnamed}"])
    going = set(paths(found.removals))
    assert going.isdisjoint(
        {link_of(unnamed), f"{LAYERS}/{hexed_chain(root, 'gone')}", link_of(hexed("directory gone"))}
    )
    assert f"{LAYERS}/{hexed_chain(root, 'gone too')}" in going


def test_without_records_only_what_nothing_names_goes(root):
    """With --no-edit: directories, links and write-sets."""
    found = plan(root, records=False)
    named = [hexed(each) for each in ("directory gone", "directory gone too", "directory going", "step")]
    records = {path for path in expected(root) if path.startswith((LAYERS, MOUNTS))}
    assert set(paths(found.removals)) == expected(root) - records - {
        *map(link_of, named),
        *(f"overlay2/{each}" for each in named),
    }


def flipped(text):
    """With one character changed in the middle, as a name or a digest stays one."""
    place = len(text) // 2
    return text[:place] + (b"1" if text[place : place + 1] != b"1" else b"2") + text[place + 1 :]


DAMAGES = {
    "gone": None,
    "empty": lambda _: b"",
    "cut": lambda text: text[: len(text) // 2],
    "flipped": flipped,
    "noise": lambda text: b"\xff\x00" * (len(text) // 2 + 1),
}


@pytest.mark.parametrize("ended", [(), (LOST,)], ids=["", "ownerless"])
@pytest.mark.parametrize("how", DAMAGES)
def test_no_damage_makes_the_plan_larger(root, how, ended):
    """One file of the records, of the directories or of a container damaged, each in turn: what was kept is kept."""
    written(root)
    root.layer("solo", "base")
    root.an_image("solo:1", "base", "solo")
    shutil.rmtree(root.data / "containers" / root.container("gone as well", "solo"))
    root.kept = tree(root)
    ended = (*ended, Ref(Kind.LAYER_MOUNT, b"", hexed("container gone as well").encode())) if ended else ()
    going = [each.path for each in plan(root, *ended).removals]
    root.kept = {path: held for path, held in root.kept.items() if not any(map(os.fsencode(path).startswith, going))}
    sound = set(paths(plan(root, *ended).removals))
    kept = [root.data / path for path in root.kept if root.kept[path] is not None]
    configs = list((root.data / "containers").rglob("*.json"))
    damaged = 0
    for path in (*kept, *configs):
        if path.is_symlink() or "/diff/" in str(path):
            continue
        before = path.read_bytes()
        path.unlink()
        change = DAMAGES[how]
        if change is not None:
            path.write_bytes(change(before))
        assert set(paths(plan(root, *ended).removals)) <= sound, path
        path.unlink(missing_ok=True)
        path.write_bytes(before)
        damaged += 1
    assert damaged > 15
    assert set(paths(plan(root, *ended).removals)) == sound


def test_a_lost_link_or_folder_keeps_what_it_may_have_meant(root):
    """Each link and each folder of what is kept is taken away in turn: nothing that was kept goes."""
    sound = set(paths(plan(root).removals))
    entries = [root.data / path for path in root.kept if root.kept[path] is None or path.startswith("overlay2/l/")]
    entries += [root.data / "containers", *(root.data / "containers").iterdir()]
    aside = root.data / "aside"
    for path in entries:
        if "/diff" in str(path):
            continue
        path.rename(aside)
        assert set(paths(plan(root).removals)) <= sound, path
        aside.rename(path)


def test_a_link_in_the_place_of_a_record_is_not_followed(root, tmp_path):
    """It may stand for a record that names anything: what it may name stays, with the reason."""
    sound = set(paths(plan(root).removals))
    (tmp_path / "cache-id").write_text(hexed("killed"))
    for place in (
        root.layerdb / "tmp/write-set-2",
        root.layerdb / "sha256" / f"{hexed('other')}-{'0' * 64}-removing",
        root.layerdb / "sha256" / hexed("other"),
        root.layerdb / "mounts" / hexed("other"),
    ):
        place.symlink_to(tmp_path)
        found = plan(root)
        going = set(paths(found.removals))
        assert going < sound
        assert not any(path.startswith("overlay2/") for path in going)
        assert any("Not a directory" in each.reason for each in found.withheld)
        place.unlink()


def test_hostile_names_reach_nothing_else(root, tmp_path):
    """Links that lead out, and names that no dockerd gives: only a link itself goes, and foreign names stay."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    (root.overlay / hexed("a link")).symlink_to(precious)
    (root.overlay / hexed("killed") / "diff/out").symlink_to(precious)
    foreign = {"overlay2/\x1b[2J\n", "overlay2/-rf", "overlay2/l/\udcff", "overlay2/l/" + "H" * 26}
    for name in foreign:
        (root.data / name).symlink_to(precious)
    run = carry_out(root, state=tmp_path / "state")
    assert {each.status for each in run.outcomes} == {Status.DONE}
    assert set(tree(root)) == {*root.kept, *foreign}
    assert (precious / "file").read_text() == "kept"


def carry_out(root, *ended, state, quarantine=None, threads=1):
    """Carry out the plan of the layer store as it is now."""
    execute_removals._TOGETHER, execute_removals._WAITS = threads, 0
    data = RawPath(os.fsencode(root.data))
    access = Access(now=LATER, exclusive=True, state=RawPath(os.fsencode(state)))
    with ExitStack() as stack:
        (found,) = find_roots(data, access)
        session = stack.enter_context(open_root(found, access))
        removals = tuple(plan(root, *ended).removals)
        made = Plan(found.path, found.host, LATER, Policy(), (), (), (), (), removals)
        place = None if quarantine is None else RawPath(os.fsencode(quarantine))
        return execute.execute(
            made, session.held, session.store, plan_hash="a" * 64, state=access.state, quarantine=place
        )


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """The number of threads, and when there are several, is put back."""
    monkeypatch.setattr(execute_removals, "_TOGETHER", execute_removals._TOGETHER)
    monkeypatch.setattr(execute_removals, "_WAITS", execute_removals._WAITS)


def test_all_of_it_goes_and_nothing_else(root, tmp_path):
    """Afterwards the store is as it was before anything was made for nobody; the folders themselves stay."""
    run = carry_out(root, state=tmp_path / "state", threads=2)
    assert {outcome.status for outcome in run.outcomes} == {Status.DONE}
    assert tree(root) == root.kept
    assert run.freed > 0


@pytest.mark.parametrize("what", ["record", "tmp is missing"])
def test_a_record_that_stays_keeps_what_it_names(root, tmp_path, monkeypatch, what):
    """Else a pull would find the record, and never fetch the layer again. A missing tmp is made, as dockerd does."""
    if what == "tmp is missing":
        shutil.rmtree(root.layerdb / "tmp")
        carry_out(root, state=tmp_path / "state")
        assert tree(root) == root.kept
        return
    real = knife.move

    def move(source, name, target, new_name):
        if name == hexed_chain(root, "gone").encode():
            raise OSError(errno.EPERM, "not permitted")
        real(source, name, target, new_name)

    monkeypatch.setattr(knife, "move", move)
    run = carry_out(root, state=tmp_path / "state")
    directory = hexed("directory gone")
    failed = {os.fsdecode(each.action.path) for each in run.outcomes if each.status is Status.FAILED}
    assert failed == {f"{LAYERS}/{hexed_chain(root, 'gone')}", f"overlay2/{directory}", link_of(directory)}
    assert (root.overlay / directory / "diff/file").exists()
    assert (root.layerdb / "sha256" / hexed_chain(root, "gone") / "cache-id").exists()


def test_a_kill_at_any_call_is_ended_by_the_next_run(tmp_path):
    """A child is killed after its n-th removal or rename, for each n: what is kept is whole, and the next ends it."""
    total = 0
    for number in range(1, 400, 1 if "DRYDOCK_TEST_EVERY_KILL" in os.environ else 23):
        root = made(tmp_path / str(number) / "docker")
        written(root)
        state = tmp_path / str(number) / "state"
        child = os.fork()
        if child == 0:
            left = number

            def counted(call):
                def made_call(*arguments, **options):
                    nonlocal left
                    call(*arguments, **options)
                    left -= 1
                    if not left:
                        os.kill(os.getpid(), signal.SIGKILL)

                return made_call

            for name in ("unlink", "rmdir", "move"):
                setattr(knife, name, counted(getattr(knife, name)))
            carry_out(root, LOST, state=state)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        after = tree(root)
        assert {path: after.get(path) for path in root.kept} == root.kept, number
        if not status:
            break
        total += 1
        assert find_unfinished(RawPath(os.fsencode(root.data / "containerd/daemon")), [os.fsencode(state)])
        carry_out(root, LOST, state=state)
        assert tree(root) == root.kept, number
        shutil.rmtree(tmp_path / str(number))
    assert total >= 5


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_error_at_any_call_is_told_and_later_mended(tmp_path, monkeypatch, number):
    """The n-th removal or rename fails, for each n: what is kept is whole, and the next run ends it."""
    place, failed = 0, 1
    while failed:
        place += 1 if "DRYDOCK_TEST_EVERY_ERROR" in os.environ else 31
        root = made(tmp_path / str(place) / "docker")
        left, failed = place, 0

        def counted(call):
            def made_call(*arguments, **options):
                nonlocal left, failed
                left -= 1
                if not left:
                    failed += 1
                    raise OSError(number, os.strerror(number))
                call(*arguments, **options)

            return made_call

        with monkeypatch.context() as patch:
            for name in ("unlink", "rmdir", "move"):
                patch.setattr(knife, name, counted(getattr(knife, name)))
            run = carry_out(root, state=tmp_path / str(place) / "state")
        after = tree(root)
        assert {path: after.get(path) for path in root.kept} == root.kept, place
        assert run.failed == bool(failed)
        if failed:
            carry_out(root, state=tmp_path / str(place) / "state2")
            assert tree(root) == root.kept, place
        shutil.rmtree(tmp_path / str(place))
    assert place > 60


def test_a_quarantine_gives_all_back(root, tmp_path):
    """Undo: the same tree, also after it was undone and done again."""
    written(root)
    before = tree(root)
    for number in range(2):
        quarantine = tmp_path / f"quarantine{number}"
        quarantine.mkdir()
        run = carry_out(root, LOST, state=tmp_path / f"state{number}", quarantine=quarantine)
        assert {outcome.status for outcome in run.outcomes} == {Status.DONE}
        assert tree(root) == root.kept
        undone = undo_run(root, run.journal)
        assert {outcome.status for outcome in undone.outcomes} == {Status.DONE}
        assert tree(root) == before


def undo_run(root, journal):
    """Undo what a journal has."""
    access = Access(now=LATER, exclusive=True)
    (found,) = find_roots(RawPath(os.fsencode(root.data)), access)
    with open_root(found, access) as session:
        return undo(read_journal(journal), session.held)


def test_a_record_does_not_come_back_without_what_it_stands_on(root, tmp_path):
    """A layer whose parent was deleted from the quarantine stays there; dockerd would not load it."""
    (tmp_path / "quarantine").mkdir()
    run = carry_out(root, state=tmp_path / "state", quarantine=tmp_path / "quarantine")
    (moved,) = (tmp_path / "quarantine").rglob(hexed_chain(root, "gone"))
    shutil.rmtree(moved)
    undone = undo_run(root, run.journal)
    failed = {os.fsdecode(each.action.path): each.detail for each in undone.outcomes if each.status is Status.FAILED}
    below, above = (f"{LAYERS}/{hexed_chain(root, word)}" for word in ("gone", "gone too"))
    assert set(failed) == {below, above}
    assert f"the record of {root.chains['gone']}, which it stands on, is not there" in failed[above]
    assert not (root.data / above).exists()


def test_a_record_does_not_come_back_without_its_directory(root, tmp_path):
    """Undo leaves it in the quarantine, and says why."""
    (tmp_path / "quarantine").mkdir()
    run = carry_out(root, state=tmp_path / "state", quarantine=tmp_path / "quarantine")
    directory = hexed("directory gone")
    (moved,) = (tmp_path / "quarantine").rglob(directory)
    shutil.rmtree(moved)
    undone = undo_run(root, run.journal)
    failed = {os.fsdecode(each.action.path): each.detail for each in undone.outcomes if each.status is Status.FAILED}
    record = f"{LAYERS}/{hexed_chain(root, 'gone')}"
    above = f"{LAYERS}/{hexed_chain(root, 'gone too')}"
    assert set(failed) == {f"overlay2/{directory}", record, above}
    assert f"overlay2/{directory}, which it names, is not back" in failed[record]
    assert not (root.data / record).exists()

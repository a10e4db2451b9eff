"""Which images of a classic store go by choice, beside a second model that is written from dockerd's source."""

import random
from itertools import count

import pytest
from tests.support.classic_root import hexed

from drydock.model.drops import parse_drop
from drydock.model.layer_store import ClassicImage, LayerStore
from drydock.model.names import Digest, RawPath, UnixNano
from drydock.model.roots import DockerContainer, Mounted
from drydock.verdict.unused_classic_images import choose_classic_images, fits

NOW = UnixNano(1_800_000_000 * 10**9)
OLD = b"2020-01-01T00:00:00Z"


def digest(word):
    """An id."""
    return Digest(b"sha256:" + hexed(word).encode())


def image(word, *, parent=None, created=OLD):
    """An image without layers."""
    return ClassicImage(digest(word), RawPath(b"x"), 1, (), (), (), parent and digest(parent), created)


def container(word, image, **more):
    """A container that was made from an image."""
    return DockerContainer(hexed(word).encode(), word.encode(), b"overlay2", digest(image), None, False, b"x", **more)


def a_store(images, references, containers=()):
    """A store of values."""
    return LayerStore(
        RawPath(b"/data"),
        images={each.id: each for each in images},
        references={name: digest(word) for name, word in references.items()},
        containers={each.id: each for each in containers},
    )


def chosen(store, *words, accepted=(b"all",), **more):
    """What goes by these drops."""
    return choose_classic_images(store, map(parse_drop, words), NOW, accepted=accepted, **more)


class Dockerd:
    """dockerd's own removal, as its source has it (moby daemon/images/image_prune.go, image_delete.go, v28.5)."""

    def __init__(self, store):
        self.images = dict(store.images)
        self.refs = dict(store.references)
        self.users = {each.image for each in store.containers.values()}
        self.children = {key: set() for key in self.images}
        for each in self.images.values():
            if each.parent in self.children:
                self.children[each.parent].add(each.id)

    def names(self, image):
        """What an image is called."""
        return sorted(name for name, its in self.refs.items() if its == image)

    def prune(self, *, everything):
        """``docker image prune``, with ``-a`` if everything."""
        top = [
            each
            for each in self.images
            if (everything or not self.children[each]) and (self.names(each) or not self.children[each])
        ]
        for each in top:
            names = self.names(each)
            if not names:
                self.delete_by_id(each)
            elif everything or all(b"@" in name for name in names):
                for name in names:
                    self.delete_by_name(name)

    def delete_by_name(self, name):
        """``docker rmi NAME``."""
        image = self.refs.get(name)
        if image not in self.images or (self.is_single(image) and image in self.users):
            return
        del self.refs[name]
        repository = name.rpartition(b":")[0]
        left = self.names(image)
        if b"@" not in name and not any(b"@" not in each and each.rpartition(b":")[0] == repository for each in left):
            for each in left:
                if each.partition(b"@")[0] == repository:
                    del self.refs[each]
        if not self.names(image):
            self.delete(image)

    def delete_by_id(self, image):
        """``docker rmi ID`` of an image without a name."""
        if image in self.images and image not in self.users and not self.children[image]:
            self.delete(image)

    def delete(self, image):
        """imageDeleteHelper, with its parents."""
        if self.children[image] or image in self.users or self.names(image):
            return
        parent = self.images.pop(image).parent
        if parent in self.images:
            self.children[parent].discard(image)
            self.delete(parent)

    def is_single(self, image):
        """As isSingleReference says."""
        names = self.names(image)
        if len(names) <= 1:
            return len(names) == 1
        tags = [name.rpartition(b":")[0] for name in names if b"@" not in name]
        digests = {name.partition(b"@")[0] for name in names if b"@" in name}
        if len(tags) > 1:
            return False
        return len(digests) == 1 and (tags[0] if tags else next(iter(digests))) in digests


def a_host(seed):
    """Some images, some on others, with names and containers."""
    dice, numbers = random.Random(seed), count()
    words = [f"image {seed} {number}" for number in range(dice.randrange(1, 9))]
    images, references = [], {}
    for number, word in enumerate(words):
        parent = dice.choice(words[:number]) if number and dice.random() < 0.5 else None
        images.append(image(word, parent=parent))
        for _ in range(dice.choice((0, 0, 1, 1, 2, 3))):
            repository = dice.choice((b"a", b"b", b"c.example/d"))
            tagged = b"%s:%d" % (repository, next(numbers))
            references[dice.choice((tagged, repository + b"@" + digest(f"{seed} {next(numbers)}")))] = word
    users = [container(f"user {seed} {each}", each) for each in words if dice.random() < 0.3]
    return a_store(images, references, users)


@pytest.mark.parametrize(
    "words",
    [
        (b"dangling-images",),
        (b"unused-images",),
        tuple(b"image=%s:%d" % (name, tag) for name in (b"a", b"b", b"c.example/d") for tag in range(0, 12, 2)),
    ],
    ids=["dangling-images", "unused-images", "image=NAME"],
)
def test_never_more_than_dockerd_and_never_one_in_use(words):
    """Over many hosts: the images and names that dockerd takes, less all names of images in use."""
    taken = kept = 0
    for seed in range(1500):
        store = a_host(seed)
        used = {each.image for each in store.containers.values()}
        if any(len(names) > 1 for names in ([n for n, i in store.references.items() if i == each] for each in used)):
            kept += 1
        found = chosen(store, *words)
        assert used.isdisjoint(found.images), seed
        dockerd = Dockerd(store)
        if words[0].startswith(b"image="):
            for word in words:
                for name in [each for each in store.references if fits(each, word.removeprefix(b"image="))]:
                    dockerd.delete_by_name(name)
        else:
            dockerd.prune(everything=words[0] == b"unused-images")
            spared = {name for name, its in store.references.items() if its in used}
            assert spared.isdisjoint(found.names), seed
            dockerd.refs.update((name, its) for name, its in store.references.items() if its in used)
        assert store.images.keys() - found.images.keys() == dockerd.images.keys(), seed
        assert store.references.keys() - found.names.keys() == dockerd.refs.keys(), seed
        order = list(found.images)
        for each in order:
            parent = store.images[each].parent
            assert parent not in order or order.index(parent) < order.index(each), seed
        taken += bool(found.images)
    assert min(taken, kept) > 100


def test_an_image_that_is_mounted_stays():
    """By its id, and by a name in any form."""
    for source in (b"a:1", b"docker.io/library/a:1", digest("it"), hexed("it")[:12].encode()):
        mounts = (Mounted(b"image", source, b"/at"),)
        store = a_store([image("it"), image("other")], {b"a:1": "it"}, [container("user", "other", mounted=mounts)])
        assert chosen(store, b"unused-images").images == {}, source


def test_what_no_registry_has_stays_unless_its_loss_is_accepted():
    """By name, by id, or all; a digest in its names says that a registry has it."""
    store = a_store([image("built"), image("bare"), image("pulled")],
                    {b"built:1": "built", b"pulled:1": "pulled", b"pulled@" + digest("m"): "pulled"})  # fmt: skip
    found = chosen(store, b"unused-images", accepted=())
    assert set(found.images) == {digest("pulled")}
    assert set(found.names) == {b"pulled:1", b"pulled@" + digest("m")}
    assert found.staying.keys() == {b"built:1", digest("bare")}
    assert all(each.startswith("WOULD BE LOST") for each in found.staying.values())
    assert set(chosen(store, b"unused-images", accepted=(b"built:1",)).images) == {digest("pulled"), digest("built")}
    assert digest("bare") in chosen(store, b"unused-images", accepted=(digest("bare"),)).images


@pytest.mark.parametrize("doubt", ["containers", "images", "config", "unlisted"])
def test_a_doubt_keeps_all(doubt):
    """What may be used because something could not be read stays, and is told."""
    store = a_store([image("it")], {b"a:1": "it"})
    if doubt == "containers":
        store.containers_known = False
    elif doubt == "images":
        store.images_unknown = "it cannot be read"
    elif doubt == "unlisted":
        store.unlisted.append("it cannot be read")
    else:
        store.containers[b"c"] = DockerContainer(hexed("c").encode(), manifest_known=False, mounts_known=False)
    for word in (b"unused-images", b"image=a:1"):
        found = chosen(store, word)
        assert (found.images, found.names, list(found.staying)) == ({}, {}, [b"a:1"])


def test_an_age_is_compared_by_kind_only():
    """A young image, and one without a time, stay by their kind, and go by their name."""
    store = a_store([image("old"), image("young", created=b"2027-01-15T07:00:00Z"), image("none", created=b"")],
                    {b"old:1": "old", b"young:1": "young", b"none:1": "none"})  # fmt: skip
    day = 86400 * 10**9
    assert set(chosen(store, b"unused-images", unused_for=day).images) == {digest("old")}
    assert set(chosen(store, b"image=young:1", unused_for=day).images) == {digest("young")}


def test_what_is_kept_by_name_stays():
    """With all of its names."""
    store = a_store([image("it")], {b"a:1": "it", b"b:1": "it"})
    found = chosen(store, b"unused-images", b"image=a:1", kept={digest("it"): "kept by --keep b:1"})
    assert (found.images, found.names) == ({}, {})
    assert set(found.staying.values()) == {"kept by --keep b:1"}


def test_names_of_images_that_are_gone_go():
    """A killed run leaves them; and only if a registry has the image, or its loss is accepted."""
    store = a_store([], {b"a:1": "gone", b"a@" + digest("m"): "gone", b"built:1": "lost"})
    assert set(chosen(store, b"unused-images", accepted=()).names) == {b"a:1", b"a@" + digest("m")}
    assert set(chosen(store, b"image=a:1", accepted=()).names) == {b"a:1", b"a@" + digest("m")}
    assert set(chosen(store, b"unused-images").names) == store.references.keys()


def test_an_image_that_dockerd_does_not_list_stays():
    """Its config, or a layer, is damaged: dockerd would not find it either."""
    broken = image("it")._replace(problem="its config is not JSON")
    store = a_store([broken], {b"a:1": "it"})
    assert chosen(store, b"unused-images").names == {}
    assert chosen(store, b"image=a:1").staying == {
        b"a:1": "dockerd does not list its image, whose config or layers are damaged"
    }


def test_a_name_is_one_word_of_a_command():
    """repositories.json may have any name: what is copied runs no other command."""
    store = a_store([image("a")], {b"a;$(reboot):1": "a"})
    assert "--accept-loss 'a;$(reboot):1' drops it" in str(chosen(store, b"unused-images", accepted=()))

"""Which images a choice drops: by rules written here once more, and never one that a container of any runtime uses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.values import NOW, blob, digest, image, snapshot, store

from drydock.model.drops import parse_drop, parse_filter
from drydock.model.errors import Usage
from drydock.model.oci import Config, Descriptor, Documents, Index, Manifest
from drydock.model.records import Container
from drydock.model.roots import DockerContainer, Mounted, Owners
from drydock.verdict.judge import judge
from drydock.verdict.unused_images import choose_images

PULLED = {b"containerd.io/distribution.source.example.org": b"app"}
HUB = b"docker.io/library/"
ID = b"1" * 64


def chosen(*records, drop=b"unused-images", containers=(), known=True, docker=(b"/data",), documents=None, **options):
    """Names of the images that go, and reasons of those that stay."""
    owners = Owners(containers={each.id: each for each in containers})
    owners.containers_changed = NOW if known else None
    read = store(*records, owners=owners)
    read.root = read.root._replace(docker=docker)
    read.image_documents = Documents(documents or {})
    found = choose_images(*judge(read, NOW), [parse_drop(drop)], **options)
    return {ref.key for ref in found.going}, {ref.key: why for ref, why in found.staying.items()}


def pulled(*targets):
    """Records of blobs that came from a registry."""
    return [blob(target, PULLED) for target in targets]


def record(name, *, namespace=b"k8s.io", of=b"pod"):
    """A container record of containerd that was made from an image."""
    return Container(namespace, of, name, b"overlayfs", of, b"", b"runc", {})


def test_what_no_container_uses_goes():
    """Of two pulled images the one goes that no container was created from, by its short name too."""
    images = [image(digest(1), name=HUB + b"a:latest"), image(digest(2), name=HUB + b"b:1")]
    made = DockerContainer(ID, image=digest(1), asked=b"a")
    assert chosen(*images, *pulled(digest(1), digest(2)), containers=[made]) == ({HUB + b"b:1"}, {})


@pytest.mark.parametrize("asked", [digest(1), digest(1)[7:], digest(1)[7:20], b"repo@" + digest(1)])
def test_an_image_that_a_container_names_by_its_id_keeps_one_name(asked):
    """Of its two names one stays."""
    images = [image(digest(1), name=HUB + b"a:1"), image(digest(1), name=HUB + b"a:2")]
    going, _ = chosen(*images, *pulled(digest(1)), containers=[DockerContainer(ID, image=digest(1), asked=asked)])
    assert len(going) == 1


def test_the_manifest_of_a_container_stays():
    """The image's name went elsewhere, and only another record still has what the container was made from."""
    index = blob(digest(1), {**PULLED, b"containerd.io/gc.ref.content.m.0": digest(9)})
    made = DockerContainer(ID, image=digest(5), asked=b"gone:1", manifest=digest(9))
    assert chosen(image(digest(1)), index, blob(digest(9)), containers=[made]) == (set(), {})


def test_a_mounted_image_stays():
    """A container that mounts an image uses it, by its name or its digest."""
    for source in (HUB + b"a:1", digest(1)):
        made = DockerContainer(ID, mounted=(Mounted(b"image", source, b"/m"),))
        assert chosen(image(digest(1), name=HUB + b"a:1"), *pulled(digest(1)), containers=[made])[0] == set()


@pytest.mark.parametrize(
    ("words", "going"),
    [(["label=a"], {b"a:1", b"ab:1"}), (["label=a=1"], {b"a:1", b"ab:1"}), (["label=a=2"], set()),
     (["label!=b"], {b"a:1"}), (["label!=b=2"], {b"a:1", b"ab:1"}), (["label=a", "label!=b"], {b"a:1"}),
     (["label!=c", "label!=b"], {b"a:1"})],
)  # fmt: skip
def test_labels_select(words, going):
    """Those of the config that the image was built with; not of an attestation, and without a config nothing goes."""
    configs = {11: ((b"a", b"1"),), 12: ((b"a", b"1"), (b"b", b"1"))}
    documents = {digest(number): Config((), b"", (), labels) for number, labels in configs.items()}
    documents[digest(1)] = Index((Descriptor(digest(2)), Descriptor(digest(4), is_attestation=True)))
    documents[digest(2)] = Manifest(Descriptor(digest(11)), ())
    documents[digest(3)] = Index((Descriptor(digest(6)), Descriptor(digest(4), is_attestation=True)))
    documents[digest(6)] = Manifest(Descriptor(digest(12)), ())
    documents[digest(4)] = Manifest(Descriptor(digest(13)), ())
    documents[digest(13)] = Config((), b"")
    documents[digest(5)] = Manifest(Descriptor(digest(14)), ())
    names = {b"a:1": 1, b"ab:1": 3, b"unread:1": 5}
    images = [image(digest(number), name=HUB + name) for name, number in names.items()]
    found = chosen(
        *images, *pulled(digest(1), digest(3), digest(5)), documents=documents,
        filters=[parse_filter(word.encode()) for word in words],
    )  # fmt: skip
    assert found == ({HUB + name for name in going}, {})


def test_what_no_registry_has_stays_until_its_loss_is_accepted():
    """It is named with the option that drops it."""
    built = image(digest(1), name=HUB + b"built:1")
    going, staying = chosen(built, blob(digest(1)))
    assert going == set()
    assert "WOULD BE LOST" in staying[built.name]
    assert chosen(built, blob(digest(1)), accepted=[b"built:1"])[0] == {built.name}
    assert chosen(built, blob(digest(1)), accepted=[b"all"])[0] == {built.name}
    assert chosen(built, blob(digest(1)), accepted=[b"other"])[0] == set()


def test_only_dangling_ones():
    """moby-dangling@ and its own digest; a name without a tag is one of nerdctl's, and none of Docker's."""
    loose = image(digest(1), name=b"moby-dangling@" + digest(1))
    named = image(digest(2), name=b"example.org/app@" + digest(2))
    others = image(digest(3), name=b"example.org/app@" + digest(3), namespace=b"default")
    blobs = [*pulled(digest(1), digest(2)), blob(digest(3), PULLED, namespace=b"default")]
    assert chosen(loose, named, others, *blobs, drop=b"dangling-images")[0] == {loose.name, others.name}


def test_the_dangling_image_of_a_container_stays():
    """Dockerd put that name in the place of the last one."""
    loose = image(digest(1), name=b"moby-dangling@" + digest(1))
    made = DockerContainer(ID, image=digest(1), asked=b"a:1")
    assert chosen(loose, *pulled(digest(1)), drop=b"dangling-images", containers=[made])[0] == set()


def test_pods_use_every_name_of_their_image():
    """The CRI plugin's three names are one image; a pinned one and that of the sandboxes stay."""

    def cri(number, *names, labels=None):
        made = [image(digest(number), name=name, namespace=b"k8s.io", labels=labels) for name in names]
        return [*made, blob(digest(number), PULLED, namespace=b"k8s.io")]

    used = cri(1, b"example.org/a:1", b"example.org/a@" + digest(1), digest(11))
    free = cri(2, b"example.org/b:1", b"example.org/b@" + digest(2), digest(12))
    pinned = cri(3, b"example.org/c:1", labels={b"io.cri-containerd.pinned": b"pinned"})
    pause = cri(4, b"registry.k8s.io/pause:3.9", digest(14))
    going, staying = chosen(*used, *free, *pinned, *pause, record(b"example.org/a:1"))
    assert going == {b"example.org/b:1", b"example.org/b@" + digest(2), digest(12)}
    assert staying == {}
    # A container whose image has lost that name may be of any of them.
    going, staying = chosen(*free, record(b"example.org/gone:1"))
    assert going == set()
    assert len(staying) == 3


def test_an_image_whose_name_went_to_another_stays_for_its_pod():
    """A pull moved the tag; the container, or an image volume, was made on the layers of the one without a tag."""
    names = [b"example.org/a@" + digest(1), digest(11)]
    labels = {**PULLED, b"containerd.io/gc.ref.content.config": digest(11)}
    old = [image(digest(1), name=name, namespace=b"k8s.io") for name in names]
    new = image(digest(2), name=b"example.org/a:1", namespace=b"k8s.io")
    blobs = [
        blob(digest(1), labels, namespace=b"k8s.io"),
        blob(digest(11), {b"containerd.io/gc.ref.snapshot.overlayfs": digest(21)}, namespace=b"k8s.io"),
        blob(digest(2), PULLED, namespace=b"k8s.io"),
    ]
    snapshots = [
        snapshot(digest(21), namespace=b"k8s.io"),
        snapshot(b"pod", digest(21), namespace=b"k8s.io"),
    ]
    pod = record(b"example.org/a:1")
    assert chosen(*old, new, *blobs, *snapshots, pod) == (set(), {})
    volume = snapshot(b"/run/cri/image-volumes/pod/" + digest(1)[7:], digest(21), namespace=b"k8s.io")
    assert chosen(*old, new, *blobs, snapshots[0], volume, pod) == (set(), {})
    # Of a container that is made on other layers it is not.
    assert chosen(*old, new, *blobs, snapshots[0], pod)[0] == set(names)


def test_only_its_id_is_left():
    """The record that an interrupted removal left, and not one whose other names are there."""
    labels = {b"io.cri-containerd.image": b"managed"}
    left = image(digest(1), name=digest(11), namespace=b"k8s.io", labels=labels)
    whole = [image(digest(2), name=name, namespace=b"k8s.io", labels=labels) for name in (b"b:1", digest(12))]
    blobs = [blob(digest(number), PULLED, namespace=b"k8s.io") for number in (1, 2)]
    assert chosen(left, *whole, *blobs, drop=b"image-id-only")[0] == {digest(11)}


def test_a_named_image():
    """It goes whatever its age, unless a container uses it: then the reason is told."""
    images = [image(digest(1), name=HUB + b"a:1"), image(digest(2), name=HUB + b"b:1")]
    assert chosen(*images, *pulled(digest(1), digest(2)), drop=b"image=b:1", unused_for=1)[0] == {HUB + b"b:1"}
    made = DockerContainer(ID, name=b"web", image=digest(2), asked=b"b:1")
    going, staying = chosen(*images, *pulled(digest(1), digest(2)), drop=b"image=b:1", containers=[made])
    assert (going, staying) == (set(), {HUB + b"b:1": "container web uses it"})


def test_only_what_came_long_ago():
    """An image without a time, or that came lately, stays."""
    day = 86_400 * 10**9
    old = image(digest(1), name=HUB + b"a:1")._replace(created=NOW - 3 * day)
    young = image(digest(2), name=HUB + b"b:1")._replace(created=NOW - day)
    never = image(digest(3), name=HUB + b"c:1")
    blobs = pulled(digest(1), digest(2), digest(3))
    assert chosen(old, young, never, *blobs, unused_for=2 * day)[0] == {HUB + b"a:1"}


def test_a_container_that_cannot_be_read_keeps_every_image():
    """It may use any of them."""
    for unread in (DockerContainer(ID, manifest_known=False), DockerContainer(ID, mounts_known=False)):
        going, staying = chosen(image(digest(1)), *pulled(digest(1)), containers=[unread])
        assert going == set()
        assert len(staying) == 1


def test_without_dockers_data_root_none_of_its_images_goes():
    """A containerd root that was copied alone has no containers of Docker to ask; nerdctl's images have their own."""
    others = image(digest(2), name=b"example.org/b:1", namespace=b"default")
    blobs = [*pulled(digest(1)), blob(digest(2), PULLED, namespace=b"default")]
    going, staying = chosen(image(digest(1), name=HUB + b"a:1"), others, *blobs, docker=(), known=False)
    assert going == {others.name}
    assert "no data root" in staying[HUB + b"a:1"]


@pytest.mark.parametrize("word", [b"images", b"image", b"image=", b"unused-images=x", b""])
def test_what_is_no_kind(word):
    """A mistyped kind drops nothing."""
    with pytest.raises(Usage):
        parse_drop(word)


NAMES = st.sampled_from([b"a:1", b"a:2", b"b:1", b"c", b"d@" + digest(3)])


@given(
    images=st.lists(st.tuples(NAMES, st.integers(1, 4)), max_size=6, unique_by=lambda each: each[0]),
    made=st.lists(st.tuples(NAMES, st.integers(1, 4), st.booleans()), max_size=4),
    records=st.lists(NAMES, max_size=3),
    kind=st.sampled_from([b"unused-images", b"dangling-images", b"image=a:1"]),
)
def test_nothing_in_use_goes(images, made, records, kind):
    """Whatever the host: no image goes that a container names, and each digest that one names keeps a name."""
    there = {HUB + name if b"@" not in name and b":" in name else name: digest(number) for name, number in images}
    containers = [
        DockerContainer(
            b"%064d" % place, image=digest(number), asked=digest(number) if by_id else name, manifest=digest(number)
        )
        for place, (name, number, by_id) in enumerate(made)
    ]
    going, _ = chosen(
        *(image(target, name=name) for name, target in there.items()),
        *pulled(*(digest(number) for number in range(1, 5))),
        *(record(HUB + name, namespace=b"moby", of=b"%d" % place) for place, name in enumerate(records)),
        containers=containers,
        drop=kind,
    )
    left = {name: target for name, target in there.items() if name not in going}
    for each in containers:
        asked = {each.asked, HUB + each.asked}
        assert not asked & going
        if each.manifest in there.values():
            assert each.manifest in left.values()
    assert not {HUB + name for name in records} & going


def test_a_name_is_one_word_of_a_command():
    """A record may have any name: what is copied runs no other command."""
    name = b"a;$(reboot):1"
    assert "--accept-loss 'a;$(reboot):1' drops it" in chosen(image(digest(1), name=name), blob(digest(1)))[1][name]

"""The labels that a pull gives to a blob for the blobs that it names."""

import pytest

from drydock.model.names import Digest
from drydock.model.oci import Config, Descriptor, Documents, Index, Manifest, chain_ids, child_labels, list_steps

PREFIX = b"containerd.io/gc."
OCI, DOCKER = b"application/vnd.oci.image.", b"application/vnd.docker."
MANIFEST, LIST = OCI + b"manifest.v1+json", DOCKER + b"distribution.manifest.list.v2+json"


def named(*media_types):
    """Descriptors, the digest of each being its number."""
    return tuple(Descriptor(Digest(b"%d" % number), each) for number, each in enumerate(media_types))


@pytest.mark.parametrize(
    ("media_type", "document", "labels"),
    [
        (
            MANIFEST,
            Manifest(
                named(OCI + b"config.v1+json")[0],
                named(b"", OCI + b"layer.v1.tar+zstd", DOCKER + b"image.rootfs.diff.tar.gzip", b"application/x")[1:],
            ),
            {b"config": b"0", b"l.0": b"1", b"l.1": b"2", b"0": b"3"},
        ),
        (
            DOCKER + b"distribution.manifest.v2+json",
            Manifest(
                named(DOCKER + b"container.image.v1+json")[0], named(b"", DOCKER + b"image.rootfs.diff.tar+x")[1:]
            ),
            {b"config": b"0", b"l.0": b"1"},
        ),
        # A config among the layers is counted on, without a dot; the config of an artifact is of no kind.
        (
            MANIFEST,
            Manifest(named(b"application/vnd.oci.empty.v1+json")[0], named(b"", *[OCI + b"config.v1+json"] * 2)[1:]),
            {b"0": b"0", b"config": b"1", b"config1": b"2"},
        ),
        (
            LIST,
            Index(named(MANIFEST, OCI + b"index.v1+json", DOCKER + b"distribution.manifest.v2+json")),
            {b"m.0": b"0", b"0": b"1", b"m.1": b"2"},
        ),
        # By what it is named as, and by that alone, the engine decides whether to look into it.
        (b"application/x", Index(named(MANIFEST)), {}),
        (MANIFEST, Index(named(MANIFEST)), {}),
        (LIST, Manifest(None, named(OCI + b"layer.v1.tar")), {}),
        (MANIFEST, Config((), b""), {}),
        (MANIFEST, None, {}),
    ],
)
def test_children_are_labelled_as_a_pull_does(media_type, document, labels):
    """By hand, from ChildGCLabels and SetChildrenMappedLabels (containerd v1.6.20); engines say it in test_adopt.py."""
    expected = {PREFIX + b"ref.content." + name: digest for name, digest in labels.items()}
    assert child_labels(media_type, document) == expected


def test_a_layer_has_the_step_of_the_first_image():
    """By the digest of its blob and by its chain id; a config without as many steps as layers says nothing."""
    layers = named(b"", b"", b"")[1:]
    diffs = (Digest(b"sha256:" + b"1" * 64), Digest(b"sha256:" + b"2" * 64))
    configs = [Descriptor(Digest(b"config %d" % number)) for number in range(4)]
    steps = [(), (b"COPY",), (b"FROM", b"RUN"), (b"other", b"other")]
    found = {each.digest: Config(diffs, b"", step) for each, step in zip(configs, steps, strict=True)}
    manifests = {Digest(b"manifest %d" % number): Manifest(each, layers) for number, each in enumerate(configs)}
    manifests[Digest(b"without a config")] = Manifest(None, layers)
    base, top = chain_ids(diffs)
    assert list_steps(Documents(found=found | manifests)) == {b"1": b"FROM", base: b"FROM", b"2": b"RUN", top: b"RUN"}

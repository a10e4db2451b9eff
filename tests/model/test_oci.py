"""The labels that a pull gives to a blob for the blobs that it names."""

import pytest

from drydock.model.names import Digest
from drydock.model.oci import Config, Descriptor, Index, Manifest, child_labels

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

"""What ``--keep`` keeps: records, and rows and data that no record names."""

from __future__ import annotations

from dataclasses import dataclass, field

from drydock.model.names import Digest, RawPath, Ref
from drydock.model.objects import StoreObject, Verdict
from drydock.model.policies import Policy
from drydock.model.text import shown
from drydock.verdict.find import LayerImage, find
from drydock.verdict.judge import Reach


@dataclass(slots=True)
class Kept:
    """What the policy keeps by name, with the reason."""

    refs: dict[Ref, str] = field(default_factory=dict)
    rows: dict[tuple[bytes, bytes], str] = field(default_factory=dict)
    """By snapshotter and name."""
    paths: dict[RawPath, str] = field(default_factory=dict)
    images: dict[tuple[RawPath, Digest], str] = field(default_factory=dict)
    """Of classic stores, by data root and id."""


def keep_named(verdict: Verdict, reached: Reach, policy: Policy) -> Kept:
    """What the policy keeps by name: records, and also rows and data that no record names."""
    kept = Kept()
    for word in policy.keep:
        reason = f"kept by --keep {shown(word)}"
        for subject in find(verdict, reached, word):
            if isinstance(subject, LayerImage):
                kept.images[subject.store.data, subject.image.id] = reason
                continue
            if not isinstance(subject, StoreObject):
                kept.refs[subject] = reason
                continue
            kept.refs.update(dict.fromkeys(subject.refs, reason))
            if subject.row is not None:
                kept.rows[subject.snapshotter, subject.row] = reason
            if subject.path is not None:
                kept.paths[subject.path] = reason
    return kept

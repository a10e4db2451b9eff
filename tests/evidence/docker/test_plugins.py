"""Docker's plugins: which blobs a plugin names, and what removals left; on a real plugin in tests/system."""

import json
import os

import pytest

from drydock.evidence.docker.plugins import read_plugins
from drydock.evidence.files.sizes import Measure
from drydock.model.objects import State
from drydock.verdict.plugins import judge_plugins

ID, OTHER = "a" * 64, "b" * 64
CONFIG, LAYER, MANIFEST, UNUSED = ("sha256:" + each * 64 for each in "1234")


@pytest.fixture
def data(tmp_path):
    """A plugin with its blobs, one blob that none names, and the rests of other plugins."""
    plugins = tmp_path / "plugins"
    blobs = plugins / "storage/blobs/sha256"
    blobs.mkdir(parents=True)
    for digest in (CONFIG, LAYER, MANIFEST, UNUSED):
        (blobs / digest.removeprefix("sha256:")).write_text(digest)
    (plugins / ID / "rootfs-old").mkdir(parents=True)
    record = {"plugin": {"Name": "nothing:latest"}, "Config": CONFIG, "Blobsums": [LAYER], "Manifest": MANIFEST}
    (plugins / ID / "config.json").write_text(json.dumps(record))
    (plugins / f"{OTHER}-removing/rootfs").mkdir(parents=True)
    (plugins / f"{OTHER}-removing/rootfs/file").write_text("x" * 5000)
    (plugins / "tmp/.rootfs123").mkdir(parents=True)
    (plugins / "storage/ingest/1").mkdir(parents=True)
    return tmp_path


def _states(data):
    store = read_plugins(os.fsencode(data), Measure())
    return {each.id.decode(): each.state for each in judge_plugins(store)}, store


def test_what_a_plugin_names_is_live(data):
    """Its config, its layers and its manifest; the rest is orphaned, with its bytes."""
    states, store = _states(data)
    live = {name for name, state in states.items() if state is State.LIVE}
    assert live == {CONFIG, LAYER, MANIFEST}
    assert set(states) - live == {UNUSED, "rootfs-old", f"{OTHER}-removing", ".rootfs123", "1"}
    (rest,) = [each for each in store.entries if each.name.endswith(b"-removing")]
    paths = [data / "plugins" / f"{OTHER}-removing", *(data / "plugins" / f"{OTHER}-removing").rglob("*")]
    assert rest.allocated == sum(os.lstat(path).st_blocks * 512 for path in paths)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"Config": 1}', '{"Config": "sha256:x", "Blobsums": []}', "[" * 99999]
)
def test_a_record_that_cannot_be_read_is_damage(data, text):
    """Such a plugin is not loaded; any blob may be its, which the note says."""
    (data / "plugins" / ID / "config.json").write_text(text)
    states, store = _states(data)
    assert [each.code.value for each in store.findings] == ["unreadable-plugin"]
    assert State.LIVE not in states.values()
    notes = {each.note for each in judge_plugins(store) if each.id.startswith(b"sha256:")}
    assert notes == {"no plugin that could be read names it"}


def test_a_root_without_plugins_has_none(tmp_path):
    """And a folder that is a link is not entered."""
    assert read_plugins(os.fsencode(tmp_path), Measure()) is None
    (tmp_path / "plugins").symlink_to("/")
    store = read_plugins(os.fsencode(tmp_path), Measure())
    assert (store.complete, store.entries) == (False, [])

"""The state of the blobs of Docker's plugins, and of what removals and downloads of plugins left."""

from __future__ import annotations

from collections.abc import Iterator

from drydock.model.explanations import Explanation
from drydock.model.names import Digest, Kind, RawPath, Ref
from drydock.model.objects import ObjectKind, PluginObject, State
from drydock.model.plugin_store import PluginStore
from drydock.model.text import shown


def judge_plugins(store: PluginStore) -> Iterator[PluginObject]:
    """Compare the blobs of plugins with the plugins' records; dockerd drops unused ones when it removes a plugin."""
    users: dict[Digest, bytes] = {}
    for plugin in store.plugins.values():
        for digest in (*plugin.blobs, *((plugin.manifest,) if plugin.manifest is not None else ())):
            users.setdefault(digest, plugin.name or plugin.id)
    known = store.complete and all(each.is_known for each in store.plugins.values())
    for entry in store.entries:
        kind = ObjectKind.PLUGIN_BLOB if entry.is_blob else ObjectKind.PLUGIN_REST
        found = PluginObject(kind, entry.name, State.ORPHANED, entry.allocated, entry, data_root=store.data)
        user = users.get(Digest(entry.name)) if entry.is_blob else None
        if user is not None:
            found.state = found.reach = State.LIVE
            found.held_by = (Ref(Kind.PLUGIN, b"", user),)
        elif not entry.is_blob:
            found.note = "a removal, an upgrade or a download of a plugin left it"
        else:
            found.note = "no plugin names it" if known else "no plugin that could be read names it"
        yield found


def explain_plugin_object(root: RawPath, found: PluginObject) -> Explanation:
    """Explain a blob of a plugin, or what was left of one."""
    facts = [("data root", shown(found.data_root))]
    if found.path is not None:
        facts.append(("path", shown(found.path)))
    if found.note:
        facts.append(("note", found.note))
    title = f"{found.kind.value} {shown(found.id)} (Docker's plugins)"
    chains = tuple(
        (f"plugin {shown(ref.key)}: dockerd has it in plugins/", f"holds {found.kind.value} {shown(found.id)}")
        for ref in found.held_by
    )
    nothing = None if chains else f"{found.note}; drydock removes nothing of plugins"
    return Explanation(root, title, found.state.value, tuple(facts), chains, nothing, (), 0, found.allocated)

"""Random small stores as plain values, and an independent model of containerd's collector and of what nothing names.

Nothing here uses drydock.
"""

from hypothesis import strategies as st

SPACES = (b"one", b"two")
numbers = st.integers(0, 4)


def digest(number):
    """The ``number``-th made-up digest; no two of them have a byte in common."""
    return b"sha256:" + b"%x" % number * 64


def key(number):
    """The ``number``-th made-up name of a snapshot or an ingest; the same of these."""
    return b"%d" % number * 12


def with_folders(world):
    """The world; as most are, with the folder of each row there, and all that leases and images name recorded."""
    if not world.pop("dangling"):
        world["images"] = world["images"] & world["blobs"].keys()
        world["leases"] = {
            (space, number): (
                end, flat, {each for each in blobs if (space, each) in world["blobs"]},
                {each for each in snapshots if (space, each) in world["snapshots"]}, ingests,
            )
            for (space, number), (end, flat, blobs, snapshots, ingests) in world["leases"].items()
        }  # fmt: skip
    if not world.pop("bare"):
        ids = {row_id(*key) if isinstance(key, tuple) else key for key in world_rows(world)}
        world["folders"] = world["folders"] | ids
    return world


spaces = st.sampled_from(SPACES)
WORLD = st.fixed_dictionaries({
    "blobs": st.dictionaries(st.tuples(spaces, numbers), st.tuples(st.booleans(), st.none() | numbers), max_size=8),
    "snapshots": st.dictionaries(
        st.tuples(spaces, numbers), st.tuples(st.booleans(), st.none() | numbers, st.none() | numbers), max_size=8
    ),
    "images": st.sets(st.tuples(spaces, numbers), max_size=2),
    "ingests": st.dictionaries(
        st.tuples(spaces, numbers), st.tuples(st.sampled_from(["past", "later", None]), st.none() | numbers), max_size=3
    ),
    "leases": st.dictionaries(
        st.tuples(spaces, numbers),
        st.tuples(
            st.sampled_from(["past", "later", None]), st.booleans(),
            st.sets(numbers, max_size=3), st.sets(numbers, max_size=2), st.sets(numbers, max_size=2),
        ),
        max_size=4,
    ),
    "files": st.sets(st.integers(0, 6)),
    "lost_rows": st.sets(st.tuples(spaces, numbers), max_size=2),
    "extra_rows": st.dictionaries(st.integers(50, 53), st.none() | st.tuples(spaces, numbers) | st.integers(50, 53)),
    "folders": st.sets(st.integers(0, 60), max_size=30),
    "ingest_folders": st.sets(st.tuples(spaces, numbers), max_size=4),
    "bare": st.booleans(),
    "dangling": st.booleans(),
}).map(with_folders)  # fmt: skip


def parent_of(world, space, number):
    """A snapshot's parent, which must be recorded and have a smaller number: no rings."""
    parent = world["snapshots"][space, number][1]
    return parent if parent is not None and parent < number and (space, parent) in world["snapshots"] else None


def meant(world, ended):
    """What stays though nothing reaches it: its kind, in its space, is named where there is no record of it.

    By a lease that stays, or as an image's target; a write that a lease lists may have ended.
    """
    absent = {("blob", *image) for image in world["images"] if image not in world["blobs"]}
    for (space, number), (end, _, blobs, snapshots, _) in world["leases"].items():
        if end == "past" or (space, number) in ended:
            continue
        absent |= {("blob", space, each) for each in blobs if (space, each) not in world["blobs"]}
        absent |= {("snapshot", space, each) for each in snapshots if (space, each) not in world["snapshots"]}
    kinds = {(kind, space) for kind, space, _ in absent}
    marked, _ = black(world, ended)
    loose = {(kind, *name) for kind in ("blob", "snapshot") for name in world[f"{kind}s"]} - marked
    return {name for name in loose if name[:2] in kinds}


def black(world, ended, kept=frozenset()):
    """What containerd's collector marks once these leases are gone, as (kind, space, number); all versions' union.

    ``kept`` are roots besides.

    And the blobs that are named by what is marked, recorded or not, by number.
    """
    todo, seen, named = [(*name, False) for name in kept], set(), set()
    for (space, number), (end, flat, blobs, snapshots, ingests) in world["leases"].items():
        if end == "past" or (space, number) in ended:
            continue
        todo += [("blob", space, each, flat) for each in blobs] + [
            ("snapshot", space, each, flat) for each in snapshots
        ]
        todo += [("ingest", space, each, False) for each in ingests]
    todo += [("blob", space, number, False) for space, number in world["images"]]
    todo += [("ingest", *key, False) for key, (end, _) in world["ingests"].items() if end == "later"]
    todo += [("blob", *key, False) for key, (root, _) in world["blobs"].items() if root]
    todo += [("snapshot", *key, False) for key, (root, _, _) in world["snapshots"].items() if root]
    while todo:
        node = todo.pop()
        kind, space, number, flat = node
        named |= {number} if kind == "blob" else set()
        if node in seen or (space, number) not in world[f"{kind}s"]:
            continue
        seen.add(node)
        if kind == "blob" and not flat:
            refers = world["blobs"][space, number][1]
            todo += [] if refers is None else [("blob", space, refers, False)]
        elif kind == "ingest":
            expected = world["ingests"][space, number][1]
            todo += [] if expected is None else [("blob", space, expected, False)]
        elif kind == "snapshot":
            parent, refers = parent_of(world, space, number), world["snapshots"][space, number][2]
            todo += [] if parent is None else [("snapshot", space, parent, flat)]
            todo += [] if refers is None or flat else [("blob", space, refers, False)]
    return {node[:3] for node in seen}, named


def row_id(space, number):
    """The directory number of a recorded snapshot."""
    return 1 + SPACES.index(space) * 10 + number


def world_rows(world):
    """All rows, each with its parent row: by (space, number) for recorded snapshots, by number for others."""
    rows = {}
    for space, number in world["snapshots"]:
        if (space, number) not in world["lost_rows"]:
            parent = parent_of(world, space, number)
            rows[space, number] = None if parent is None else (space, parent)
    for number, parent in world["extra_rows"].items():
        rows[number] = parent if not isinstance(parent, int) or parent < number else None
    return rows


def expected(world):
    """What should go: records, rows and paths, by the model alone."""
    ended = {key for key, (end, *_) in world["leases"].items() if end is not None}
    marked, named = black(world, ended, meant(world, ended))
    recorded = {(kind, *key) for kind in ("blob", "snapshot", "ingest") for key in world[f"{kind}s"]}
    records = recorded - marked
    rows = world_rows(world)
    stay = [key for key in rows if isinstance(key, tuple) and ("snapshot", *key) in marked]
    standing = set()
    while stay:
        key = stay.pop()
        if key in rows and key not in standing:
            standing.add(key)
            stay.append(rows[key])
    gone_rows = set(rows) - standing
    # A snapshot that stays and has a row and no folder: any without a row may be its.
    bare = any(
        kind == "snapshot" and (space, number) in rows and row_id(space, number) not in world["folders"]
        for kind, space, number in marked
    )
    named |= {world["ingests"][key][1] for key in world["ingests"] if ("ingest", *key) in marked}
    paths = {("blob", number) for number in world["files"] - named}
    # Which folder is that of a snapshot that stays and whose row is lost cannot be told.
    rowless = any(kind == "snapshot" and (space, number) not in rows for kind, space, number in marked)
    ids = {row_id(*key) if isinstance(key, tuple) else key: key for key in rows}
    # Rows that a run which was killed left without their records: their folders are known, and go with them.
    stray = {
        row_id(space, number)
        for space in SPACES
        for number in range(10)
        if row_name((space, number)) in world.get("stray_rows", ())
    }
    for number in world["folders"]:
        if ids[number] in gone_rows if number in ids else number in stray or not (rowless or bare):
            paths.add(("snapshot", number))
    paths |= {("ingest", *key) for key in world["ingest_folders"] if ("ingest", *key) not in marked}
    return ended, records, gone_rows, paths


def row_name(of):
    """A row's name; as containerd gives them, the number of each is its own."""
    return b"%s/%d/%s" % (of[0], row_id(*of), key(of[1])) if isinstance(of, tuple) else b"extra%d" % of

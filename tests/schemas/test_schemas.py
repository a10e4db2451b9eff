"""The JSON Schemas fit what drydock writes about every capture, and say no to what it does not write."""

import functools
import json
import os
from pathlib import Path

import pytest
from fixtures.breakages import BREAKAGES, Broken
from jsonschema import Draft202012Validator, ValidationError
from tests.support.captures import capture as captured
from tests.support.captures import captures
from tests.support.documents import parsed, run
from tests.support.scans import HOSTILE, scan_of_everything
from tests.support.values import FINGERPRINT, NOW

from drydock.model.documents.common import compact
from drydock.model.documents.schemas import DOCUMENTS, schema_text
from drydock.model.exports import Change, ChangeKind
from drydock.model.findings import Finding, FindingCode, Place, Severity
from drydock.model.leases import LeaseClass
from drydock.model.listings import ListKind
from drydock.model.names import Digest, Kind, RawPath, Ref, UnixNano
from drydock.model.objects import State
from drydock.model.plans import Adoption, FieldDrop, Outcome, Removal, Status, Target
from drydock.model.repairs import Loss, Repair, Unadopted
from drydock.model.roots import Engine
from drydock.model.runs import EditOutcome, PastRun, PastRuns, Run, RunEnd, UndoState
from drydock.model.verifications import Completeness, Coverage, Hit, ImageState, Platform, Verification
from drydock.reclaim.journal_writer import JournalWriter
from drydock.reclaim.plan_file import plan_document, plans_document
from drydock.report.document import scan_document
from drydock.report.listing import changes_document
from drydock.report.repair import repair_document
from drydock.report.runs import runs_document
from drydock.report.verification import verification_document

NAMES = ("scan", "plan", "journal", "explain", "pulls", "ls", "diff", "verify", "repair", "runs", "compare", "fleet")
CAPTURES = pytest.mark.parametrize("capture", captures(), ids=lambda each: each.name)


@functools.cache
def validator(name, *, strict=True):
    """What the command prints; strict: a field that the schema does not name is an error."""
    schema = json.loads(run("schema", name, status=0))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(_closed(schema) if strict else schema)


def refuses_without_any_field(check, document, *parts, but=()):
    """Each field of some parts of a document, taken away or of the wrong type, makes it wrong; with all it is right."""
    for part in parts:
        for field, value in list(part.items()):
            if field in but:
                continue
            del part[field]
            with pytest.raises(ValidationError):
                check.validate(document)
            part[field] = {"wrong": value}
            with pytest.raises(ValidationError):
                check.validate(document)
            part[field] = value
    check.validate(document)


def _closed(schema):
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(each) for key, each in schema.items()}
    if "properties" in closed and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


@pytest.mark.root
@CAPTURES
def test_scans(capture, unpacked):
    """Scan documents, with and without holders, measured and verified in every way."""
    host = unpacked(capture)
    check = validator("scan")
    for options in ((), ("--holders",), ("--measure", "disk", "--verify", "digest")):
        document = json.loads(run("scan", "--now", capture.taken_at, "--format", "json", *options, host))
        check.validate(document)
        assert ("holders" in document["roots"][0]) is ("--holders" in options)


@pytest.mark.root
@CAPTURES
def test_pulls_and_explanations(capture, unpacked):
    """Interrupted pulls; and what explain says of one object of each state, of a lease and of an image."""
    host = unpacked(capture)
    now = ("--now", capture.taken_at, "--format", "json")
    validator("pulls").validate(json.loads(run("pulls", *now, host)))
    check = validator("explain")
    (root,) = json.loads(run("scan", *now, host))["roots"]
    words = {(each["kind"], each["state"]): each["path"] or each["id"] for each in root["objects"]}
    words.update({lease["class"]: lease["id"] for lease in root["leases"]})
    for word in words.values():
        if not word.startswith("-"):
            check.validate(json.loads(run("explain", word, *now, host)))


@pytest.mark.root
@CAPTURES
def test_lists_and_changes(capture, unpacked):
    """Every kind of list, and what the first container changed."""
    host = unpacked(capture)
    check = validator("ls")
    for kind in ListKind:
        document = json.loads(run("ls", kind.value, "--now", capture.taken_at, "--format", "json", host))
        check.validate(document)
        (root,) = document["roots"]
        assert {each.value for each in ListKind} & set(root) == {kind.value}
        entries = root[kind.value]
        if kind is ListKind.CONTAINERS and entries and entries[0]["state"] == "live":
            changes = json.loads(run("diff", "container", entries[0]["id"], "--format", "json", host, status=0))
            validator("diff").validate(changes)
        refuses_without_any_field(check, document, document, root, *entries[:1], but=(kind.value,))


def test_changes():
    """What no capture has: a path that is no text, and damage."""
    changes = [Change(kind, b"/" + HOSTILE) for kind in ChangeKind]
    document = parsed(changes_document(changes, ["a file could not be read"]))
    check = validator("diff")
    refuses_without_any_field(check, document, document, document["changes"][0])


@pytest.mark.root
@CAPTURES
def test_verifications(capture, unpacked, tmp_path):
    """Verify documents of each tier: none, all, and one that time was up for."""
    host = unpacked(capture)
    check = validator("verify")
    tiers = ("--data", "--unpacked=content")
    for options in ((), tiers, (*tiers, "--max-duration", "0s")):
        said = run("verify", *options, "--format", "json", "--now", capture.taken_at, "--state", tmp_path, host)
        document = json.loads(said)
        check.validate(document)
        assert all((root["data"] is None) is not bool(options) for root in document["roots"])


def test_a_verification_of_everything():
    """Names that are no text, a finding with a page and whom it hits, every state of a platform, and every tier."""
    place = Place(RawPath(HOSTILE), 7, 28672, (b"v1", HOSTILE))
    hits = [
        Hit(Finding(FindingCode.UNDECODABLE, each, "message", place, "x", "y"), ("image",), ("box",))
        for each in Severity
    ]
    digest = Digest(b"sha256:" + b"0" * 64)
    platforms = tuple(Platform(digest, HOSTILE, state, (HOSTILE,), (digest,), (digest,)) for state in Completeness)
    image = ImageState(HOSTILE, HOSTILE, digest, platforms, (digest,))
    root = Verification(RawPath(b"/" + HOSTILE), hits, [image], Coverage(1, 2, 3, 4, 5), Coverage(), "why", ["warning"])
    document = parsed(verification_document([root], NOW))
    check = validator("verify")
    check.validate(document)
    (shown,) = document["roots"]
    refuses_without_any_field(check, document, document, shown, shown["findings"][0], shown["images"][0])


@pytest.mark.root
@CAPTURES
def test_repairs(capture, unpacked, tmp_path):
    """What is planned for each capture, and what cannot be; nothing is done."""
    options = ("--adopt", "--now", capture.taken_at, "--state", tmp_path, "--format", "json")
    document = json.loads(run("repair", *options, unpacked(capture)))
    validator("repair").validate(document)
    assert document["roots"]
    assert all(root["run"] is None for root in document["roots"])


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "filled", "run_of"),
    [
        ("blob_without_record", {"adoptions", "whole", "fields"}, {"edits"}),
        ("row_without_record", {"snapshots", "given_back"}, {"edits"}),
        ("layer_flipped", {"withheld", "left", "unproved"}, set()),
        ("folder_missing", {"losses", "withheld", "left"}, set()),
        ("folder_is_a_file", {"losses", "records", "rows", "removals"}, {"edits", "removals"}),
        ("record_without_last_row", {"losses", "withheld", "left"}, set()),
        ("junk_file", {"removals"}, {"removals"}),
        ("field_expiry", {"fields"}, {"edits"}),
    ],
)
def test_repairs_of_what_was_broken(name, filled, run_of, unpacked_anew, tmp_path_factory):
    """Planned, then done, to a file: the parts that this breakage needs are there, and the store is as they say."""
    taken, tmp_path = captured("docker-28.5-interrupted-pull"), tmp_path_factory.mktemp("beside")
    host = unpacked_anew(taken)
    BREAKAGES[name](Broken(host / taken.root))
    check = validator("repair")
    options = ("--adopt", "--data", "--now", taken.taken_at, "--state", tmp_path / "state", "--format", "json")
    options += ("--accept-loss", "web") if "rows" in filled else ()
    (before,) = json.loads(run("repair", *options, host))["roots"]
    (after,) = _repaired(check, tmp_path / "repair.json", *options, "--apply", "--yes", host)
    assert before["run"] is None
    assert {part for part in filled if not before.get(part, before["plan"].get(part))} == set()
    assert {part: before[part] for part in before if part != "run"} == {
        part: after[part] for part in after if part != "run"
    }
    ran = after["run"] or {"edits": [], "removals": []}
    assert {part for part in ("edits", "removals") if ran[part]} >= run_of
    for each in ran["removals"]:
        assert each["status"] == "done"
        assert not (host / taken.root / each["path"]).exists()
    for each in ran["edits"]:
        assert each["status"] == "done"
        assert (host / taken.root / each["path"]).exists()
    if after["run"] is not None:
        added = ("adoptions", "snapshots", "lease_records")
        for planned, done in ((("records", "rows"), "records"), (("fields",), "fields"), (added, "added")):
            assert sum(each[done] for each in ran["edits"]) == sum(len(before["plan"][part]) for part in planned)
        header = Path(ran["journal"]).read_text().partition("\n")[0]
        assert json.loads(header)["plan"] == after["plan"]["hash"]
        if "rows" in filled:
            (tmp_path / "again.json").write_text("old")
            assert run("repair", *options, "-o", tmp_path / "again.json", host, status=16) == ""
            assert (tmp_path / "again.json").read_text() == "old"
            options = options[:-2]
        (again,) = _repaired(check, tmp_path / "again.json", *options, host)
        assert not any(again["plan"][part] for part in ("records", "rows", "fields", *added, "removals"))


def _repaired(check, path, *options):
    """The roots of a document written to a file, while nothing is printed."""
    assert run("repair", *options, "-o", path) == ""
    document = json.loads(path.read_text())
    check.validate(document)
    return document["roots"]


def test_a_repair_of_everything():
    """Names that are no text, and every part: a plan, losses, what is left, and a run that failed."""
    ref = Ref(Kind.IMAGE, HOSTILE, HOSTILE)
    plan = scan_of_everything(HOSTILE).plan
    finding = Finding(
        FindingCode.UNDECODABLE, Severity.DAMAGE, "message", Place(RawPath(HOSTILE), 7, 28672, (HOSTILE,)), "x", "y"
    )
    removal = Removal(Target.BLOB, plan.root, RawPath(HOSTILE), FINGERPRINT, 1, "why")
    outcomes = [Outcome(removal, each, "detail", 2) for each in Status]
    edits = [EditOutcome(RawPath(HOSTILE), 0, 1, each, "detail", RawPath(HOSTILE)) for each in Status]
    repair = Repair(
        plan, (Loss(ref, "name", Kind.IMAGE, "why", accepted=False),), ("again",), ("unpack",), (finding,),
        unread="why", whole=("whole",), unadopted=(Unadopted(HOSTILE, "sha256:0", "why"),), short=("short",),
    )  # fmt: skip
    done = Run(plan.root, RawPath(HOSTILE), "state", outcomes, edits, ["warning"])
    document = parsed(repair_document([repair], [plan_document(plan)], [done], NOW))
    check = validator("repair")
    check.validate(document)
    (root,) = document["roots"]
    parts = [root[name][0] for name in ("losses", "not_adopted", "left")]
    parts += [root["run"], root["run"]["edits"][0], root["run"]["removals"][0]]
    refuses_without_any_field(check, document, document, root, *parts)


@pytest.mark.root
@CAPTURES
@pytest.mark.parametrize("moved", [False, True])
def test_plans_and_journals(capture, unpacked_anew, tmp_path_factory, moved):
    """A plan that ends what can be ended, and every line of the journal of carrying it out."""
    host = unpacked_anew(capture)
    plan = tmp_path_factory.mktemp("plan") / "plan.json"
    run("plan", "--now", capture.taken_at, "--end-leases", "ownerless", "-o", plan, host)
    validator("plan").validate(json.loads(plan.read_text()))
    state = tmp_path_factory.mktemp("state")
    options = ["--now", capture.taken_at, "--end-leases", "ownerless", "--apply", "--yes", "--state", state]
    if moved:
        (host / "moved").mkdir()
        options += ["--quarantine", host / "moved"]
    run("clean", *options, host)
    check = validator("journal")
    kinds = set()
    for journal in state.rglob("journal.jsonl"):
        for line in journal.read_text().splitlines():
            entry = json.loads(line)
            check.validate(entry)
            kinds.add(entry.get("do") or next(iter(entry)))
    expected = {"schema", "ended", "finished"} if json.loads(plan.read_text())["plans"][0]["removals"] else set()
    assert expected <= kinds
    assert not expected or ("move" if moved else "remove") in kinds


def test_a_journal_of_what_was_missing(tmp_path):
    """The line of a thing that was not there before the run."""
    directory = os.open(tmp_path, os.O_RDONLY)
    journal = JournalWriter(directory, RawPath(os.fsencode(tmp_path)), RawPath(HOSTILE), "a" * 64)
    journal.note_missing([RawPath(HOSTILE)])
    journal.close()
    os.close(directory)
    check = validator("journal")
    line = json.loads((tmp_path / "journal.jsonl").read_text().splitlines()[1])
    check.validate(line)
    refuses_without_any_field(check, line, line)


@pytest.mark.root
def test_fleets(unpacked, tmp_path):
    """Answers over every capture, to every question and to one's own, with lists, truths, times and nulls in them."""
    for each in captures():
        report = tmp_path / f"{each.name}.json"
        options = ("--host", each.name, "--holders", "--format", "json", "-o", report)
        run("scan", "--now", each.taken_at, *options, unpacked(each))
    check = validator("fleet")
    document = json.loads(run("fleet", "--format", "json", tmp_path, status=0))
    check.validate(document)
    assert all(answer["rows"] for answer in document["answers"])
    for question in ("SELECT * FROM holders", "SELECT * FROM leases", "SELECT * FROM roots", "SELECT 1.5, [[1]]"):
        own = json.loads(run("fleet", "--format", "json", "--sql", question, tmp_path, status=0))
        check.validate(own)
        (answer,) = own["answers"]
        assert all(len(row) == len(answer["columns"]) for row in answer["rows"])
    (tmp_path / "bad.json").write_text("{}")
    check.validate(json.loads(run("fleet", "--format", "json", tmp_path, status=8)))
    refuses_without_any_field(check, document, document, document["answers"][0])


def test_two_scans_compared(unpacked, tmp_path):
    """Captures of two hosts, which differ in all."""
    reports = []
    for each in captures()[:2]:
        reports.append(tmp_path / f"{each.name}.json")
        options = ("--host", each.name, "--holders", "--measure", "disk", "--format", "json", "-o", reports[-1])
        run("scan", "--now", each.taken_at, *options, unpacked(each))
    document = json.loads(run("compare", "--format", "json", *reports, status=0))
    assert document["notes"]
    part = document["differences"][0]
    refuses_without_any_field(validator("compare"), document, document, part, document["states"][0])


def test_past_runs():
    """Every end and every state of an undo, a root that is no text, and a journal that could not be read."""
    journal, root = RawPath(b"/state/run/journal.jsonl"), RawPath(b"/" + HOSTILE)
    runs = [
        PastRun(journal, root, "2026-01-31T12:00:00Z", "0.1", end, time, 1, 2, 3, 4, 5, 6, undo, "reason")
        for end in RunEnd
        for undo in UndoState
        for time in ("2026-01-31T12:00:01Z", None)
    ]
    document = parsed(runs_document(PastRuns(runs, ["a journal: cause"])))
    check = validator("runs")
    refuses_without_any_field(check, document, document, document["runs"][0])


def test_a_plan_that_deletes_keys():
    """No capture needs one, so it is made: keys of meta.db and of a metadata.db, with names that are no text."""
    keys = tuple(FieldDrop(snapshotter, (b"v1", HOSTILE), HOSTILE, "why") for snapshotter in (None, b"overlayfs"))
    plan = scan_of_everything().plan._replace(fields=keys)
    document = json.loads(compact.encode(plans_document([plan])))
    assert len(document["plans"][0]["fields"]) == 2
    validator("plan").validate(document)


def test_a_plan_that_puts_records_in():
    """Made too: with labels, and names that are no text."""
    labels = ((b"containerd.io/gc.ref.content.config", HOSTILE), (HOSTILE, b"x"))
    record = Adoption(Ref(Kind.BLOB, HOSTILE, HOSTILE), RawPath(HOSTILE), FINGERPRINT, labels, UnixNano(1), "why")
    plan = scan_of_everything().plan._replace(adoptions=(record,))
    document = json.loads(compact.encode(plans_document([plan])))
    assert len(document["plans"][0]["adoptions"][0]["labels"]) == 2
    validator("plan").validate(document)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_package_has_the_generated_schema(name):
    """What ``drydock schema`` prints is generated from the declarations: ``python -m tests.schemas`` writes it."""
    assert run("schema", name, status=0) == schema_text(name)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_field_is_described(name):
    """By itself, or by the part that it is."""
    parts = json.loads(run("schema", name))["$defs"]
    assert all(part.get("description") for part in parts.values())
    fields = {(part, field): facts for part in parts for field, facts in parts[part].get("properties", {}).items()}
    assert fields
    assert [place for place, facts in fields.items() if not facts.get("description") and "enum" not in facts] == []


def test_hostile_names_fit():
    """Names are text, whatever they were."""
    validator("scan").validate(parsed(scan_document([scan_of_everything(HOSTILE, inventory=True)], NOW)))


def test_fields_may_be_added():
    """As docs/json.md promises to readers: a later version's document fits this version's schema."""
    document = parsed(scan_document([scan_of_everything(b"plain")], NOW))
    document["new"] = document["roots"][0]["new"] = document["roots"][0]["objects"][0]["new"] = 1
    validator("scan", strict=False).validate(document)
    with pytest.raises(ValidationError):
        validator("scan").validate(document)


def test_what_is_missing_or_wrong_is_told():
    """Each field of a scan document is needed, and is of its type."""
    check = validator("scan", strict=False)
    whole = parsed(scan_document([scan_of_everything(b"plain", inventory=True)], NOW))
    parts = [whole, whole["roots"][0]]
    parts += [
        whole["roots"][0][part][0]
        for part in ("objects", "leases", "findings", "withheld", "holders")
        if whole["roots"][0][part]
    ]
    refuses_without_any_field(check, whole, *parts, but=("holders", "snapshotter", "row", "pull"))


def test_every_word_is_known():
    """States, classes of leases, engines and outcomes of the program are those of the schemas."""
    scan = json.loads(run("schema", "scan"))["$defs"]
    assert scan["State"]["enum"] == sorted(state.value for state in State)
    assert scan["StateTotals"]["required"] == [state.value for state in State]
    assert scan["LeaseClass"]["enum"] == sorted(kind.value for kind in LeaseClass)
    assert scan["Engine"]["enum"] == sorted(engine.value for engine in Engine)
    for part, field, kind in (
        ("ObjectPart", "state", "State"),
        ("LeasePart", "class", "LeaseClass"),
        ("ScanRoot", "engine", "Engine"),
    ):
        assert scan[part]["properties"][field]["$ref"] == f"#/$defs/{kind}"
    verify = json.loads(run("schema", "verify"))["$defs"]
    assert verify["PlatformPart"]["properties"]["state"]["$ref"] == "#/$defs/Completeness"
    assert verify["Completeness"]["enum"] == sorted(state.value for state in Completeness)
    journal = json.loads(run("schema", "journal"))["$defs"]
    assert journal["EndLine"]["properties"]["status"]["$ref"] == "#/$defs/Status"
    assert set(journal["Status"]["enum"]) == {status.value for status in Status}
    plan, repair = (json.loads(run("schema", name))["$defs"] for name in ("plan", "repair"))
    assert plan.pop("PlanDocument")
    assert repair | plan == repair
    for name in NAMES:
        assert json.loads(run("schema", name))["$id"] == f"urn:drydock:{name}:1"

"""``drydock repair``."""

from __future__ import annotations

import io

import click

from drydock import commands, report
from drydock.cli.options import (
    VerifyCommand,
    format_option,
    make_verify_options,
    now_option,
    output_option,
    state_options,
    typed_name,
    verify_options,
    where_argument,
)
from drydock.cli.output import check_output, confirm, no_storage, open_output, print_json, print_runs, tell_unread
from drydock.cli.progress import show_progress
from drydock.model.access import Access
from drydock.model.errors import ActionFailed, EvidenceUnreadable, Usage
from drydock.model.names import RawPath, UnixNano
from drydock.model.repairs import Repair
from drydock.reclaim.plan_file import plan_document
from drydock.streams import keep_going, tell_needed


@click.command(
    cls=VerifyCommand,
    examples={
        "Show what would make a broken image pull again": "drydock repair",
        "Make it pull again": "drydock repair --apply",
        "Hash every blob first, and give lost records back": "drydock repair --data --adopt --apply",
        "Unpack layers again whose files a power cut emptied": "drydock repair --unpacked --restore-files --apply",
    },
)
@where_argument
@click.option("--apply", "do", is_flag=True, help="Repair it. Without this option, repair only shows it.")
@click.option("--yes", is_flag=True, help="Do not ask before repairing.")
@click.option(
    "--accept-loss",
    metavar="NAME",
    multiple=True,
    help="Give up the image, container or snapshot NAME, as shown under WOULD BE LOST.",
)
@click.option(
    "--adopt",
    is_flag=True,
    help="Restore lost records: of blobs that an image needs, and of containers that dockerd has.",
)
@click.option(
    "--drop-unproved",
    is_flag=True,
    help="Delete a damaged layer and the snapshot unpacked from it, if nothing here proves the snapshot intact.",
)
@click.option(
    "--restore-files",
    is_flag=True,
    help="Unpack a damaged snapshot again from its layer, if the layer is intact.",
)
@verify_options
@format_option("table", "json")
@output_option
@state_options
@now_option
@click.pass_context
def repair(
    ctx: click.Context,
    /,
    *,
    where: RawPath | None,
    do: bool,
    yes: bool,
    accept_loss: tuple[str, ...],
    adopt: bool,
    drop_unproved: bool,
    restore_files: bool,
    data: bool,
    unpacked: bool,
    unpacked_content: bool,
    max_duration: int | None,
    form: str,
    output: str | None,
    quarantine: RawPath | None,
    state: RawPath | None,
    now: UnixNano,
) -> None:
    """Show what makes a broken image pull again. With --apply, do it.

    Repair deletes the records of missing or corrupt data, and the records that depend on them. After that, a pull
    fetches the data again: an engine that has a record of data does not fetch it. Repair first names the images and
    containers that would be lost. It keeps them and all data that they need, unless you give them up with
    --accept-loss. It backs up each database before it edits it. drydock undo takes a run back.

    With --adopt, a blob on disk whose record is lost gets the record back, if a manifest in use names the blob. Repair
    hashes each blob first. It names the images that are complete afterwards: they need no pull. If meta.db does not
    know some of Docker's containers, for example because an older copy of it was restored, their snapshots and leases
    get their records back too. Without these, the engine deletes the containers' files when it starts.

    If a layer is damaged, and nothing here proves that the snapshot unpacked from it is intact, both stay and the
    status is 2. With --drop-unproved, both are deleted. A pull then fetches them, if the registry still has the image.

    With --restore-files, a snapshot whose files differ from its layer, for example because a power cut emptied them, is
    unpacked again from the layer's blob, if every byte of the blob is right. Containers on it keep what they wrote, and
    nothing has to be pulled. Without it, the records of the snapshot are deleted. It works for overlayfs.

    If drydock verify --data or --unpacked found damage, repair reads that data again and repairs it, provided that
    verify had the same --state or none. With --data or --unpacked, repair reads everything now. It always reads the
    layers that the engine will unpack again.

    With --format json, one document describes the plan and, with --apply --yes, the result.

    Exit status without --apply: 0 no damage (repair may show leftovers that only hinder the engine), 2 damage, 8
    something could not be read. With --apply: 0 the plan was carried out and repairs all damage that was found, except
    for the pulls that repair names: until they are done, verify reports missing-target; 2 damage remains that the plan
    does not repair; 4 part of the plan was not carried out; 8 something could not be read. If several apply, the status
    is their sum. If you answer no, the status is the same as without --apply.
    """
    if not do and (quarantine or yes):
        raise Usage("--yes and --quarantine need --apply")
    # Written at the end: before that, there may be no room for a file.
    buffer = io.StringIO() if form == "json" or output not in (None, "-") else None
    if do and buffer is not None:
        if not yes:
            raise Usage("--apply asks for confirmation, and the plan goes to a file or a document: use --yes")
        check_output(output)
    if yes:
        keep_going()
    planned: list[Repair] = []
    code = 0

    def agree(repairs: list[Repair]) -> bool:
        nonlocal code
        planned.extend(repairs)
        for made in repairs:
            for line in report.repair.repair_lines(made, where):
                click.echo(line, file=buffer)
            tell_unread((made.unread,), "no database is edited because of this")
            tell_unread((made.blind,), "objects that depend on it are not changed")
            code |= made.exit_code()
        if not repairs:
            click.echo(no_storage(where), file=buffer)
        if all(made.plan.is_empty for made in repairs):
            return False
        if not do:
            click.echo("Nothing was changed. With --apply, repair makes these changes.", file=buffer)
            return False
        if not confirm(yes=yes):
            return False
        code = 0
        for made in repairs:
            code |= (2 if made.left else 0) | (EvidenceUnreadable.exit_code if made.unread or made.blind else 0)
        return True

    with show_progress() as progress:
        runs = commands.repair.repair(
            where,
            Access(exclusive=do, now=now, state=state, quarantine=quarantine, progress=progress),
            agree=progress.cleared(agree) if progress else agree,
            accept=tuple(map(typed_name, accept_loss)),
            wanted=make_verify_options(data, unpacked, unpacked_content, max_duration),
            adopt=adopt,
            drop_unproved=drop_unproved,
            restore_files=restore_files,
        )
    code |= print_runs(runs, buffer)
    if buffer is not None:
        try:
            with open_output(output) as file:
                if form == "json":
                    plans = [plan_document(made.plan) for made in planned]
                    print_json(report.repair.repair_document(planned, plans, runs, now), file)
                else:
                    file.write(buffer.getvalue())
        except ActionFailed as error:
            # The changes are made: as if stdout were lost, the status includes this error and the journal is named.
            click.echo(f"drydock: {error}", err=True)
            tell_needed()
            code |= error.exit_code
    ctx.exit(code)

"""``drydock browse``."""

from __future__ import annotations

import gc
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from drydock.cli.clean import clean_store
from drydock.cli.options import Command, live_option, now_option, state_options, where_argument
from drydock.cli.output import confirm, no_storage, offer_live
from drydock.cli.undo import undo_run
from drydock.model.access import Access
from drydock.model.errors import DrydockError, Usage
from drydock.model.names import RawPath, UnixNano
from drydock.model.policies import SizeSource

if TYPE_CHECKING:
    from drydock.browse.deeds import Deed

_KEY = 32
"""Bytes that a key may send, as an arrow does."""
_INSTALL = "pip install 'containerd-drydock[browse]'"


@click.command(
    cls=Command,
    examples={
        "Look through this host's storage, with the engine stopped": "drydock browse",
        "Look only, beside a running engine": "drydock browse --live",
        "Be able to undo: move things aside instead of deleting them": "drydock browse --quarantine /var/lib/aside",
    },
)
@where_argument
@live_option
@click.option(
    "--measure",
    type=click.Choice([source.value for source in SizeSource]),
    default=SizeSource.DISK.value,
    show_default=True,
    help="Sizes of unpacked layers and of what lies beside the stores: as measured on disk, or only as recorded, "
    "which is faster.",
)
@state_options
@now_option
@click.pass_context
def browse(
    ctx: click.Context,
    *,
    where: RawPath | None,
    live: bool,
    measure: str,
    state: RawPath | None,
    quarantine: RawPath | None,
    now: UnixNano,
) -> None:
    """Look through the storage in the terminal, the largest first, and mark and remove what may go.

    The engine must be stopped, unless --live is given: then browse only looks. Enter goes down, Backspace goes up,
    Space marks what may go, e shows what holds a thing, and ? lists all keys. a shows the plan of what is marked,
    leaves the view, asks, and carries the plan out as drydock clean --apply does. u lists past runs and undoes one.

    Exit status: of the last change, as for clean --apply or undo; 0 without one.
    """
    if find_spec("textual") is None:
        raise Usage(f"drydock browse needs Textual, which is not installed: {_INSTALL}")
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise Usage("drydock browse needs a terminal; drydock scan prints to a file or a pipe")
    # They would stand for the size of the terminal, whatever it is resized to.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    # A key leads to two drawings: at the usual 60 a second, the second one would come late.
    os.environ.setdefault("TEXTUAL_FPS", "120")
    from drydock.browse.app import Browse  # noqa: PLC0415 - Textual is an extra
    from drydock.browse.deeds import Place  # noqa: PLC0415 - the same

    # A session may last: without --now, each plan is judged by the clock.
    given = ctx.get_parameter_source("now") is ParameterSource.COMMANDLINE
    place = Place(
        where,
        Access(live=live, measure=SizeSource(measure), state=state, quarantine=quarantine, now=now if given else None),
    )
    code, left = 0, None
    while True:
        # Nothing keeps in memory what was read before, once the next view has its marks.
        view, left = Browse(place, left), None
        with _take_back_signals():
            deed = view.run()
        gc.enable()
        if view.interrupted:
            raise KeyboardInterrupt
        if view.error is not None:
            with offer_live():
                raise view.error
        if view.view is not None and not view.view.looked:
            click.echo(no_storage(where))
        if deed is None:
            ctx.exit(code)
        why = ""
        try:
            code, changed = _do(deed, where, place.access)
        except DrydockError as error:
            click.echo(f"drydock: {error}", err=True)
            code, changed, why = error.exit_code, False, str(error)
        left = view.how_left(changed=changed, why=why)
        if not changed:
            click.echo(f"{left.news.partition(';')[0].capitalize()}.")
        _wait_for_key()


@contextmanager
def _take_back_signals() -> Iterator[None]:
    """Have Ctrl-Z and fg do what they did before, when the block ends.

    Textual leaves its handlers, which would open the view again while a deed is done (drivers/linux_driver.py, 8.2).
    """
    former = {number: signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _wait_for_key() -> None:
    """Ask for a key, and wait for it. A key that is pressed as soon as the line is there counts.

    click.getchar sets the terminal after the line, which drops what was typed between the two (click 8.5
    _termui_impl.py raw_terminal).
    """
    terminal = sys.stdin.fileno()
    former = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        click.echo("Press a key to go back to drydock browse; Ctrl-C ends it.")
        os.read(terminal, _KEY)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, former)


def _do(deed: Deed, where: RawPath | None, access: Access) -> tuple[int, bool]:
    """Carry out a deed of the view, as ``drydock clean`` or ``drydock undo`` does.

    Returns:
        The exit status, and whether anything may have been changed.

    Raises:
        DrydockError: nothing was changed.
    """
    from drydock.browse.deeds import Clean, run_line  # noqa: PLC0415 - the same

    if isinstance(deed, Clean):
        wanted = Access(policy=deed.policy, now=access.now, state=access.state, quarantine=deed.quarantine)
        code, runs = clean_store(where, wanted)
        return code, bool(runs)
    click.echo(run_line(deed.run))
    return (undo_run(deed.run.journal), True) if confirm(yes=False) else (0, False)

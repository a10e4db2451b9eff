"""What a command asks of the roots that it works on."""

from typing import NamedTuple

from drydock.model.names import RawPath, UnixNano
from drydock.model.policies import BlobCheck, Policy, SizeSource
from drydock.model.progress import Progress


class Access(NamedTuple):
    """How a command enters a root, and what it asks of it."""

    live: bool = False
    """Take no lock, and read copies of the databases: for looking beside a running engine."""
    exclusive: bool = False
    """Hold the locks as a writer, in a root that no process and no mount uses: for changing the store."""
    now: UnixNano | None = None
    """What ages and expiries are compared with; None for the clock."""
    timed: bool = True
    """Whether ages and expiries are judged. Only then must the clock be right."""
    measure: SizeSource = SizeSource.RECORDED
    verification: BlobCheck = BlobCheck.SIZE
    policy: Policy | None = None
    """What a plan removes; None where nothing is removed on the strength of the plan: then it has no fingerprints."""
    asks: bool = False
    """Whether plans of other policies will be asked for: what any of them needs is read."""
    state: RawPath | None = None
    """Where journals and backups are, besides the default places."""
    quarantine: RawPath | None = None
    """Where things are moved to instead of being deleted."""
    progress: Progress | None = None
    """Called while data is read."""

    def to_change(self) -> "Access":
        """The same access, but exclusive and never live: for a command that always changes the store."""
        return self._replace(exclusive=True, live=False)

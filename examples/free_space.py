"""Free what interrupted pulls left on a stopped host, and say what was done: a recovery script in a few lines.

python examples/free_space.py [WHERE]
"""

import os
import sys

import drydock
from drydock.model.errors import DrydockError
from drydock.model.policies import EndLeases, Policy
from drydock.model.text import shown


def main() -> int:
    """Plan, show the largest removals, apply."""
    where = os.fsencode(sys.argv[1]) if len(sys.argv) > 1 else None
    try:
        scans = drydock.plan(where, policy=Policy(end=EndLeases.TEMPORARY))
        for scan in scans:
            print(f"{shown(scan.plan.root)}: {scan.plan.bytes} bytes can be freed")
            for removal in sorted(scan.plan.removals, key=lambda each: -each.bytes)[:5]:
                print(f"  {removal.bytes:>12} {shown(removal.path)}: {removal.why}")
        runs = drydock.apply([drydock.request(scan) for scan in scans])
    except DrydockError as error:
        print(f"not done: {error}", file=sys.stderr)
        return error.exit_code
    for run in runs:
        print(f"{shown(run.root)}: {run.freed} bytes freed; journal {shown(run.journal)}")
    return 4 if any(run.failed for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Free what interrupted pulls left on a stopped host, and print what was done.

python examples/free_space.py [WHERE]
"""

import sys

import drydock


def main() -> int:
    """Plan, show the largest removals, apply."""
    where = sys.argv[1] if len(sys.argv) > 1 else None
    try:
        scans = drydock.plan(where, policy=drydock.Policy(end=drydock.EndLeases.TEMPORARY))
        for scan in scans:
            print(f"{drydock.shown(scan.plan.root)}: {scan.plan.bytes} bytes can be freed")
            for removal in sorted(scan.plan.removals, key=lambda each: -each.bytes)[:5]:
                print(f"  {removal.bytes:>12} {drydock.shown(removal.path)}: {removal.why}")
        runs = drydock.apply([drydock.request(scan) for scan in scans])
    except drydock.DrydockError as error:
        print(f"not done: {error}", file=sys.stderr)
        return error.exit_code
    for run in runs:
        journal = "" if run.journal is None else f"; journal {drydock.shown(run.journal)}"
        print(f"{drydock.shown(run.root)}: {run.freed} bytes freed{journal}")
    return drydock.ActionFailed.exit_code if any(run.failed for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())

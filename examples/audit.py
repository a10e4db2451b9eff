"""Write every object of a host's storage, with its state, its size and what holds it, to a CSV file.

python examples/audit.py FILE [WHERE]
"""

import csv
import sys
from collections.abc import Iterator

import drydock

COLUMNS = ("root", "state", "kind", "bytes", "namespaces", "id", "path", "held by", "why it goes")


def rows(scan: drydock.Scan) -> Iterator[tuple[str | int, ...]]:
    """One row for each object."""
    goes = {removal.path: removal.why for removal in scan.plan.removals}
    for found in scan.verdict.objects:
        yield (
            drydock.shown(scan.plan.root),
            found.state.value,
            found.kind.value,
            found.allocated,
            " ".join(map(drydock.shown, found.namespaces)),
            drydock.shown(found.id),
            "" if found.path is None else drydock.shown(found.path),
            "; ".join(f"{ref.kind.value} {drydock.shown(ref.key)}" for ref in found.held_by),
            "" if found.path is None else goes.get(found.path, ""),
        )


def main() -> int:
    """Scan, write the file, print a line for each state."""
    output, where = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    try:
        scans = drydock.scan(where)
    except drydock.DrydockError as error:
        print(f"not done: {error}", file=sys.stderr)
        return error.exit_code
    with open(output, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for scan in scans:
            writer.writerows(rows(scan))
    for scan in scans:
        for state, total in scan.totals().items():
            print(f"{drydock.shown(scan.plan.root)}: {state.value:<11} {total.count:>7} {total.bytes:>15} bytes")
        for finding in scan.verdict.findings:
            if finding.severity is not drydock.Severity.NOTE:
                print(f"{finding.severity.name.lower()}: {finding.message}", file=sys.stderr)
    status = 0
    for scan in scans:
        status |= scan.exit_code()
    return status


if __name__ == "__main__":
    sys.exit(main())

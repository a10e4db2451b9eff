"""Write the files of a container to a tar archive, and list what it had changed: for a host that does not start.

python examples/rescue.py CONTAINER FILE [WHERE]
"""

import sys

import drydock


def main() -> int:
    """Find the container, export its files, list the changes."""
    name, output, where = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None
    try:
        changes, uncompared = drydock.diff_container(name, where)
        written = drydock.export_container(name, where, output=output)
    except drydock.DrydockError as error:
        print(f"not done: {error}", file=sys.stderr)
        return error.exit_code
    for change in changes:
        print(f"{change.kind.value} {drydock.shown(change.path)}")
    for line in (*uncompared, *written.remarks, *written.damage):
        print(line, file=sys.stderr)
    print(f"{written.what}: {written.count} entries in {output}, from {drydock.shown(written.root)}")
    return written.exit_code()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compares two sessions of `make bench`: the medians of the rows that both have, and their ratio.

    scripts/bench_compare.py BASE [NEW]

Both are files that `make bench` writes (target/bench.jsonl). Where a row has a limit of its own run, the ratio is that of the
medians to their limits: seconds of a shared machine do not travel.
"""

import json
import re
import sys

# The columns that have what a row is about.
FIGURES = ("median", "mean", "per second", "resident")


def rows(path):
    found = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            cells = entry["row"]
            # Paths and numbers of runs are not of the row.
            table = re.sub(r" at \S+(?=[,:])|, \d+ runs|, medians of \d+", "", entry["table"])
            name = next(iter(cells.values()))
            found[entry.get("bench", ""), table, name] = {column: number(cell) for column, cell in cells.items()}
    return found


def figure(cells):
    """What a row is about."""
    return next((cells[column] for column in FIGURES if cells.get(column) is not None), None)


def number(cell):
    try:
        return float(cell)
    except ValueError:
        return None


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        base = rows(sys.argv[1])
        new = rows(sys.argv[2] if len(sys.argv) == 3 else "target/bench.jsonl")
    except OSError as error:
        sys.exit(f"{error.filename!r} cannot be read ({error.strerror}): name a file that 'make bench' has written")
    shown = None
    for (bench, table, name), cells in new.items():
        before = base.get((bench, table, name)) or base.get(("", table, name), {})
        old, now = figure(before), figure(cells)
        if not old or now is None:
            continue
        if table != shown:
            print(f"\n{table}\n  {'row':50} {'base':>10} {'new':>10} {'ratio':>7} {'to limit':>9}")
            shown = table
        limits = before.get("limit"), cells.get("limit")
        to_limit = f"{(now / limits[1]) / (old / limits[0]):9.2f}" if all(limits) else "        -"
        print(f"  {name:50.50} {old:10.3f} {now:10.3f} {now / old:7.2f} {to_limit}")
    if shown is None:
        sys.exit("No row with a figure is in both files.")


if __name__ == "__main__":
    main()

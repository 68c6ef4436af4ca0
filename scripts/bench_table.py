#!/usr/bin/env python3
"""One table of a whole session of `make bench`, as Markdown: each row with its limit of the same run, and the ratio.

    scripts/bench_table.py [FILE]

FILE is what `make bench` writes (target/bench.jsonl). Rows are medians of several runs; rates are of one second.
"""

import sys

from bench_compare import figure, rows

HEAD = ("bench", "what", "median", "limit", "ratio")


def lines(found):
    shown = None
    for (bench, table, name), cells in found.items():
        median, limit = figure(cells), cells.get("limit")
        if median is None:
            continue
        if table != shown:
            yield bench, f"**{table}**", "", "", ""
            shown = table
        ratio = f"{median / limit:.2f}" if limit else ""
        yield bench, name, short(median), short(limit), ratio


def short(value):
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"


def main():
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    path = sys.argv[1] if len(sys.argv) == 2 else "target/bench.jsonl"
    try:
        table = [HEAD, *lines(rows(path))]
    except OSError as error:
        sys.exit(f"{error.filename!r} cannot be read ({error.strerror}): 'make bench' writes such a file")
    widths = [max(len(row[at]) for row in table) for at in range(len(HEAD))]
    table.insert(1, tuple("-" * width for width in widths))
    for row in table:
        cells = (cell.ljust(width) if at < 2 else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths)))
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

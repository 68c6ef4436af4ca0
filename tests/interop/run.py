#!/usr/bin/env python3
"""An independent peer against our two node types: run.py --bin-dir target/debug [NAME...]

Needs the built programs and `cryptography` (requirements.txt). The last line is `N passed, N failed`.
"""
import argparse
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import nodes  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=nodes.bin_dir)
    parser.add_argument("names", nargs="*", help="only tests that have one of these in their name")
    arguments = parser.parse_args()
    nodes.bin_dir = arguments.bin_dir.resolve()
    loader = unittest.TestLoader()
    if arguments.names:
        loader.testNamePatterns = [f"*{name}*" for name in arguments.names]
    result = unittest.TextTestRunner(verbosity=2).run(loader.discover(str(HERE)))
    failed = len({test.id() for test, _ in result.failures + result.errors})
    sys.stderr.flush()
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())

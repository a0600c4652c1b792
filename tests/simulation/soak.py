"""More histories than anyone waits for: `python -m tests.simulation.soak --histories N [--seed FIRST]`.

Without a first seed they are fresh ones; the first is printed, so that any run can be had again.
"""

from __future__ import annotations

import argparse
import secrets
import sys

from .campaign import campaign


def main() -> int:
    """Exit status 1 where a history fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.soak", description=__doc__)
    parser.add_argument("--histories", type=int, default=100_000)
    parser.add_argument("--seed", type=int, help="the first seed")
    arguments = parser.parse_args()
    first = arguments.seed if arguments.seed is not None else 1_000_000 + secrets.randbelow(1 << 48)
    print(f"{arguments.histories} histories from seed {first} on", flush=True)
    reports = campaign(first, arguments.histories, lambda line: print(line, flush=True))
    for report in reports:
        print(report)
    return 1 if reports else 0


if __name__ == "__main__":
    sys.exit(main())

"""Replays one history: `python -m tests.simulation --seed S [--keep 1,2,5] [--calm] [--trace] [--minimise]`."""

from __future__ import annotations

import argparse
import sys

from .history import Failure, run
from .kernel import Violation
from .minimise import minimise, report
from .plan import make


def main() -> int:
    """Exit status 1 where the history breaks a rule."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--keep", help="numbers of the events to keep, or none")
    parser.add_argument("--calm", action="store_true", help="a good network")
    parser.add_argument("--trace", action="store_true", help="print every step")
    parser.add_argument("--minimise", action="store_true", help="print the smallest history that fails alike")
    arguments = parser.parse_args()
    plan = make(arguments.seed)
    if arguments.keep is not None:
        plan = plan.keep({int(number) for number in arguments.keep.split(",") if number != "none"})
    if arguments.calm:
        plan = plan.calm()
    print(f"seed {arguments.seed}: {plan.config}")
    try:
        world = run(arguments.seed, plan, print if arguments.trace else None)
    except Violation as violation:
        failure = Failure(arguments.seed, violation.rule, violation.detail, plan)
        print(report(minimise(failure) if arguments.minimise else failure))
        return 1
    print(f"holds: {world.kernel.steps} steps, {world.kernel.now:.1f} s, {len(world.ledger.records)} records")
    return 0


if __name__ == "__main__":
    sys.exit(main())

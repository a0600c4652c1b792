"""Spend an afternoon on a cluster of its own, as root, and write the report: `python -m tests.e2e --help`."""

import argparse
import secrets
import sys
from pathlib import Path

from tests.cluster import cluster, versions
from tests.e2e import report
from tests.e2e.afternoon import Afternoon, spend
from tests.e2e.ground import lay
from tests.kubernetes.installed import images, install_kinds


def main() -> int:
    """0 where the books are balanced and recovery was soon enough; the report says in any case what was."""
    arguments = _parser().parse_args()
    spent = _spend(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report.write(spent, arguments.out)
    wrong = [*spent.verdict.all_wrong, *report.too_slow(spent)]
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    print(arguments.out / report.PAGE)
    return 1 if wrong else 0


def _spend(arguments: argparse.Namespace) -> Afternoon:
    with cluster.temporary("afternoon", arguments.version, 3, _say) as kubernetes:
        install_kinds(kubernetes)
        ground = lay(images(kubernetes))
        return spend(ground, arguments.seed, arguments.minutes * 60, _say)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="of what goes wrong; drawn anew")
    parser.add_argument("--minutes", type=float, default=20.0, help="of faults; 20 by default")
    parser.add_argument("--version", default=versions.DEFAULT, help="of Kubernetes")
    parser.add_argument("--out", type=Path, default=Path("afternoon"), help="the report's folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())

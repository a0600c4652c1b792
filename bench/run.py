"""`make bench`: every measurement, one after the other, each a module of its own.

`python -m bench.run [NAME…]` runs those named; a new measurement is a module with `measure()` and its line here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from bench import accept, audit, backlog, changing, crowded, machine, memory, postgres, receipts, starting, whole_way
from bench.report import progress
from bench.scale import measure as scale

MEASURES: dict[str, Callable[[], None]] = {
    "whole_way": whole_way.measure,
    "accept": accept.measure,
    "receipts": receipts.measure,
    "changing": changing.measure,
    "postgres": postgres.measure,
    "memory": memory.measure,
    "audit": audit.measure,
    "backlog": backlog.measure,
    "scale": scale.measure,
    "starting": starting.measure,
    "crowded": crowded.measure,
}
BY_NAME_ONLY = {"backlog", "scale", "starting", "crowded"}
"""What takes many minutes, tens of gigabytes, root, or a cluster is measured when it is asked for."""


def main() -> None:
    """Tell the machine, then measure."""
    parser = argparse.ArgumentParser(description="Measure Meterfabric on this machine, beside NATS JetStream.")
    parser.add_argument(
        "name", nargs="*", help=f"of: {', '.join(MEASURES)} (default: all but {', '.join(sorted(BY_NAME_ONLY))})"
    )
    names = parser.parse_args().name or [name for name in MEASURES if name not in BY_NAME_ONLY]
    unknown = set(names) - set(MEASURES)
    if unknown:
        parser.error(f"no measurement is called {', '.join(sorted(unknown))}")
    machine.tell()
    for name in names:
        begun = time.monotonic()
        progress(name)
        MEASURES[name]()
        progress(f"{name} took {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()

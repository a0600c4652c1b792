"""`meterfabric erase`: destroy one record's bytes in a sink; its hash stays, so everything else still verifies."""

from __future__ import annotations

import argparse
import time

from meterfabric_cli.arguments import EXIT_NOT, EXIT_WHOLE, Subparsers, add_record, add_sink, command, no_record
from meterfabric_cli.inputs import sink


def add(commands: Subparsers) -> None:
    """Register the command."""
    parser = command(
        commands,
        "erase",
        "destroy a record's bytes in a sink and keep its hash, so that the rest still verifies",
        "meterfabric erase --sink file:DIR/sinks/archive --source //web-0 --id 4711 --reason 'subject asked'",
        run,
    )
    add_sink(parser)
    add_record(parser)
    parser.add_argument("--reason", default="", help="kept beside the hash (default: none)")


def run(options: argparse.Namespace) -> int:
    """Erase every record with this source and id; 1 where there is none."""
    with sink(options.sink) as evidence:
        found = evidence.find(options.source, options.id)
        for place in found:
            evidence.erase(place, reason=options.reason, erased_at=int(time.time()))
            print(f"erased: leaf {place.index} of {place.origin}")
    if not found:
        print(no_record(options))
        return EXIT_NOT
    return EXIT_WHOLE

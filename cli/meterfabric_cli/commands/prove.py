"""`meterfabric prove`: the proof of one record, for whoever doubts it."""

from __future__ import annotations

import argparse
from pathlib import Path

from meterfabric_cli.arguments import EXIT_NOT, EXIT_WHOLE, Subparsers, add_record, add_sink, command
from meterfabric_cli.errors import CommandError
from meterfabric_cli.inputs import sink
from meterfabric_cli.proving import prove
from meterfabric_protocol.errors import ProtocolError


def add(commands: Subparsers) -> None:
    """Register the command."""
    parser = command(
        commands,
        "prove",
        "write the proof of one record: its bytes, its place in a signed and countersigned log, both certificates",
        "meterfabric prove --sink sqlite:DIR/sinks/billing/records.db --source //web-0 --id 4711 --out proof",
        run,
    )
    add_sink(parser)
    add_record(parser)
    parser.add_argument("--out", required=True, metavar="OUT", type=Path, help="the folder to write, made if need be")


def run(options: argparse.Namespace) -> int:
    """Prove the first record with this source and id; 1 where there is none."""
    with sink(options.sink) as evidence:
        found = evidence.find(options.source, options.id)
        if not found:
            print(f"no record has source {options.source!r} and id {options.id!r}; it may be erased")
            return EXIT_NOT
        try:
            files = prove(evidence, found[0])
        except (ProtocolError, ValueError) as error:
            raise CommandError(f"--sink {options.sink}: {error}; run audit to see what is wrong with it") from error
    files.write(options.out)
    print(f"{options.out}: proof of leaf {found[0].index} of {found[0].origin}")
    for other in found[1:]:
        print(f"the same source and id are also at leaf {other.index} of {other.origin}")
    return EXIT_WHOLE

"""`meterfabric prove`: the proof of one record, for whoever doubts it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from meterfabric_cli.arguments import EXIT_NOT, EXIT_WHOLE, Subparsers, add_place, add_sink, command, no_record
from meterfabric_cli.errors import CommandError
from meterfabric_cli.inputs import sink
from meterfabric_cli.proving import prove
from meterfabric_protocol.errors import ProtocolError
from meterfabric_sink.destination.open import shown_url

_STDOUT = Path("-")


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
    add_place(parser, "; - writes it to standard output, as a tar archive")


def run(options: argparse.Namespace) -> int:
    """Prove one record with this source and id; 1 where there is none."""
    with sink(options.sink) as evidence:
        found = evidence.find(options.source, options.id)
        if not found:
            print(no_record(options))
            return EXIT_NOT
        if options.which > len(found):
            raise CommandError(f"--which {options.which}: {len(found)} records have this source and id")
        chosen = found[options.which - 1]
        try:
            files = prove(evidence, chosen)
        except (ProtocolError, ValueError) as error:
            where = shown_url(options.sink)
            raise CommandError(f"--sink {where}: {error}; run audit to see what is wrong with it") from error
    told = sys.stdout
    if options.out == _STDOUT:
        sys.stdout.buffer.write(files.pack())
        told = sys.stderr
    else:
        files.write(options.out)
    print(f"{options.out}: proof of leaf {chosen.index} of {chosen.origin}", file=told)
    for number, other in enumerate(found, 1):
        if other != chosen:
            where = f"leaf {other.index} of {other.origin}"
            print(f"the same source and id are also at {where}: --which {number}", file=told)
    return EXIT_WHOLE

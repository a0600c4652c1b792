"""`meterfabric prove`: the proof of one record, for whoever doubts it."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from meterfabric_cli.arguments import EXIT_NOT, EXIT_WHOLE, Subparsers, add_record, add_sink, command
from meterfabric_cli.auditing.sink_identity import claimed
from meterfabric_cli.errors import CommandError
from meterfabric_cli.inputs import sink
from meterfabric_cli.proof_folder import ProofFiles
from meterfabric_protocol import tlog_proof
from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.merkle import inclusion_in_batch
from meterfabric_protocol.note import add_signatures
from meterfabric_sink.destination.base import Certificate
from meterfabric_sink.evidence import Evidence, Found


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


def prove(evidence: Evidence, place: Found) -> ProofFiles:
    """The proof of the record at `place`.

    Raises CommandError where it has none, ProtocolError or ValueError where what is stored doesn't fit together.
    """
    held = evidence.batch_of(place.origin, place.index)
    leaf = (
        held.leaves[place.index - held.batch.first]
        if held and place.index < held.batch.first + len(held.leaves)
        else None
    )
    if held is None or leaf is None or held.batch.cosignature is None:
        raise CommandError(f"leaf {place.index} of {place.origin} is not held with a receipt")
    line = held.batch.cosignature.encode()
    path = inclusion_in_batch(evidence.frontier(place.origin, held.batch.first), held.hashes(), place.index)
    note = add_signatures(held.batch.note, [line])
    proof = tlog_proof.encode(tlog_proof.TlogProof(place.index, tuple(path), note))
    _, time = claimed(line)
    producer = _valid(evidence.certificates(place.origin), time)
    if producer is None:
        raise CommandError(
            f"{place.origin} had no certificate at {datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}Z, a later log"
            " vouches for it: audit shows that, a proof of one record can't"
        )
    own = _valid(evidence.sink_certificates(), time)
    if own is None:
        raise CommandError("the sink keeps no certificate of its own from the time of this receipt")
    return ProofFiles(leaf, proof, producer.chain, own.chain)


def _valid(certificates: list[Certificate], time: int) -> Certificate | None:
    """The newest one that was valid at `time`."""
    return next((each for each in reversed(certificates) if each.not_before <= time <= each.not_after), None)

"""A proof on disk: four files that say who sent a record, when a sink received it, and that it is unaltered.

`record.json` is the record's exact bytes, `record.tlog-proof` its inclusion in its batch's checkpoint with the
producer's signature and the sink's cosignature (c2sp.org/tlog-proof@v1), `producer.pem` and `sink.pem` the certificate
chains of both, leaf first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from meterfabric_cli.auditing.sink_identity import claimed
from meterfabric_cli.errors import CommandError
from meterfabric_cli.inputs import read_file
from meterfabric_protocol import tlog_proof
from meterfabric_protocol.checkpoint import Checkpoint
from meterfabric_protocol.checkpoint import parse as parse_checkpoint
from meterfabric_protocol.errors import BadSignature, Malformed
from meterfabric_protocol.identity import ChainVerifier, Identity, TrustBundle, match_origin
from meterfabric_protocol.limits import DEFAULT
from meterfabric_protocol.merkle import leaf_hash
from meterfabric_protocol.notice import is_notice

RECORD, PROOF, PRODUCER, SINK = "record.json", "record.tlog-proof", "producer.pem", "sink.pem"
_RECORD_BYTES = 4 << 20


@dataclass(frozen=True)
class ProofFiles:
    """The bytes of the four files."""

    record: bytes
    proof: bytes
    producer: bytes
    sink: bytes

    def write(self, folder: Path) -> None:
        """Write them, making the folder. Raises CommandError."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in zip((RECORD, PROOF, PRODUCER, SINK), self._contents(), strict=True):
                (folder / name).write_bytes(content)
        except OSError as error:
            raise CommandError(f"{error.filename or folder}: {error.strerror or error}") from error

    @classmethod
    def read(cls, folder: Path) -> ProofFiles:
        """Read them. Raises CommandError."""
        return cls(
            read_file(folder / RECORD, _RECORD_BYTES),
            read_file(folder / PROOF, tlog_proof.MAX_PROOF_BYTES),
            read_file(folder / PRODUCER, DEFAULT.chain_bytes),
            read_file(folder / SINK, DEFAULT.chain_bytes),
        )

    def _contents(self) -> tuple[bytes, bytes, bytes, bytes]:
        return self.record, self.proof, self.producer, self.sink


@dataclass(frozen=True)
class Verified:
    """What a proof has shown: leaf `index` of the log, sent by `producer`, received by `sink` at `time`."""

    index: int
    checkpoint: Checkpoint
    producer: Identity
    sink: Identity
    time: datetime


def verify(files: ProofFiles, trust: TrustBundle) -> Verified:
    """Check a proof against nothing but the trust bundle.

    Raises ProtocolError (Malformed, BadSignature, ProofError, CertificateError) naming what doesn't hold.
    """
    proof = tlog_proof.decode(files.proof)
    signed = parse_checkpoint(proof.note, tlog_proof.MAX_PROOF_BYTES)
    if is_notice(files.record):
        raise Malformed(RECORD, "a notice of the sidecar, not a record")
    verifier = ChainVerifier(trust)
    # A checkpoint may carry other witnesses' cosignatures; the sink's is the one that its certificate is for.
    refusal: Exception = BadSignature(PROOF, "no cosignature stands beside the producer's signature")
    for signature in signed.signatures:
        if signature.name == signed.checkpoint.origin:
            continue
        try:
            _, moment = claimed(signature.line())
            time = datetime.fromtimestamp(moment, UTC)
            sink = verifier.verify(files.sink, time, role="sink")
        except (BadSignature, Malformed) as error:
            refusal = error
            continue
        if sink.name != signature.name:
            refusal = BadSignature(SINK, f"is {sink.name}'s, the proof is cosigned by {signature.name}")
            continue
        producer = verifier.verify(files.producer, time, role="producer", fabric=sink.fabric)
        match_origin(producer, signed.checkpoint.origin)
        proven = tlog_proof.verify(
            proof, leaf_hash(files.record), producer.name, producer.public_key, {sink.name: sink.public_key}
        )
        return Verified(proof.index, proven.checkpoint, producer, sink, time)
    raise refusal

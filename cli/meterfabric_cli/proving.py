"""The proof of one record, made from what a sink stores."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from meterfabric_cli.auditing.sink_identity import claimed, made_by
from meterfabric_cli.errors import CommandError
from meterfabric_cli.proof_folder import MOST_VOUCHERS, Part, ProofFiles
from meterfabric_protocol import notice as notices
from meterfabric_protocol import tlog_proof
from meterfabric_protocol.checkpoint import parse as parse_checkpoint
from meterfabric_protocol.delivery.credential import bare
from meterfabric_protocol.delivery.stored import UNNAMED
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.merkle import Tree
from meterfabric_protocol.merkle_path import inclusion_beyond
from meterfabric_protocol.note import add_signatures
from meterfabric_sink.destination.base import Certificate, Held
from meterfabric_sink.evidence import Evidence, Found


def prove(evidence: Evidence, place: Found) -> ProofFiles:
    """The proof of the record at `place`.

    Raises CommandError where it has none, ProtocolError or ValueError where what is stored doesn't fit together.
    """
    parts: list[Part] = []
    while True:
        part, place_of_voucher = _part(evidence, place)
        parts.append(part)
        if place_of_voucher is None:
            return ProofFiles(parts[0], tuple(parts[1:]))
        if len(parts) > MOST_VOUCHERS:
            raise CommandError(f"{parts[0].leaf[:80]!r}: more than {MOST_VOUCHERS} logs vouch for one another")
        place = place_of_voucher


def _part(evidence: Evidence, place: Found) -> tuple[Part, Found | None]:
    """The proof of a leaf, and where its log's voucher is; None where the log had a certificate."""
    held = evidence.batch_of(place.origin, place.index)
    leaf = (
        held.leaves[place.index - held.batch.first]
        if held and place.index < held.batch.first + len(held.leaves)
        else None
    )
    if held is None or leaf is None or held.batch.cosignature is None:
        raise CommandError(f"leaf {place.index} of {place.origin} is not held with a receipt")
    batch = held.batch
    line = held.batch.cosignature.encode()
    _, time = claimed(line)
    own = _valid([each for each in evidence.sink_certificates() if made_by(each.chain, line)], time)
    if own is None:
        raise CommandError(f"the sink keeps no certificate of its own for this receipt of {_clock(time)}")
    tree = Tree(held.hashes(), evidence.range(place.origin, 0, batch.first))
    path = tree.inclusion_proof(place.index, batch.size)
    proof = _encode(place.index, path, add_signatures(batch.note, [line]))
    producer = _valid(evidence.certificates(place.origin), time)
    if producer is not None:
        return Part(leaf, proof, producer.chain, own.chain), None
    log = evidence.log(place.origin)
    if log is None or log.final_size == UNNAMED:
        raise CommandError(
            f"{place.origin} had no certificate at {_clock(time)}, and no later log vouches for it; run audit"
        )
    key = bare(Ed25519PublicKey.from_public_bytes(log.public_key))
    return Part(leaf, proof, key, own.chain, _end(evidence, tree, place, log)), _voucher(evidence, log)


def _end(evidence: Evidence, tree: Tree, place: Found, log: Held) -> bytes | None:
    """The leaf's inclusion in its log's last checkpoint; None where that is its own batch's, or isn't held."""
    last = evidence.batch_of(log.origin, log.final_size - 1)
    if last is None or last.batch.size != log.final_size:
        return None
    if parse_checkpoint(last.batch.note).checkpoint.root != log.final_root:
        raise CommandError(f"{log.origin} ends otherwise than {log.vouched_by} says, which vouches for it; run audit")
    if log.final_size == tree.size:
        return None
    rest = evidence.range(log.origin, tree.size, log.final_size)
    return _encode(place.index, inclusion_beyond(tree, rest, place.index), last.batch.note)


def _voucher(evidence: Evidence, log: Held) -> Found:
    """Where the notice stands that names this log's end."""
    for each in evidence.notices(log.vouched_by):
        try:
            said = notices.decode(each.body)
        except Malformed:
            continue
        named = isinstance(said, notices.Continues) and (said.previous, said.size, said.root)
        if named == (log.origin, log.final_size, log.final_root):
            return Found(log.vouched_by, each.index)
    raise CommandError(f"{log.origin}: {log.vouched_by} is said to vouch for it and has no notice of that; run audit")


def _encode(index: int, path: list[bytes], note: bytes) -> bytes:
    return tlog_proof.encode(tlog_proof.TlogProof(index, tuple(path), note))


def _valid(certificates: list[Certificate], time: int) -> Certificate | None:
    """The newest one that was valid at `time`."""
    return next((each for each in reversed(certificates) if each.not_before <= time <= each.not_after), None)


def _clock(time: int) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}Z"

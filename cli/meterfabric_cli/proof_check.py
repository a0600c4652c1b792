"""Does a proof hold? Judged by nothing but its files and the trust bundle, at the time the sink cosigned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from meterfabric_cli.auditing.sink_identity import claimed
from meterfabric_cli.proof_folder import CONTINUES, END, PRODUCER, PROOF, RECORD, SINK, Part, ProofFiles
from meterfabric_protocol import checkpoint as checkpoints
from meterfabric_protocol import notice as notices
from meterfabric_protocol import tlog_proof
from meterfabric_protocol.checkpoint import Checkpoint
from meterfabric_protocol.errors import BadSignature, Malformed, ProtocolError
from meterfabric_protocol.identity import ChainVerifier, Identity, TrustBundle, match_origin
from meterfabric_protocol.limits import DEFAULT
from meterfabric_protocol.merkle import leaf_hash
from meterfabric_protocol.merkle_proof import verify_inclusion
from meterfabric_protocol.names import key_hash, key_hash_of, same_pod


@dataclass(frozen=True)
class Shown:
    """What one part has shown: leaf `index` of the log of `checkpoint` was received by `sink` at `time`."""

    index: int
    checkpoint: Checkpoint
    sink: Identity
    time: datetime


@dataclass(frozen=True)
class Voucher:
    """A notice shown, which says that the log before it ends at `size`; `reached`: that end's root was shown to be of
    a tree that has the leaf vouched for."""

    shown: Shown
    size: int
    reached: bool


@dataclass(frozen=True)
class Verified:
    """What a proof has shown. `producer` is the pod that sent the record, by the certificate of the record's log or of
    the last voucher's."""

    record: Shown
    producer: Identity
    vouchers: tuple[Voucher, ...]


def verify(files: ProofFiles, trust: TrustBundle) -> Verified:
    """Check a proof against nothing but the trust bundle.

    Raises ProtocolError (Malformed, BadSignature, ProofError, CertificateError) naming what doesn't hold.
    """
    if notices.is_notice(files.record.leaf):
        raise Malformed(RECORD, "a notice of the sidecar, not a record")
    verifier = ChainVerifier(trust)
    shown, producer, vouchers = _follow([files.record, *files.vouchers], verifier)
    return Verified(shown, producer, vouchers)


def _follow(
    parts: Sequence[Part], verifier: ChainVerifier, number: int = 0
) -> tuple[Shown, Identity, tuple[Voucher, ...]]:
    """What the first part, voucher `number`, shows, the pod behind it, and what vouches for its log."""
    part, *rest = parts
    sink, time = _cosigner(part, verifier)
    stated = tlog_proof.decode(part.proof)
    origin = checkpoints.parse(stated.note, tlog_proof.MAX_PROOF_BYTES).checkpoint.origin
    if rest:
        public_key = _bare_key(part.producer, origin)
    else:
        with _naming(PRODUCER):
            producer = verifier.verify(part.producer, time, role="producer", fabric=sink.fabric)
            match_origin(producer, origin)
        public_key = producer.public_key
    proven = tlog_proof.verify(stated, leaf_hash(part.leaf), origin, public_key, {sink.name: sink.public_key})
    shown = Shown(stated.index, proven.checkpoint, sink, time)
    if not rest:
        return shown, producer, ()
    with _naming(f"voucher-{number + 1}"):
        later, producer, further = _follow(rest, verifier, number + 1)
    return shown, producer, (_vouched(part, shown, public_key, rest[0], later), *further)


def _cosigner(part: Part, verifier: ChainVerifier) -> tuple[Identity, datetime]:
    """The sink whose certificate is there, and when it says that it cosigned; its signature is checked later."""
    signed = checkpoints.parse(tlog_proof.decode(part.proof).note, tlog_proof.MAX_PROOF_BYTES)
    # A checkpoint may carry other witnesses' cosignatures; the sink's is the one that its certificate is for.
    refusal: ProtocolError = BadSignature(PROOF, "no cosignature stands beside the producer's signature")
    for signature in signed.signatures:
        if signature.name == signed.checkpoint.origin:
            continue
        try:
            _, moment = claimed(signature.line())
            time = datetime.fromtimestamp(moment, UTC)
            with _naming(SINK):
                sink = verifier.verify(part.sink, time, role="sink")
        except (BadSignature, Malformed) as error:
            refusal = error
            continue
        if sink.name == signature.name:
            return sink, time
        refusal = BadSignature(SINK, f"is {sink.name}'s, the proof is cosigned by {signature.name}")
    raise refusal


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Say of what doesn't hold where it stands."""
    try:
        yield
    except ProtocolError as error:
        raise Malformed(what, str(error)) from error


def _vouched(part: Part, shown: Shown, public_key: bytes, voucher: Part, later: Shown) -> Voucher:
    """Hold the voucher's notice against the log that it vouches for."""
    point = shown.checkpoint
    notice = notices.decode(voucher.leaf)
    if not isinstance(notice, notices.Continues) or notice.log != later.checkpoint.origin:
        raise Malformed(CONTINUES, f"not the notice by which {later.checkpoint.origin} goes on another log")
    if notice.previous != point.origin:
        raise Malformed(CONTINUES, f"names {notice.previous}, not {point.origin}")
    if not same_pod(notice.log, point.origin):
        raise Malformed(CONTINUES, f"{notice.log} is no log of the pod of {point.origin}")
    if notice.size < point.size:
        raise Malformed(CONTINUES, f"says that the log ends at leaf {notice.size}, the checkpoint is of {point.size}")
    end = point if notice.size == point.size else _end(part, shown, public_key)
    if end is not None and (end.size, end.root) != (notice.size, notice.root):
        raise Malformed(CONTINUES, f"names another end than leaf {end.size} with the root in the log's checkpoint")
    return Voucher(later, notice.size, end is not None)


def _end(part: Part, shown: Shown, public_key: bytes) -> Checkpoint | None:
    """The log's checkpoint at its end, with the leaf shown to be in it; None where it isn't there."""
    if part.end is None:
        return None
    proof = tlog_proof.decode(part.end)
    signed = checkpoints.parse(proof.note, tlog_proof.MAX_PROOF_BYTES)
    end = checkpoints.authenticate(signed, shown.checkpoint.origin, public_key)
    if proof.index != shown.index:
        raise Malformed(END, f"is of leaf {proof.index}, the proof beside it of {shown.index}")
    verify_inclusion(leaf_hash(part.leaf), proof.index, end.size, proof.hashes, end.root)
    return end


def _bare_key(pem: bytes, origin: str) -> bytes:
    """The raw key in PEM, of the log that is named for it. Raises Malformed, BadSignature."""
    try:
        key = load_pem_public_key(pem[: DEFAULT.chain_bytes])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Malformed(PRODUCER, f"no public key, as a log needs for which a voucher is there: {error}") from error
    if not isinstance(key, Ed25519PublicKey) or key_hash(key.public_bytes_raw()) != key_hash_of(origin):
        raise BadSignature(PRODUCER, f"not the key that {origin} is named for")
    return key.public_bytes_raw()

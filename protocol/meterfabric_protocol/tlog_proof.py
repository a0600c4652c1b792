"""A proof of one leaf that verifies offline with anyone's tools (c2sp.org/tlog-proof@v1).

It holds the leaf's index, its audit path and a checkpoint with the log's signature and the sinks' cosignatures.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from . import checkpoint as checkpoints
from . import cosignature
from .errors import Malformed, ProofError
from .merkle import HASH_BYTES
from .merkle_proof import verify_inclusion
from .note import decode_base64, decode_decimal, decode_text

MAX_PROOF_BYTES: Final = 16384
"""Most bytes of a proof, unless the reader says otherwise."""

MAX_HASHES: Final = 63
"""Longest audit path: of a tree of 2**63 leaves."""

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_EXTRA: Final = "extra "
_INDEX: Final = "index "


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof's parts: leaf index, audit path (leaf's sibling first), the checkpoint's note verbatim, and opaque extra
    data that nothing authenticates (None where the line is absent)."""

    index: int
    hashes: tuple[bytes, ...]
    note: bytes
    extra: bytes | None = None


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof has shown: the log's checkpoint, and when each asked-for cosigner signed it (POSIX seconds)."""

    checkpoint: checkpoints.Checkpoint
    times: Mapping[str, int] = field(default_factory=dict)


def encode(proof: TlogProof) -> bytes:
    """The proof's bytes, as a `.tlog-proof` file holds them."""
    lines = [_HEADER]
    if proof.extra is not None:
        lines.append(_EXTRA + b64encode(proof.extra).decode())
    lines.append(f"{_INDEX}{proof.index}")
    lines += [b64encode(value).decode() for value in proof.hashes]
    return "\n".join(lines).encode() + b"\n\n" + proof.note


def decode(data: bytes, max_bytes: int = MAX_PROOF_BYTES) -> TlogProof:
    """Read a proof without believing it; its checkpoint is kept verbatim. Raises Malformed."""
    if len(data) > max_bytes:
        raise Malformed("tlog-proof", f"{len(data)} bytes, at most {max_bytes}")
    head, gap, note = data.partition(b"\n\n")
    if not gap:
        raise Malformed("tlog-proof", "no blank line before the checkpoint")
    lines = decode_text("tlog-proof", head).split("\n")
    if lines.pop(0) != _HEADER:
        raise Malformed("tlog-proof", f"the first line is not {_HEADER!r}")
    extra = None
    if lines and lines[0].startswith(_EXTRA):
        extra = decode_base64("tlog-proof extra", lines.pop(0).removeprefix(_EXTRA))
    if not lines or not lines[0].startswith(_INDEX):
        raise Malformed("tlog-proof", "no index line")
    index = decode_decimal("tlog-proof index", lines.pop(0).removeprefix(_INDEX))
    if len(lines) > MAX_HASHES:
        raise Malformed("tlog-proof", f"{len(lines)} hashes, at most {MAX_HASHES}")
    hashes = tuple(decode_base64("tlog-proof hash", line) for line in lines)
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise Malformed("tlog-proof hash", f"{len(value)} bytes, not {HASH_BYTES}")
    return TlogProof(index, hashes, note, extra)


def verify(
    proof: TlogProof, leaf: bytes, origin: str, public_key: bytes, cosigners: Mapping[str, bytes] | None = None
) -> Proven:
    """Check that the leaf with hash `leaf` is in the log `origin`, in the very batch that the checkpoint seals.

    `public_key` is the log's, `cosigners` are the names and keys (32 bytes, Ed25519) of sinks whose cosignatures must
    all be there. Raises Malformed or BadSignature for the checkpoint, BadSignature for a cosignature, ProofError for
    the path or an index outside the batch.
    """
    signed = checkpoints.parse(proof.note, MAX_PROOF_BYTES)
    stated = checkpoints.authenticate(signed, origin, public_key)
    times = {
        name: cosignature.verify_among(signed.text, signed.signatures, name, key)
        for name, key in (cosigners or {}).items()
    }
    if not stated.first <= proof.index < stated.size:
        raise ProofError("tlog-proof", f"leaf {proof.index} is outside the batch [{stated.first}, {stated.size})")
    verify_inclusion(leaf, proof.index, stated.size, proof.hashes, stated.root)
    return Proven(stated, times)

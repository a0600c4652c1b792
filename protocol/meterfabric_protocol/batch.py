"""A batch: leaves [first, size) of one log and the checkpoint at size; unit of disk, wire and receipt.

Sealed once, never changed. A batch holds records only or notices only. Its header travels apart from its payload: the
header is small, always kept, and has the subtree roots of its leaves, so that what stays when the payload is gone (a
stub) still lets every later root be verified.

A header is `MFB`, one version byte and a MessagePack array in its one shortest spelling. A payload is the leaves in
order, each followed by a newline, which no leaf holds. Nothing in a header is believed before `verify`, which rests on
the producer's signature alone. What that doesn't cover: `kind` "stub" and its `of`, which say only that no payload
comes along, and `codec`, which says how it travels. Whether a stub may pass is for notices to say.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from . import checkpoint
from .checkpoint import Checkpoint, SignedCheckpoint
from .errors import Malformed
from .limits import DEFAULT, ORIGIN_BYTES, Limits
from .merkle import HASH_BYTES, MAX_SIZE, CompactRange, leaf_hashes, line_hashes

MAGIC: Final = b"MFB"
VERSION: Final = 1

Kind: TypeAlias = Literal["records", "notices", "stub"]
Content: TypeAlias = Literal["records", "notices"]
Codec: TypeAlias = Literal["none", "zstd"]
Decompress: TypeAlias = Callable[[bytes, int], bytes]
"""Takes compressed bytes and the length wanted. Never makes more than that; raises Malformed on what isn't zstd."""
Compress: TypeAlias = Callable[[bytes], bytes]

_MAX_ROOTS: Final = 2 * 63 * HASH_BYTES
_HEADER_OVERHEAD: Final = 128
_FIRST_BYTE: Final = itemgetter(0)
_LAST_BYTE: Final = itemgetter(-1)
_MARKS: Final[dict[Content, tuple[int, int]]] = {
    "records": (ord("{"), ord("}")),
    "notices": (ord("!"), ord("}")),
}
"""How leaves of each kind begin and end: JSON objects both, and a notice's mark before."""


class BatchHeader(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is known of a batch without its payload.

    `origin` names the log, the leaves are [first, size). `kind` is what comes along: records, notices, or for a stub
    nothing; `of` is what the leaves are, also of a stub. `codec` is how the payload travels, `length` its bytes when
    not compressed (0 for a stub). `note` is the signed checkpoint at `size`, `roots` the encoded CompactRange of
    [first, size). `encryption` is reserved for how a payload is encrypted; null in version 1.
    """

    origin: Annotated[str, Meta(min_length=1, max_length=ORIGIN_BYTES)]
    first: Annotated[int, Meta(ge=0, le=MAX_SIZE)]
    size: Annotated[int, Meta(ge=1, le=MAX_SIZE)]
    kind: Kind
    of: Content
    codec: Codec
    length: Annotated[int, Meta(ge=0)]
    note: bytes
    roots: Annotated[bytes, Meta(max_length=_MAX_ROOTS)]
    encryption: None = None

    @property
    def count(self) -> int:
        """Leaves of the batch."""
        return self.size - self.first

    @property
    def range(self) -> CompactRange:
        """The roots of [first, size) as the header states them. Raises Malformed."""
        return CompactRange.decode(self.first, self.size, self.roots)

    def stub(self) -> "BatchHeader":
        """The header of the stub that stays of this batch."""
        return msgspec.structs.replace(self, kind="stub", codec="none", length=0)


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(BatchHeader)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode_header(header: BatchHeader) -> bytes:
    """The header's bytes, the same for equal headers."""
    return MAGIC + bytes([VERSION]) + _ENCODER.encode(header)


def decode_header(data: bytes, limits: Limits = DEFAULT) -> BatchHeader:
    """Read a header without believing it: every number in it is within `limits`. Raises Malformed."""
    most = limits.note_bytes + _MAX_ROOTS + ORIGIN_BYTES + _HEADER_OVERHEAD
    if len(data) > most:
        raise Malformed("batch header", f"{len(data)} bytes, at most {most}")
    if len(data) <= len(MAGIC) or data[: len(MAGIC)] != MAGIC:
        raise Malformed("batch header", f"begins with {bytes(data[:4])!r}, not {MAGIC!r} and a version")
    version = data[len(MAGIC)]
    if version != VERSION:
        raise Malformed("batch header", f"version {version}, this reader reads version {VERSION}")
    body = data[len(MAGIC) + 1 :]
    try:
        header = _DECODER.decode(body)
    except _UNREADABLE as error:
        raise Malformed("batch header", str(error)) from None
    _check(header, limits)
    if _ENCODER.encode(header) != body:
        raise Malformed("batch header", "not in its one shortest spelling")
    return header


def _check(header: BatchHeader, limits: Limits) -> None:
    count = header.count
    if not 1 <= count <= limits.batch_records:
        raise Malformed("batch header", f"{count} leaves, at least 1 and at most {limits.batch_records}")
    if len(header.note) > limits.note_bytes:
        raise Malformed("batch header", f"a note of {len(header.note)} bytes, at most {limits.note_bytes}")
    if header.kind == "stub":
        if header.length or header.codec != "none":
            raise Malformed("batch header", f"a stub of {header.length} bytes, codec {header.codec}; it has no payload")
    elif header.of != header.kind:
        raise Malformed("batch header", f"kind {header.kind}, yet of {header.of}")
    elif not 2 * count <= header.length <= limits.batch_bytes:
        raise Malformed(
            "batch header", f"{header.length} bytes for {count} leaves, at least 2 each, at most {limits.batch_bytes}"
        )
    _ = header.range
    _stated(header, limits)


def _stated(header: BatchHeader, limits: Limits) -> SignedCheckpoint:
    """The header's checkpoint, which must be its own."""
    signed = parse_own_note(header.note, header.origin, limits)
    stated = signed.checkpoint
    if (stated.first, stated.size) != (header.first, header.size):
        raise Malformed(
            "batch header", f"[{header.first}, {header.size}), its checkpoint says [{stated.first}, {stated.size})"
        )
    return signed


def parse_own_note(note: bytes, origin: str, limits: Limits = DEFAULT) -> SignedCheckpoint:
    """Read a checkpoint of the log `origin` as its producer makes it: with one signature, by name the log's own.

    Notes may bear any signatures besides, and whoever passes one on may add some. A sink compares checkpoints byte by
    byte to find two of one size, so here a checkpoint has one spelling only. Raises Malformed.
    """
    signed = checkpoint.parse(note, limits.note_bytes)
    if signed.checkpoint.origin != origin:
        raise Malformed("checkpoint", f"of the log {signed.checkpoint.origin!r}, not {origin!r}")
    names = [signature.name for signature in signed.signatures]
    if names != [origin]:
        raise Malformed("checkpoint", f"{len(names)} signatures, not one by its log")
    return signed


def unpack(wire: bytes, header: BatchHeader, decompress: Decompress) -> bytes:
    """The payload of what travelled beside the header. `header` is from `decode_header`. Raises Malformed."""
    if header.codec == "none":
        payload = wire
    else:
        # What doesn't shrink travels as it is, so a longer one was made to cost work.
        if len(wire) >= header.length:
            raise Malformed("batch payload", f"{len(wire)} compressed bytes of {header.length}")
        payload = decompress(wire, header.length)
    if len(payload) != header.length:
        raise Malformed("batch payload", f"{len(payload)} bytes, the header says {header.length}")
    return payload


def pack(payload: bytes, header: BatchHeader, compress: Compress) -> tuple[BatchHeader, bytes]:
    """Header and bytes as they travel: compressed where that makes fewer of them. `header` has codec "none"."""
    wire = compress(payload)
    if len(wire) >= len(payload):
        return header, payload
    return msgspec.structs.replace(header, codec="zstd"), wire


def join(leaves: Sequence[bytes]) -> bytes:
    """The payload of these leaves, none of which holds a newline."""
    return b"\n".join([*leaves, b""])


def split(payload: bytes, header: BatchHeader, limits: Limits = DEFAULT) -> list[bytes]:
    """The leaves of a payload, as many and of the kind that the header says; none for a stub.

    `header` is from `decode_header`, so what is allocated here is bounded. Raises Malformed.
    """
    if len(payload) != header.length:
        raise Malformed("batch payload", f"{len(payload)} bytes, the header says {header.length}")
    if header.kind == "stub":
        return []
    count = header.count
    leaves = payload.split(b"\n", count)
    rest = leaves.pop()
    if rest or len(leaves) != count:
        raise Malformed("batch payload", f"not the {count} leaves of the header, each followed by a newline")
    if not all(leaves):
        raise Malformed("batch payload", f"leaf {header.first + leaves.index(b'')} is empty")
    if header.length > limits.record_bytes and max(map(len, leaves)) > limits.record_bytes:
        raise Malformed("batch payload", f"a leaf of {max(map(len, leaves))} bytes, at most {limits.record_bytes}")
    first, last = _MARKS[header.of]
    if set(map(_FIRST_BYTE, leaves)) != {first} or set(map(_LAST_BYTE, leaves)) != {last}:
        raise Malformed("batch payload", f"a leaf that is none of {header.of}")
    return leaves


def hash_leaves(payload: bytes, header: BatchHeader, limits: Limits = DEFAULT) -> bytes:
    """The leaf hashes of a payload, 32 bytes each; none for a stub. Takes and refuses just what `split` does."""
    if header.kind != "stub" and len(payload) == header.length:
        found = line_hashes(payload, header.count, *_MARKS[header.of], limits.record_bytes)
        if found is not None:
            return found
    # It knows what is wrong.
    return leaf_hashes(split(payload, header, limits))


def seal(
    origin: str,
    key: Ed25519PrivateKey,
    frontier: CompactRange,
    leaves: bytes,
    kind: Content,
    payload: bytes,
) -> tuple[BatchHeader, CompactRange]:
    """Seal leaves into a batch: its header with the signed checkpoint, and the log's frontier after it.

    `frontier` is the range [0, first) before the batch, `leaves` are the leaf hashes of the batch, `payload` is what
    `join` makes of the leaves. Raises ValueError where there are no leaves or `frontier` isn't one.
    """
    if not leaves:
        raise ValueError("a batch of no leaves")
    roots = CompactRange.empty(frontier.size).append(leaves)
    after = frontier.extend(roots)
    note = checkpoint.sign(Checkpoint(origin, after.size, after.root(), frontier.size), key)
    header = BatchHeader(
        origin, frontier.size, after.size, kind, kind, "none", len(payload), note, roots.encode(), None
    )
    return header, after


def verify(
    header: BatchHeader,
    leaves: bytes,
    frontier: CompactRange,
    public_key: bytes,
    limits: Limits = DEFAULT,
) -> CompactRange:
    """The log's frontier after this batch, once the producer's signature is seen to cover all of it.

    `leaves` are the hashes that `hash_leaves` gave (none for a stub), `frontier` is the range [0, first) held so far,
    `public_key` the log's (32 bytes, Ed25519). Raises ValueError where the batch doesn't begin at the frontier, which
    the caller knows before it asks; Malformed where leaves, roots and checkpoint don't fit each other; BadSignature.
    """
    if frontier.first or frontier.size != header.first:
        raise ValueError(f"a batch from {header.first} can't be verified at [{frontier.first}, {frontier.size})")
    stated = checkpoint.authenticate(_stated(header, limits), header.origin, public_key)
    roots = header.range
    if header.kind != "stub" and CompactRange.empty(header.first).append(leaves) != roots:
        raise Malformed("batch", "its leaves don't add up to its subtree roots")
    after = frontier.extend(roots)
    if after.root() != stated.root:
        raise Malformed("batch", f"its subtree roots don't lead to its checkpoint's root at {header.size}")
    return after

"""A log's signed word on itself: at this size the tree has this root (c2sp.org/tlog-checkpoint).

One extension line, "first N", names the first leaf of the batch that the checkpoint seals, so that a proof of any
record shows which batch was received as one.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .errors import Malformed
from .merkle import HASH_BYTES, MAX_SIZE
from .note import Signature, check_name, decode_base64, decode_decimal, decode_text, parse_note, sign_note, verify_note

MAX_NOTE_BYTES: Final = 2048
"""Most bytes of a checkpoint with its signatures, unless the reader says otherwise."""

_FIRST: Final = "first "


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint states: the log `origin` has `size` leaves, `root` over them, and its last batch began at
    leaf `first` (first ≤ size; equal where the log is empty)."""

    origin: str
    size: int
    root: bytes
    first: int

    def text(self) -> bytes:
        """The text that is signed, four lines.

        Raises ValueError where the values can't stand in one: that is a caller's mistake, never a peer's.
        """
        try:
            check_name("origin", self.origin)
        except Malformed as error:
            raise ValueError(str(error)) from error
        if not 0 <= self.first <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise ValueError(f"no checkpoint: first {self.first}, size {self.size}, root of {len(self.root)} bytes")
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n{_FIRST}{self.first}\n".encode()


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that was read, not yet verified: its values, the exact text and note, and all signatures."""

    checkpoint: Checkpoint
    text: bytes
    note: bytes
    signatures: tuple[Signature, ...]


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> bytes:
    """The checkpoint as a note, signed by the log's key under the log's origin."""
    return sign_note(checkpoint.text(), checkpoint.origin, key)


def parse(note: bytes, max_bytes: int = MAX_NOTE_BYTES) -> SignedCheckpoint:
    """Read a checkpoint's note without believing it. Raises Malformed."""
    parsed = parse_note(note, max_bytes)
    return SignedCheckpoint(parse_text(parsed.text), parsed.text, note, parsed.signatures)


def parse_text(text: bytes) -> Checkpoint:
    """Read a checkpoint's text, final newline included. Raises Malformed."""
    lines = decode_text("checkpoint", text).split("\n")
    if len(lines) != 5 or lines[4]:
        raise Malformed("checkpoint", f"{len(lines) - 1} lines, not 4")
    origin, size, root, extension = lines[:4]
    check_name("checkpoint", origin)
    if not extension.startswith(_FIRST):
        raise Malformed("checkpoint", "no extension line 'first N'")
    checkpoint = Checkpoint(
        origin,
        decode_decimal("checkpoint size", size),
        decode_base64("checkpoint root", root),
        decode_decimal("checkpoint first", extension.removeprefix(_FIRST)),
    )
    if len(checkpoint.root) != HASH_BYTES:
        raise Malformed("checkpoint root", f"{len(checkpoint.root)} bytes, not {HASH_BYTES}")
    if checkpoint.first > checkpoint.size:
        raise Malformed("checkpoint", f"first {checkpoint.first} is beyond size {checkpoint.size}")
    return checkpoint


def verify(note: bytes, origin: str, public_key: bytes, max_bytes: int = MAX_NOTE_BYTES) -> Checkpoint:
    """Read a checkpoint and check that it is of this log and signed by this key (32 bytes, Ed25519).

    Raises Malformed where it isn't a checkpoint, or is another log's; BadSignature where the key's signature is
    missing, doubled or wrong.
    """
    return authenticate(parse(note, max_bytes), origin, public_key)


def authenticate(signed: SignedCheckpoint, origin: str, public_key: bytes) -> Checkpoint:
    """What `verify` checks, of a checkpoint already read. Raises as it does."""
    if signed.checkpoint.origin != origin:
        raise Malformed("checkpoint", f"of the log {signed.checkpoint.origin!r}, not {origin!r}")
    verify_note(signed.text, signed.signatures, origin, public_key)
    return signed.checkpoint

"""A sink's receipt: its signature over a log's checkpoint and the time it signed (c2sp.org/tlog-cosignature, Ed25519).

What the sink states by it, beyond having seen the checkpoint: "I durably hold every record of the batch it seals".
"""

from collections.abc import Iterable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import ed25519
from .errors import BadSignature, Malformed
from .note import Signature, check_name, find_signature, key_id

COSIGNATURE: Final = 0x04
"""Signature type of an Ed25519 cosignature with a time."""

MAX_TIME: Final = 2**63 - 1

_TIME_BYTES: Final = 8


def cosign(checkpoint_text: bytes, name: str, key: Ed25519PrivateKey, time: int) -> bytes:
    """The signature line, newline included, by which `name` cosigns a checkpoint's text at `time` (POSIX seconds).

    Raises ValueError where name or time can't stand in one.
    """
    try:
        check_name("cosigner", name)
    except Malformed as error:
        raise ValueError(str(error)) from error
    if not 0 <= time <= MAX_TIME:
        raise ValueError(f"time {time} is not within 0 and 2**63 - 1")
    value = time.to_bytes(_TIME_BYTES) + key.sign(_message(checkpoint_text, time))
    return Signature(name, key_id(name, COSIGNATURE, key.public_key().public_bytes_raw()), value).line()


def verify(checkpoint_text: bytes, line: bytes, name: str, public_key: bytes) -> int:
    """Check one cosignature line over a checkpoint's text and return its time (POSIX seconds).

    Raises Malformed where it isn't a signature line, BadSignature where it isn't this key's or doesn't verify.
    """
    return verify_among(checkpoint_text, (Signature.parse(line),), name, public_key)


def verify_among(checkpoint_text: bytes, signatures: Iterable[Signature], name: str, public_key: bytes) -> int:
    """Check that exactly one of a note's signatures is this key's cosignature and return its time (POSIX seconds).

    Raises BadSignature.
    """
    value = find_signature(signatures, name, key_id(name, COSIGNATURE, public_key)).value
    if len(value) != _TIME_BYTES + ed25519.SIGNATURE_BYTES:
        raise BadSignature(name, f"a cosignature of {len(value)} bytes, not {_TIME_BYTES + ed25519.SIGNATURE_BYTES}")
    time = int.from_bytes(value[:_TIME_BYTES])
    if time > MAX_TIME:
        raise BadSignature(name, "a time beyond 2**63 - 1")
    ed25519.verify(name, public_key, value[_TIME_BYTES:], _message(checkpoint_text, time))
    return time


def _message(text: bytes, time: int) -> bytes:
    return b"cosignature/v1\ntime %d\n%b" % (time, text)

"""Batches to test with, behind some leaves of their log."""

import zlib

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol.batch import (
    BatchHeader,
    Content,
    join,
    seal,
)
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.merkle import CompactRange, leaf_hashes

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key().public_bytes_raw()
ORIGIN = "fabric.ns/shop/web/abcdefghijklmnopqrstuvwxyz"
NOTICE = b'!{"notice":"opened","v":1,"log":"a"}'


def leaves_of(count: int) -> list[bytes]:
    return [b'{"id":"%d"}' % i for i in range(count)]


def sealed(
    count: int = 3, before: int = 2, kind: Content = "records", leaves: list[bytes] | None = None
) -> tuple[BatchHeader, bytes, CompactRange, CompactRange]:
    """A batch behind `before` leaves: header, payload, frontier before and after."""
    frontier = CompactRange.empty().append(leaf_hashes(b"%d" % i for i in range(before)))
    leaves = leaves_of(count) if leaves is None else leaves
    payload = join(leaves)
    header, after = seal(ORIGIN, KEY, frontier, leaf_hashes(leaves), kind, payload)
    return header, payload, frontier, after


def inflate(data: bytes, length: int) -> bytes:
    """A codec in zstd's place: never more than `length` bytes, Malformed on nonsense."""
    try:
        return zlib.decompressobj().decompress(data, length + 1)[: length + 1]
    except zlib.error as error:
        raise Malformed("zlib", str(error)) from error


def with_payload(payload: bytes, count: int = 3, kind: Content = "records") -> BatchHeader:
    header, *_ = sealed(count, kind=kind)
    return msgspec.structs.replace(header, length=len(payload))

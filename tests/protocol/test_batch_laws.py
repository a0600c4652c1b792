"""Laws of batches: nothing altered verifies, any bytes are read or malformed, what is sealed comes back."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.batch import (
    MAGIC,
    BatchHeader,
    Content,
    decode_header,
    encode_header,
    hash_leaves,
    join,
    split,
    unpack,
    verify,
)
from meterfabric_protocol.errors import Malformed, ProtocolError
from meterfabric_protocol.merkle import CompactRange, leaf_hashes
from tests.protocol.batches import ORIGIN, PUBLIC, inflate, sealed, with_payload


def verified(data: bytes, payload: bytes, frontier: CompactRange) -> BatchHeader | None:
    """The header where bytes and payload verify behind `frontier`, None where anything refuses them."""
    try:
        header = decode_header(data)
        leaves = hash_leaves(unpack(payload, header, inflate), header)
        if header.first == frontier.size:
            verify(header, leaves, frontier, PUBLIC)
            return header
    except ProtocolError:
        pass
    return None


edits = st.tuples(st.integers(0, 2), st.binary(max_size=3))


@given(st.integers(1, 9), st.integers(0, 5), st.booleans(), st.booleans(), edits, st.data())
def test_an_altered_batch_never_verifies(
    count: int, before: int, stub: bool, in_payload: bool, edit: tuple[int, bytes], data: st.DataObject
) -> None:
    header, payload, frontier, _ = sealed(count, before)
    if stub:
        header, payload = header.stub(), b""
    parts = [bytearray(encode_header(header)), bytearray(payload)]
    target = parts[in_payload]
    original = bytes(target)
    at = data.draw(st.integers(0, len(target)))
    target[at : at + edit[0]] = edit[1]
    assert verified(bytes(parts[0]), bytes(parts[1]), frontier) is None or bytes(target) == original


@given(
    st.integers(1, 5),
    st.integers(0, 3),
    st.fixed_dictionaries(
        {},
        optional={
            "origin": st.sampled_from([ORIGIN, "other/log"]),
            "first": st.integers(0, 8),
            "size": st.integers(1, 9),
            "kind": st.sampled_from(["records", "notices", "stub"]),
            "of": st.sampled_from(["records", "notices"]),
            "codec": st.sampled_from(["none", "zstd"]),
            "length": st.integers(0, 100),
            "roots": st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(b"".join),
        },
    ),
)
def test_only_what_a_stub_stands_for_is_not_signed(count: int, before: int, fields: dict[str, Any]) -> None:
    header, payload, frontier, _ = sealed(count, before)
    changed = msgspec.structs.replace(header, **fields)
    found = verified(encode_header(changed), b"" if changed.kind == "stub" else payload, frontier)
    assert found in (None, header, header.stub(), msgspec.structs.replace(header.stub(), of="notices"))


@given(st.binary(max_size=300).map(lambda data: MAGIC + b"\x01" + data) | st.binary(max_size=20))
def test_any_bytes_are_a_header_or_malformed(data: bytes) -> None:
    assert verified(data, b"", CompactRange.empty()) is None


@given(st.binary(max_size=60), st.integers(1, 10), st.sampled_from(["records", "notices"]))
def test_any_payload_is_the_headers_leaves_or_malformed(payload: bytes, count: int, kind: Content) -> None:
    header = with_payload(payload, count, kind)
    try:
        leaves = split(payload, header)
    except Malformed:
        with pytest.raises(Malformed):
            hash_leaves(payload, header)
        return
    assert join(leaves) == payload
    assert len(leaves) == count
    assert hash_leaves(payload, header) == leaf_hashes(leaves)


@given(
    st.lists(
        st.text("{}[]!\\u0000 a", max_size=8).map(lambda text: b"{" + text.encode() + b"}"), min_size=1, max_size=20
    )
)
def test_any_leaves_come_back_from_a_sealed_batch(leaves: list[bytes]) -> None:
    header, payload, frontier, after = sealed(leaves=leaves)
    read = decode_header(encode_header(header))
    assert split(payload, read) == leaves
    assert verify(read, hash_leaves(payload, read), frontier, PUBLIC) == after

"""Batches: what is sealed comes back, what isn't what it says is refused, and nothing altered verifies."""

import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol.batch import (
    MAGIC,
    Content,
    decode_header,
    encode_header,
    hash_leaves,
    join,
    pack,
    parse_own_note,
    seal,
    split,
    unpack,
    verify,
)
from meterfabric_protocol.errors import BadSignature, Malformed
from meterfabric_protocol.limits import DEFAULT, Limits
from meterfabric_protocol.merkle import CompactRange, Tree, leaf_hashes
from meterfabric_protocol.record import from_binary, one, split_array, split_lines
from tests.protocol.batches import KEY, NOTICE, ORIGIN, PUBLIC, inflate, leaves_of, sealed, with_payload
from tests.vectors.batch.generate import vectors

FOLDER = Path(__file__).parent.parent / "vectors" / "batch"
BATCHES = json.loads((FOLDER / "batches.json").read_text(encoding="utf-8"))
RECORDS = json.loads((FOLDER / "records.json").read_text(encoding="utf-8"))


# Vectors


def test_the_vectors_are_what_the_code_makes() -> None:
    made = vectors()
    assert made["batches.json"] == BATCHES
    assert made["records.json"] == RECORDS


@pytest.mark.parametrize("vector", BATCHES["batches"], ids=lambda vector: f"{vector['kind']} from {vector['first']}")
def test_a_vectors_batch_is_read_and_verified(vector: dict[str, Any]) -> None:
    before = CompactRange.decode(0, vector["first"], bytes.fromhex(vector["frontier_before"]))
    after = CompactRange.decode(0, vector["size"], bytes.fromhex(vector["frontier_after"]))
    header = decode_header(bytes.fromhex(vector["header"]))
    assert header.note.decode() == vector["note"]
    leaves = hash_leaves(vector["payload"].encode(), header)
    public = bytes.fromhex(BATCHES["public_key"])
    assert verify(header, leaves, before, public) == after
    assert after.root().hex() == vector["root"]
    stub = decode_header(bytes.fromhex(vector["stub_header"]))
    assert stub == header.stub()
    assert verify(stub, hash_leaves(b"", stub), before, public) == after


@pytest.mark.parametrize("vector", BATCHES["refused_headers"], ids=lambda vector: vector["why"])
def test_a_vectors_malformed_header_is_refused(vector: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        decode_header(bytes.fromhex(vector["header"]))


@pytest.mark.parametrize("vector", RECORDS, ids=lambda vector: vector["why"])
def test_a_vectors_records_are_kept_as_it_says(vector: dict[str, Any]) -> None:
    body = vector["body"].encode()
    if vector["form"] == "binary":
        records = [from_binary(vector["headers"], body)]
    else:
        found = {"lines": split_lines, "array": split_array, "one": one}[vector["form"]](body)
        assert found.keys == vector["keys"]
        records = found.records
    assert [record.decode() for record in records] == vector["records"]


# Header


def test_a_header_comes_back_from_its_bytes() -> None:
    header, *_ = sealed()
    for form in (header, header.stub()):
        assert decode_header(encode_header(form)) == form


def test_another_version_is_named() -> None:
    with pytest.raises(Malformed, match="version 2, this reader reads version 1"):
        decode_header(MAGIC + b"\x02" + b"whatever comes")


@pytest.mark.parametrize("data", [b"", b"MF", MAGIC, MAGIC + b"\x01", b"XYZ\x01\x90", MAGIC + b"\x01" + b"\x91" * 4000])
def test_bytes_that_are_no_header_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_header(data)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(batch_records=2), "3 leaves, at least 1 and at most 2"),
        (Limits(batch_bytes=32), "33 bytes for 3 leaves"),
        (Limits(note_bytes=100), "at most 100"),
    ],
)
def test_a_header_beyond_a_limit_is_refused_with_both_numbers(limits: Limits, says: str) -> None:
    header, *_ = sealed()
    with pytest.raises(Malformed, match=says):
        decode_header(encode_header(header), limits)


def test_a_header_too_long_is_refused_unread() -> None:
    with pytest.raises(Malformed, match="100000 bytes, at most"):
        decode_header(bytes(100_000))


def test_the_largest_header_is_taken() -> None:
    origin = "o" * 255
    first = 2**62 - 1
    hashes = [bytes(32)] * 62
    frontier = CompactRange(0, first, tuple(hashes))
    leaves = leaves_of(DEFAULT.batch_records)
    header, _ = seal(origin, KEY, frontier, leaf_hashes(leaves), "records", join(leaves))
    assert decode_header(encode_header(header)) == header


def test_a_checkpoint_bears_its_logs_signature_and_no_other() -> None:
    header, *_ = sealed()
    parse_own_note(header.note, ORIGIN)
    own = header.note.split(b"\n\n")[1]
    other = own.replace(ORIGIN.encode(), b"other/name")
    for note in (header.note + other, header.note + own, header.note.replace(own, other)):
        with pytest.raises(Malformed, match="signatures, not one by its log"):
            parse_own_note(note, ORIGIN)
    with pytest.raises(Malformed, match="of the log"):
        parse_own_note(header.note, "other/name")


# Payload


@pytest.mark.parametrize("leaves", [leaves_of(1), leaves_of(1000), [b"{}"]])
def test_leaves_come_back_from_their_payload(leaves: list[bytes]) -> None:
    header, payload, *_ = sealed(leaves=leaves)
    assert split(payload, header) == leaves


def test_notices_come_back_from_their_payload() -> None:
    header, payload, *_ = sealed(kind="notices", leaves=[NOTICE, NOTICE])
    assert split(payload, header) == [NOTICE, NOTICE]


@pytest.mark.parametrize(
    ("payload", "kind", "says"),
    [
        (b"{}\n{}\n", "records", "3 leaves"),
        (b"{}\n{}\n{}\n{}\n", "records", "3 leaves"),
        (b"{}\n{}\n{}", "records", "3 leaves"),
        (b"{}\n{}\n{}\n{}", "records", "3 leaves"),
        (b"{}\n\n{}\n", "records", "leaf 3 is empty"),
        (b"\n{}\n{}\n", "records", "leaf 2 is empty"),
        (b"{}\n{}\n!{}\n", "records", "none of records"),
        (b"{}\n{}\n[]\n", "records", "none of records"),
        (b"{}\n{}\n{\n", "records", "none of records"),
        (b"!{}\n!{}\n{}\n", "notices", "none of notices"),
    ],
)
def test_a_payload_that_is_not_the_headers_leaves_is_refused(payload: bytes, kind: Content, says: str) -> None:
    for read in (split, hash_leaves):
        with pytest.raises(Malformed, match=says):
            read(payload, with_payload(payload, kind=kind))


def test_a_payload_of_another_length_is_refused() -> None:
    header, payload, *_ = sealed()
    for wrong in (payload[:-1], payload + b"\n", b""):
        with pytest.raises(Malformed, match=f"{len(wrong)} bytes, the header says {len(payload)}"):
            split(wrong, header)
        with pytest.raises(Malformed, match=f"{len(wrong)} bytes, the header says {len(payload)}"):
            hash_leaves(wrong, header)


def test_a_leaf_larger_than_a_record_is_refused() -> None:
    payload = b'{"%b"}\n{}\n' % (b"x" * 20)
    with pytest.raises(Malformed, match="a leaf of 24 bytes, at most 23"):
        split(payload, with_payload(payload, 2), Limits(record_bytes=23))
    with pytest.raises(Malformed, match="a leaf of 24 bytes, at most 23"):
        hash_leaves(payload, with_payload(payload, 2), Limits(record_bytes=23))
    assert len(split(payload, with_payload(payload, 2), Limits(record_bytes=24))) == 2


def test_a_stub_has_no_payload() -> None:
    header, *_ = sealed()
    assert split(b"", header.stub()) == []
    with pytest.raises(Malformed):
        split(b"{}\n", header.stub())


def test_a_payload_of_newlines_costs_no_more_than_the_leaves_promised() -> None:
    payload = b"\n" * DEFAULT.batch_bytes
    header = with_payload(payload, 3)
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            split(payload, header)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # split() copies the rest once, and makes no object per newline.
    assert peak < len(payload) + 100_000


# On the way


def test_a_payload_travels_compressed_where_that_is_shorter() -> None:
    header, payload, *_ = sealed(1000)
    travelling, wire = pack(payload, header, zlib.compress)
    assert travelling.codec == "zstd"
    assert len(wire) < len(payload)
    assert decode_header(encode_header(travelling)) == travelling
    assert unpack(wire, travelling, inflate) == payload


def test_a_payload_that_does_not_shrink_travels_as_it_is() -> None:
    header, payload, *_ = sealed(1, leaves=[b"{}"])
    assert pack(payload, header, zlib.compress) == (header, payload)
    assert unpack(payload, header, inflate) == payload


def test_a_compressed_payload_of_another_length_is_refused() -> None:
    header, payload, *_ = sealed(1000)
    travelling, _ = pack(payload, header, zlib.compress)
    for wrong in (payload[:-1], payload + b"\n", bytes(10_000_000)):
        with pytest.raises(Malformed, match="the header says"):
            unpack(zlib.compress(wrong), travelling, inflate)


def test_compressed_bytes_as_long_as_the_payload_are_refused_unread() -> None:
    header, payload, *_ = sealed(1000)
    travelling, _ = pack(payload, header, zlib.compress)
    with pytest.raises(Malformed, match="compressed bytes of"):
        unpack(bytes(len(payload)), travelling, lambda data, length: pytest.fail("was read"))


# Sealing and verifying


def test_sealed_batches_verify_one_after_another_and_as_stubs() -> None:
    everything: list[bytes] = []
    frontier = full = stubs = CompactRange.empty()
    for count in (1, 7, 1, 64, 3):
        leaves = leaves_of(count)
        header, frontier = seal(ORIGIN, KEY, frontier, leaf_hashes(leaves), "records", join(leaves))
        everything += leaves
        full = verify(header, hash_leaves(join(leaves), header), full, PUBLIC)
        stubs = verify(header.stub(), b"", stubs, PUBLIC)
        assert full == stubs == frontier
        assert full.root() == Tree(leaf_hashes(everything)).root(len(everything))


def test_a_batch_of_no_leaves_is_not_sealed() -> None:
    with pytest.raises(ValueError, match="no leaves"):
        seal(ORIGIN, KEY, CompactRange.empty(), b"", "records", b"")


def test_a_batch_is_verified_only_at_its_own_place() -> None:
    header, payload, _, after = sealed()
    with pytest.raises(ValueError, match="can't be verified at"):
        verify(header, hash_leaves(payload, header), after, PUBLIC)


def test_another_logs_history_does_not_lead_to_the_checkpoint() -> None:
    header, payload, _, _ = sealed(before=2)
    other = CompactRange.empty().append(leaf_hashes([b"x", b"y"]))
    with pytest.raises(Malformed, match="don't lead to its checkpoint's root"):
        verify(header, hash_leaves(payload, header), other, PUBLIC)


def test_another_key_is_a_bad_signature() -> None:
    header, payload, frontier, _ = sealed()
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32).public_key().public_bytes_raw()
    with pytest.raises(BadSignature):
        verify(header, hash_leaves(payload, header), frontier, other)


def test_other_leaves_do_not_add_up() -> None:
    header, payload, frontier, _ = sealed()
    leaves = split(payload, header)
    for wrong in (leaves[::-1], leaves[:-1], [*leaves, b"{}"], [b"{ }", *leaves[1:]]):
        with pytest.raises(Malformed, match="don't add up"):
            verify(header, leaf_hashes(wrong), frontier, PUBLIC)

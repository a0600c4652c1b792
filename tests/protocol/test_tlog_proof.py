"""A proof shows one record in the batch of one cosigned checkpoint; anything changed in it shows."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.checkpoint import sign
from meterfabric_protocol.errors import BadSignature, Malformed, ProofError, ProtocolError
from meterfabric_protocol.merkle import Tree, leaf_hash, leaf_hashes
from meterfabric_protocol.tlog_proof import MAX_HASHES, MAX_PROOF_BYTES, Proven, TlogProof, decode, encode, verify
from tests.vectors import make

FILE = (make.FOLDER / "record.tlog-proof").read_bytes()
LEAF = leaf_hash((make.FOLDER / "record.json").read_bytes())
KEY = make.public_key("log")
SINKS = {make.SINK_NAME: make.public_key("sink")}

hashes = st.binary(min_size=32, max_size=32)


def check(proof: TlogProof, leaf: bytes = LEAF) -> Proven:
    return verify(proof, leaf, make.ORIGIN, KEY, SINKS)


def test_the_vectors_proof_verifies() -> None:
    assert check(decode(FILE)) == Proven(make.checkpoint(), {make.SINK_NAME: make.TIME})


def test_extra_data_is_kept_and_proves_nothing() -> None:
    proof = decode((make.FOLDER / "record-extra.tlog-proof").read_bytes())
    assert proof.extra == b"anything"
    assert check(proof) == check(replace(proof, extra=None))


def test_a_proof_can_be_asked_for_the_log_alone() -> None:
    assert verify(decode(FILE), LEAF, make.ORIGIN, KEY) == Proven(make.checkpoint(), {})


@given(
    st.integers(0, 2**63 - 1),
    st.lists(hashes, max_size=MAX_HASHES).map(tuple),
    st.none() | st.binary(max_size=100),
    st.binary(max_size=100),
)
def test_a_proof_survives_its_encoding(index: int, path: tuple[bytes, ...], extra: bytes | None, note: bytes) -> None:
    proof = TlogProof(index, path, note, extra)
    assert decode(encode(proof)) == proof


@given(st.integers(0, 8 * len(FILE) - 1))
def test_no_flipped_bit_goes_unseen(bit: int) -> None:
    flipped = bytearray(FILE)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises((Malformed, BadSignature)):
        check(decode(bytes(flipped)))


@given(st.binary() | st.lists(st.sampled_from(FILE.decode().splitlines(keepends=True))).map("".join))
def test_no_bytes_raise_anything_but_protocol_errors(data: bytes | str) -> None:
    data = data.encode() if isinstance(data, str) else data
    try:
        check(decode(data))
    except ProtocolError:
        return
    assert data == FILE


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"proof@v1", b"proof@v2", "the first line is not"),
        (b"index 8", b"index 08", "index: not a decimal"),
        (b"index 8", b"Index 8", "no index line"),
        (b"index 8\n", b"", "no index line"),
        (b"index 8", b"extra !\nindex 8", "extra: not base64"),
        (b"index 8", b"extra AA==\nextra AA==\nindex 8", "no index line"),
        (b"index 8", b"index 8\nAA==", "hash: 1 bytes, not 32"),
        (b"index 8", b"index 8\nAA", "hash: not base64"),
        (b"index 8", b"index 8\r", "a control character"),
        (b"\n\n", b"\n", "not base64"),
    ],
)
def test_a_proof_in_another_form_is_named(old: bytes, new: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode(FILE.replace(old, new, 1))


def test_a_proof_has_at_most_so_many_bytes_and_hashes() -> None:
    with pytest.raises(Malformed, match=f"at most {MAX_PROOF_BYTES}"):
        decode(FILE + b"\n" * MAX_PROOF_BYTES)
    with pytest.raises(Malformed, match="64 hashes, at most 63"):
        decode(encode(TlogProof(0, (bytes(32),) * 64, b"")))


def test_a_proof_without_a_checkpoint_is_malformed() -> None:
    with pytest.raises(Malformed, match="no blank line"):
        decode(b"c2sp.org/tlog-proof@v1\nindex 8\n")


def test_another_record_is_not_proven() -> None:
    with pytest.raises(ProofError, match="leads to another root"):
        check(decode(FILE), leaf_hash(make.leaf(make.INDEX + 1)))


def test_another_index_is_not_proven() -> None:
    for index in range(make.FIRST, make.SIZE):
        if index != make.INDEX:
            with pytest.raises(ProofError):
                check(replace(decode(FILE), index=index))


@pytest.mark.parametrize("index", [0, make.FIRST - 1, make.SIZE])
def test_a_record_outside_the_checkpoints_batch_is_not_proven(index: int) -> None:
    tree = Tree(leaf_hashes(make.leaves(make.SIZE)))
    path = tuple(tree.inclusion_proof(min(index, make.SIZE - 1), make.SIZE))
    with pytest.raises(ProofError, match="outside the batch"):
        check(TlogProof(index, path, make.cosigned()), leaf_hash(make.leaf(index)))


def test_a_missing_receipt_is_refused() -> None:
    bare = replace(decode(FILE), note=sign(make.checkpoint(), make.LOG))
    assert verify(bare, LEAF, make.ORIGIN, KEY).checkpoint == make.checkpoint()
    with pytest.raises(BadSignature, match="0 signatures"):
        check(bare)


def test_a_proof_from_another_log_or_key_is_refused() -> None:
    with pytest.raises(Malformed, match="of the log"):
        verify(decode(FILE), LEAF, "another", KEY)
    with pytest.raises(BadSignature, match="0 signatures"):
        verify(decode(FILE), LEAF, make.ORIGIN, make.public_key("sink"))

"""Proofs verify for what they prove and for nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.errors import Malformed, ProofError
from meterfabric_protocol.merkle import EMPTY_ROOT, MAX_SIZE, Tree, leaf_hash
from meterfabric_protocol.merkle_proof import verify_consistency, verify_inclusion
from tests.vectors import make

PUBLISHED: Any = json.loads((make.FOLDER / "rfc6962.json").read_bytes())
LEAVES = [leaf_hash(b"%d" % index) for index in range(130)]
TREE = Tree(b"".join(LEAVES))

spans = st.lists(st.integers(0, len(LEAVES)), min_size=2, max_size=2, unique=True).map(sorted)
hashes = st.binary(min_size=32, max_size=32)


def flip(value: bytes, bit: int) -> bytes:
    at = bit % (8 * len(value))
    return bytes(byte ^ (1 << at % 8 if index == at // 8 else 0) for index, byte in enumerate(value))


def includes(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    try:
        verify_inclusion(leaf, index, size, proof, root)
    except ProofError:
        return False
    return True


def consists(m: int, n: int, proof: list[bytes], root_m: bytes, root_n: bytes) -> bool:
    try:
        verify_consistency(m, n, proof, root_m, root_n)
    except ProofError:
        return False
    return True


def test_published_proofs_verify() -> None:
    leaves, roots = ([bytes.fromhex(value) for value in PUBLISHED[key]] for key in ("leaf_hashes", "roots"))
    for case in PUBLISHED["inclusion"]:
        proof = [bytes.fromhex(value) for value in case["proof"]]
        verify_inclusion(leaves[case["index"]], case["index"], case["size"], proof, roots[case["size"]])
    for case in PUBLISHED["consistency"]:
        proof = [bytes.fromhex(value) for value in case["proof"]]
        verify_consistency(case["m"], case["n"], proof, roots[case["m"]], roots[case["n"]])


def test_every_proof_of_every_small_tree_verifies() -> None:
    for size in range(40):
        for index in range(size):
            verify_inclusion(LEAVES[index], index, size, TREE.inclusion_proof(index, size), TREE.root(size))
        for m in range(size + 1):
            verify_consistency(m, size, TREE.consistency_proof(m, size), TREE.root(m), TREE.root(size))


def test_in_a_tree_of_one_size_a_proof_is_for_one_index_only() -> None:
    for size in range(1, 20):
        for index in range(size):
            proof, root = TREE.inclusion_proof(index, size), TREE.root(size)
            assert [other for other in range(size) if includes(LEAVES[index], other, size, proof, root)] == [index]


@given(spans, st.integers(0), st.data())
def test_an_inclusion_proof_with_a_bit_flipped_fails(span: list[int], bit: int, data: st.DataObject) -> None:
    index, size = span
    proof, root = TREE.inclusion_proof(index, size), TREE.root(size)
    assert not includes(flip(LEAVES[index], bit), index, size, proof, root)
    assert not includes(LEAVES[index], index, size, proof, flip(root, bit))
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not includes(LEAVES[index], index, size, [*proof[:at], flip(proof[at], bit), *proof[at + 1 :]], root)


@given(spans.filter(lambda span: span[0] > 0), st.integers(0), st.data())
def test_a_consistency_proof_with_a_bit_flipped_fails(span: list[int], bit: int, data: st.DataObject) -> None:
    m, n = span
    proof = TREE.consistency_proof(m, n)
    assert not consists(m, n, proof, flip(TREE.root(m), bit), TREE.root(n))
    assert not consists(m, n, proof, TREE.root(m), flip(TREE.root(n), bit))
    at = data.draw(st.integers(0, len(proof) - 1))
    assert not consists(m, n, [*proof[:at], flip(proof[at], bit), *proof[at + 1 :]], TREE.root(m), TREE.root(n))


@given(spans, hashes)
def test_a_proof_too_short_or_too_long_fails(span: list[int], more: bytes) -> None:
    low, size = span
    path, root = TREE.inclusion_proof(low, size), TREE.root(size)
    steps = TREE.consistency_proof(low, size)
    assert not includes(LEAVES[low], low, size, [*path, more], root)
    assert not consists(low, size, [*steps, more], TREE.root(low), root)
    if path:
        assert not includes(LEAVES[low], low, size, path[:-1], root)
    if steps:
        assert not consists(low, size, steps[:-1], TREE.root(low), root)
        assert not consists(low, size, [], TREE.root(low), root)


@given(
    st.binary(max_size=40),
    st.integers(-2, MAX_SIZE + 2),
    st.integers(-2, MAX_SIZE + 2),
    st.lists(st.binary(min_size=31, max_size=33) | hashes, max_size=70),
    hashes,
)
def test_no_bytes_raise_anything_but_proof_errors(
    leaf: bytes, low: int, size: int, proof: list[bytes], root: bytes
) -> None:
    assert not includes(leaf, low, size, proof, root)
    assert not consists(low, size, proof, flip(root, 0), root)


def test_the_empty_tree_begins_every_tree() -> None:
    verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    verify_consistency(0, 9, [], EMPTY_ROOT, TREE.root(9))
    assert not consists(0, 9, [], TREE.root(9), TREE.root(9))
    assert not consists(0, 0, [], TREE.root(9), TREE.root(9))


def test_a_tree_begins_itself_without_a_hash() -> None:
    verify_consistency(9, 9, [], TREE.root(9), TREE.root(9))
    assert not consists(9, 9, [], TREE.root(8), TREE.root(9))
    assert not consists(9, 9, [TREE.root(9)], TREE.root(9), TREE.root(9))


def test_a_smaller_tree_is_not_begun_by_a_larger() -> None:
    assert not consists(9, 8, TREE.consistency_proof(8, 9), TREE.root(9), TREE.root(8))


def test_a_hash_of_another_length_is_refused() -> None:
    with pytest.raises(ProofError, match="a hash of 31 bytes, not 32"):
        verify_inclusion(LEAVES[0], 0, 2, [LEAVES[1][:-1]], TREE.root(2))


def test_a_proof_error_is_a_malformed() -> None:
    with pytest.raises(Malformed, match="inclusion proof: no leaf 2 in a tree of 2"):
        verify_inclusion(LEAVES[0], 2, 2, [], TREE.root(2))

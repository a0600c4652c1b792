"""Ours against aics-tlog, another implementation of the same standards in Python: each reads what the other wrote."""

import json
from typing import Any

import aics_tlog as other
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol import checkpoint, cosignature, note, tlog_proof
from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.merkle import MAX_SIZE, Tree, leaf_hash, leaf_hashes
from meterfabric_protocol.merkle_proof import verify_consistency, verify_inclusion
from tests.vectors import make

LEAVES = make.leaves(200)
OURS = Tree(leaf_hashes(LEAVES))
THEIRS = other.MerkleTree(LEAVES)
LOG_KEY = other.vkey_from_ed25519(make.ORIGIN, make.public_key("log"))
SINK_KEY = other.cosignature_vkey(make.SINK_NAME, make.public_key("sink"))
# What theirs takes though it isn't the standard's form; golang.org/x/mod refuses it as we do.
LENIENT = {"no last newline", "a key id and no signature"}
NOTES: Any = json.loads((make.FOLDER / "notes.json").read_bytes())

spans = st.lists(st.integers(0, len(LEAVES)), min_size=2, max_size=2).map(sorted)
hashes = st.binary(min_size=32, max_size=32)


@given(spans)
def test_both_make_the_same_roots_and_proofs(span: list[int]) -> None:
    low, size = span
    assert OURS.root(size) == THEIRS.root(size)
    assert OURS.consistency_proof(low, size) == THEIRS.consistency_proof(low, size)
    if low < size:
        assert OURS.inclusion_proof(low, size) == THEIRS.inclusion_proof(low, size)


@given(spans)
def test_each_verifies_the_others_proofs(span: list[int]) -> None:
    low, size = span
    steps = OURS.consistency_proof(low, size)
    assert other.verify_consistency(low, size, OURS.root(low), OURS.root(size), steps)
    verify_consistency(low, size, THEIRS.consistency_proof(low, size), THEIRS.root(low), THEIRS.root(size))
    if low < size:
        path = OURS.inclusion_proof(low, size)
        assert other.verify_leaf_inclusion(LEAVES[low], low, size, path, OURS.root(size))
        verify_inclusion(leaf_hash(LEAVES[low]), low, size, THEIRS.inclusion_proof(low, size), THEIRS.root(size))


def both_include(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    theirs = other.verify_inclusion(leaf, index, size, proof, root)
    try:
        verify_inclusion(leaf, index, size, proof, root)
    except ProtocolError:
        assert not theirs
    else:
        assert theirs
    return theirs


@given(
    spans.filter(lambda span: span[0] < span[1]), st.integers(0, 220), st.integers(0, 220), st.lists(hashes, max_size=3)
)
def test_both_give_the_same_verdict_on_altered_inclusion_proofs(
    span: list[int], index: int, size: int, more: list[bytes]
) -> None:
    at, high = span
    path, root, leaf = OURS.inclusion_proof(at, high), OURS.root(high), leaf_hash(LEAVES[at])
    assert both_include(leaf, at, high, path, root)
    both_include(leaf, index, size, path, root)
    both_include(leaf, index, high, path, root)
    both_include(leaf, at, size, path, root)
    both_include(leaf, at, high, more + path[len(more) :], root)
    both_include(leaf, at, high, path + more, root)
    both_include(leaf, at, high, path[: len(path) - len(more)], root)


@given(spans, st.integers(0, 220), st.integers(0, 220), st.lists(hashes, max_size=3))
def test_both_give_the_same_verdict_on_altered_consistency_proofs(
    span: list[int], m: int, n: int, more: list[bytes]
) -> None:
    low, high = span
    steps, old, new = OURS.consistency_proof(low, high), OURS.root(low), OURS.root(high)
    for at, to, proof in ((m, n, steps), (m, high, steps), (low, n, steps), (low, high, steps + more), (m, n, more)):
        theirs = other.verify_consistency(at, to, old, new, proof)
        try:
            verify_consistency(at, to, proof, old, new)
        except ProtocolError:
            assert not theirs
        else:
            assert theirs


@pytest.mark.parametrize("case", NOTES, ids=lambda case: case["name"])
def test_both_take_and_refuse_the_same_notes(case: Any) -> None:
    try:
        taken = other.verify_note(other.parse_note(case["note"].encode()), [LOG_KEY])
    except ValueError:
        taken = False
    assert taken == (case["sound"] or case["name"] in LENIENT)


def test_theirs_verifies_our_checkpoint_and_receipt() -> None:
    read = other.parse_note(make.cosigned())
    verdict = other.verify_checkpoint(read, LOG_KEY, [SINK_KEY], quorum=1, expected_origin=make.ORIGIN)
    assert verdict.ok, verdict.error
    stated = other.parse_checkpoint(read.text)
    assert (stated.origin, stated.size, stated.root) == (make.ORIGIN, make.SIZE, make.checkpoint().root)
    assert stated.extension_lines == (f"first {make.FIRST}",)


@given(st.lists(st.integers(0, MAX_SIZE), min_size=2, max_size=2).map(sorted), hashes, st.integers(0, 2**63 - 1))
def test_both_sign_the_same_checkpoints_and_receipts(bound: list[int], root: bytes, time: int) -> None:
    first, size = bound
    ours = checkpoint.Checkpoint(make.ORIGIN, size, root, first)
    theirs = other.Checkpoint(make.ORIGIN, size, root, (f"first {first}",))
    signed = other.sign_checkpoint(theirs, make.LOG, make.ORIGIN)
    assert checkpoint.sign(ours, make.LOG) == signed.to_bytes()
    _, line = other.sign_cosignature(make.SINK, make.SINK_NAME, time, make.ORIGIN, size, root, theirs.extension_lines)
    whole = other.Note(signed.text, (*signed.signatures, line)).to_bytes()
    receipt = cosignature.cosign(ours.text(), make.SINK_NAME, make.SINK, time)
    assert note.add_signatures(checkpoint.sign(ours, make.LOG), [receipt]) == whole


def test_both_write_the_same_verifier_keys() -> None:
    for key, algorithm in ((LOG_KEY, note.ED25519), (SINK_KEY, cosignature.COSIGNATURE)):
        assert note.encode_verifier_key(key.name, algorithm, key.public_key) == other.format_vkey(key)
        assert note.key_id(key.name, algorithm, key.public_key) == key.key_id


def test_theirs_verifies_every_part_of_our_proof_file() -> None:
    proof = tlog_proof.decode((make.FOLDER / "record.tlog-proof").read_bytes())
    read = other.parse_note(proof.note)
    assert other.verify_checkpoint(read, LOG_KEY, [SINK_KEY], quorum=1).ok
    stated = other.parse_checkpoint(read.text)
    record = (make.FOLDER / "record.json").read_bytes()
    assert other.verify_leaf_inclusion(record, proof.index, stated.size, proof.hashes, stated.root)

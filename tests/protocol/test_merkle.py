"""Merkle trees and compact ranges: published values, RFC 6962's own definitions, and the laws that ranges keep."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    CompactRange,
    Tree,
    hash_at,
    leaf_hash,
    leaf_hashes,
    line_hashes,
    node_hash,
)
from tests.vectors import make

PUBLISHED: Any = json.loads((make.FOLDER / "rfc6962.json").read_bytes())
LEAVES = [leaf_hash(b"%d" % index) for index in range(300)]
TREE = Tree(b"".join(LEAVES))

sizes = st.integers(0, len(LEAVES))


def cuts(count: int) -> st.SearchStrategy[list[int]]:
    """Sorted positions within the leaves."""
    return st.lists(sizes, min_size=count, max_size=count).map(sorted)


def define_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1's MTH, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    k = max(2**power for power in range(len(leaves).bit_length()) if 2**power < len(leaves))
    return node_hash(define_root(leaves[:k]), define_root(leaves[k:]))


def define_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1's PATH, word for word."""
    if len(leaves) == 1:
        return []
    k = max(2**power for power in range(len(leaves).bit_length()) if 2**power < len(leaves))
    if index < k:
        return [*define_path(index, leaves[:k]), define_root(leaves[k:])]
    return [*define_path(index - k, leaves[k:]), define_root(leaves[:k])]


def define_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """RFC 6962 section 2.1.2's SUBPROOF, word for word."""
    if m == len(leaves):
        return [] if whole else [define_root(leaves)]
    k = max(2**power for power in range(len(leaves).bit_length()) if 2**power < len(leaves))
    if m <= k:
        return [*define_subproof(m, leaves[:k], whole), define_root(leaves[k:])]
    return [*define_subproof(m - k, leaves[k:], False), define_root(leaves[:k])]


def published(values: list[str]) -> list[bytes]:
    return [bytes.fromhex(value) for value in values]


def test_leaves_hash_as_published() -> None:
    leaves = published(PUBLISHED["leaves"])
    hashes = published(PUBLISHED["leaf_hashes"])
    assert [leaf_hash(leaf) for leaf in leaves] == hashes
    assert leaf_hashes(leaves) == b"".join(hashes)
    assert [hash_at(leaf_hashes(leaves), index) for index in range(len(leaves))] == hashes


@given(st.lists(st.binary(max_size=200).map(lambda middle: b"{" + middle.replace(b"\n", b" ") + b"}")))
def test_the_lines_of_a_payload_hash_as_the_leaves_do(leaves: list[bytes]) -> None:
    payload = b"".join(leaf + b"\n" for leaf in leaves)
    for buffer in (payload, memoryview(payload)):
        assert line_hashes(buffer, len(leaves), ord("{"), ord("}"), 202) == leaf_hashes(leaves)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\n",
        b"{1}\n",
        b"{1}\n{2}",
        b"{1}\n{2}\n{3}\n",
        b"{1}\n\n{2}\n",
        b"{1}\n{2}\n\n",
        b"{1}\n2}\n",
        b"{1}\n{2\n",
        b"{1}\n{2} \n",
        b"{1}\n{2345}\n",
        b"!1}\n{2}\n",
    ],
)
def test_what_is_not_as_many_lines_of_that_form_has_no_hashes(payload: bytes) -> None:
    assert line_hashes(b"{1}\n{234}\n", 2, ord("{"), ord("}"), 5) is not None
    assert line_hashes(payload, 2, ord("{"), ord("}"), 5) is None


@pytest.mark.parametrize("count", [-(2**63), -1, 3, 2**62, 2**63 - 1])
def test_a_count_that_a_payload_cannot_hold_takes_no_memory(count: int) -> None:
    assert line_hashes(b"{1}\n", count, ord("{"), ord("}"), 5) is None


@given(st.binary(max_size=100), st.integers(-2, 60), st.integers(0, 100))
def test_no_payload_is_read_past_its_end(payload: bytes, count: int, most: int) -> None:
    lines = payload.split(b"\n")
    sound = lines.pop() == b"" and len(lines) == count and all(0 < len(line) <= most for line in lines)
    ends = {(line[0], line[-1]) for line in lines if line}
    for first, last in ends | {(ord("{"), ord("}"))}:
        expected = leaf_hashes(lines) if sound and ends <= {(first, last)} else None
        assert line_hashes(payload, count, first, last, most) == expected


def test_hashes_cut_short_are_no_hashes() -> None:
    with pytest.raises(ValueError, match="63 bytes are no hashes of 32 bytes each"):
        CompactRange.empty().append(b"x" * 63)


def test_roots_are_as_published() -> None:
    leaves = published(PUBLISHED["leaf_hashes"])
    for size, root in enumerate(published(PUBLISHED["roots"])):
        assert Tree(b"".join(leaves)).root(size) == root
        assert CompactRange.empty().append(b"".join(leaves[:size])).root() == root


def test_proofs_are_as_published() -> None:
    tree = Tree(b"".join(published(PUBLISHED["leaf_hashes"])))
    for case in PUBLISHED["inclusion"]:
        assert tree.inclusion_proof(case["index"], case["size"]) == published(case["proof"])
    for case in PUBLISHED["consistency"]:
        assert tree.consistency_proof(case["m"], case["n"]) == published(case["proof"])


@given(sizes)
def test_a_root_is_what_the_rfc_defines(size: int) -> None:
    assert TREE.root(size) == define_root(LEAVES[:size])


@given(cuts(2).filter(lambda cut: cut[0] < cut[1]))
def test_an_inclusion_proof_is_what_the_rfc_defines(cut: list[int]) -> None:
    index, size = cut
    assert TREE.inclusion_proof(index, size) == define_path(index, LEAVES[:size])


@given(cuts(2).filter(lambda cut: cut[0] > 0))
def test_a_consistency_proof_is_what_the_rfc_defines(cut: list[int]) -> None:
    m, n = cut
    assert TREE.consistency_proof(m, n) == define_subproof(m, LEAVES[:n], True)


@given(st.integers(1, 8).flatmap(cuts))
def test_appending_in_any_chunks_gives_the_same_range(cut: list[int]) -> None:
    grown = CompactRange.empty(cut[0])
    for first, size in pairwise(cut):
        grown = grown.append(b"".join(LEAVES[first:size]))
    assert grown == TREE.range(cut[0], cut[-1])


@given(st.integers(2, 8).flatmap(cuts))
def test_a_range_extended_by_the_next_is_the_range_of_both(cut: list[int]) -> None:
    glued = CompactRange.empty(cut[0])
    for first, size in pairwise(cut):
        glued = glued.extend(CompactRange.empty(first).append(b"".join(LEAVES[first:size])))
    assert glued == TREE.range(cut[0], cut[-1])


@given(cuts(4), st.booleans())
def test_gluing_ranges_is_associative(cut: list[int], start_at_zero: bool) -> None:
    low, middle, high = (TREE.range(first, size) for first, size in pairwise([0, *cut[1:]] if start_at_zero else cut))
    assert low.extend(middle).extend(high) == low.extend(middle.extend(high))


def test_a_log_goes_on_from_stubs_alone() -> None:
    stubs = [TREE.range(first, size).encode() for first, size in ((0, 70), (70, 71), (71, 200))]
    frontier = CompactRange.empty()
    for (first, size), stub in zip(((0, 70), (70, 71), (71, 200)), stubs, strict=True):
        frontier = frontier.extend(CompactRange.decode(first, size, stub))
    assert frontier.append(b"".join(LEAVES[200:])).root() == TREE.root(300)


@given(st.integers(0, MAX_SIZE - 300), sizes, sizes)
def test_ranges_of_huge_logs_keep_the_laws(size: int, one: int, two: int) -> None:
    frontier = CompactRange(0, size, tuple(LEAVES[: size.bit_count()]))
    one, two = sorted((one, two))
    batch = CompactRange.empty(size).append(b"".join(LEAVES[:one]))
    assert frontier.append(b"".join(LEAVES[:two])) == frontier.extend(batch).append(b"".join(LEAVES[one:two]))


@given(cuts(3).filter(lambda cut: cut[1] < cut[2]))
def test_a_proof_from_a_frontier_and_a_batch_is_that_of_the_whole_tree(cut: list[int]) -> None:
    first, index, size = cut
    made = Tree(b"".join(LEAVES[first:size]), TREE.range(0, first)).inclusion_proof(index, size)
    assert made == TREE.inclusion_proof(index, size)


@given(cuts(2))
def test_a_range_survives_its_encoding(cut: list[int]) -> None:
    first, size = cut
    made = TREE.range(first, size)
    assert CompactRange.decode(first, size, made.encode()) == made
    assert len(made.hashes) <= 2 * max(1, (size - first).bit_length())


@given(st.integers(-2, 2**64), st.integers(-2, 2**64), st.binary(max_size=200))
def test_decoding_a_range_raises_nothing_but_malformed(first: int, size: int, data: bytes) -> None:
    try:
        decoded = CompactRange.decode(first, size, data)
    except Malformed:
        return
    assert decoded.encode() == data


@pytest.mark.parametrize(("first", "size", "count"), [(0, 7, 2), (0, 7, 4), (3, 3, 1), (5, 3, 0), (-1, 3, 2)])
def test_a_range_has_just_the_hashes_its_bounds_ask_for(first: int, size: int, count: int) -> None:
    with pytest.raises(ValueError, match="range"):
        CompactRange(first, size, tuple(LEAVES[:count]))
    with pytest.raises(Malformed):
        CompactRange.decode(first, size, b"".join(LEAVES[:count]))


def test_a_hash_cut_short_is_malformed() -> None:
    with pytest.raises(Malformed, match="takes 96 bytes of hashes, not 95"):
        CompactRange.decode(0, 7, TREE.range(0, 7).encode()[:-1])


def test_a_range_that_begins_elsewhere_is_not_glued_on() -> None:
    with pytest.raises(ValueError, match="range from 8 does not go on one that ends at 7"):
        TREE.range(0, 7).extend(TREE.range(8, 9))


def test_only_a_range_from_the_first_leaf_has_a_root() -> None:
    assert CompactRange.empty().root() == EMPTY_ROOT
    with pytest.raises(ValueError, match="no root"):
        TREE.range(1, 7).root()


def test_a_tree_on_a_frontier_answers_for_what_it_holds() -> None:
    tree = Tree(b"".join(LEAVES[100:150]), TREE.range(0, 100))
    assert tree.root(150) == TREE.root(150)
    assert tree.range(100, 150) == TREE.range(100, 150)
    assert tree.consistency_proof(100, 150) == TREE.consistency_proof(100, 150)
    with pytest.raises(ValueError, match="leaf 99"):
        tree.inclusion_proof(99, 150)
    with pytest.raises(ValueError, match="before what is held"):
        tree.range(3, 150)
    with pytest.raises(ValueError, match="begins at 1"):
        Tree(b"".join(LEAVES[100:150]), TREE.range(1, 100))


@pytest.mark.parametrize("size", [-1, 301])
def test_a_tree_has_no_answer_beyond_its_leaves(size: int) -> None:
    with pytest.raises(ValueError, match="no root"):
        TREE.root(size)
    with pytest.raises(ValueError, match="no range"):
        TREE.range(0, size)
    with pytest.raises(ValueError, match="no proof"):
        TREE.inclusion_proof(0, size)
    with pytest.raises(ValueError, match="no consistency"):
        TREE.consistency_proof(0, size)

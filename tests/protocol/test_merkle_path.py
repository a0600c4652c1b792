"""A path through the roots of later batches is the path that the whole tree gives."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.merkle import CompactRange, Tree, leaf_hash, leaf_hashes
from meterfabric_protocol.merkle_path import inclusion_beyond
from meterfabric_protocol.merkle_proof import verify_inclusion


def leaves(count: int) -> list[bytes]:
    return [hashlib.sha256(b"%d" % number).digest() for number in range(count)]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_the_path_is_that_of_the_whole_tree(sizes: list[int], data: st.DataObject) -> None:
    bounds = [sum(sizes[:number]) for number in range(len(sizes) + 1)]
    batches = list(pairwise(bounds))
    first, size = data.draw(st.sampled_from(batches))
    index = data.draw(st.integers(first, size - 1))
    content = leaves(bounds[-1])
    whole = Tree(leaf_hashes(content))
    tree = Tree(leaf_hashes(content[first:size]), whole.range(0, first))
    rest = CompactRange.empty(size)
    for begin, end in batches:
        if begin >= size:
            rest = rest.extend(whole.range(begin, end))
    path = inclusion_beyond(tree, rest, index)
    assert path == whole.inclusion_proof(index, bounds[-1])
    verify_inclusion(leaf_hash(content[index]), index, bounds[-1], path, whole.root(bounds[-1]))


def test_ranges_that_dont_follow_each_other_give_no_path() -> None:
    whole = Tree(leaf_hashes(leaves(10)))
    tree = Tree(leaf_hashes(leaves(10)[2:6]), whole.range(0, 2))
    for rest, index in ((whole.range(7, 10), 3), (whole.range(6, 10), 1), (whole.range(6, 10), 6)):
        with pytest.raises(ValueError, match="no path of leaf"):
            inclusion_beyond(tree, rest, index)

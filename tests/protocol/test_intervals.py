"""Ranges of leaves as sets."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.intervals import merge, split

RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


def leaves(ranges: list[tuple[int, int]]) -> set[int]:
    return {leaf for first, size in ranges for leaf in range(first, size)}


@given(RANGES)
def test_merged_ranges_hold_the_same_leaves_apart_and_ascending(ranges: list[tuple[int, int]]) -> None:
    merged = merge(ranges)
    assert leaves(merged) == leaves(ranges)
    assert all(one[1] < two[0] for one, two in pairwise(merged))


@given(st.integers(0, 30), st.integers(0, 30), RANGES)
def test_a_split_loses_no_leaf_and_doubles_none(first: int, size: int, by: list[tuple[int, int]]) -> None:
    inside, outside = split((first, size), by)
    whole = set(range(first, size))
    assert leaves(inside) == whole & leaves(by)
    assert leaves(outside) == whole - leaves(by)
    assert sum(b - a for a, b in inside + outside) == len(whole)

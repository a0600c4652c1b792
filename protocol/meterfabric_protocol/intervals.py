"""Ranges of leaves [first, size) as sets: what covers what, and what is left over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Range: TypeAlias = tuple[int, int]
"""The leaves first … size-1; empty where size ≤ first."""


def merge(ranges: Iterable[Range]) -> list[Range]:
    """The same leaves as the fewest ranges, ascending."""
    merged: list[Range] = []
    for first, size in sorted(each for each in ranges if each[0] < each[1]):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(size, merged[-1][1])
        else:
            merged.append((first, size))
    return merged


def split(whole: Range, by: Iterable[Range]) -> tuple[list[Range], list[Range]]:
    """The parts of ``whole`` that lie within ``by``, and those that do not, each ascending."""
    inside: list[Range] = []
    outside: list[Range] = []
    at, end = whole
    for low, high in merge(by):
        first, size = max(low, at), min(high, end)
        if first >= size:
            continue
        if at < first:
            outside.append((at, first))
        inside.append((first, size))
        at = size
    if at < end:
        outside.append((at, end))
    return inside, outside

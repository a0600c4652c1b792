"""What an audit finds wrong, and where."""

from __future__ import annotations

from typing import Final

import msgspec

MOST: Final = 100
"""Findings kept of one log; the rest is counted."""


class Finding(msgspec.Struct, frozen=True):
    """A statement that doesn't hold. `log` is empty where it is about the sink as a whole; the leaves are
    [first, size), equal where it is about no leaf."""

    log: str
    first: int
    size: int
    problem: str

    @property
    def where(self) -> str:
        """The place in words."""
        leaves = f" leaves [{self.first}, {self.size})" if self.first < self.size else ""
        return (self.log or "the sink") + leaves


class Findings:
    """The findings of one log, bounded."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.found: list[Finding] = []
        self.count = 0

    def add(self, first: int, size: int, problem: str) -> None:
        """One more."""
        self.count += 1
        if len(self.found) < MOST:
            self.found.append(Finding(self.log, first, size, problem))

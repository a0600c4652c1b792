"""Colours of words on a terminal, and of none elsewhere (no-color.org)."""

from __future__ import annotations

import os
from typing import Final, Self, TextIO

_CODES: Final = {"green": "32", "yellow": "33", "red": "31", "dim": "2"}


class Painted(str):
    """Words that have a colour where colours are shown; equal to the same words without."""

    colour: str

    def __new__(cls, words: str, colour: str) -> Self:
        """`colour`: one of green, yellow, red, dim, or none."""
        made = super().__new__(cls, words)
        made.colour = colour
        return made


def good_or_bad(words: str, good: bool) -> Painted:
    """Green or red."""
    return Painted(words, "green" if good else "red")


def painted(words: str, like: str) -> str:
    """`words` in the colour of `like`, for a terminal."""
    code = _CODES.get(like.colour) if isinstance(like, Painted) else None
    return f"\x1b[{code}m{words}\x1b[0m" if code else words


def wanted(stream: TextIO) -> bool:
    """Whether colours are to be written there."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

"""Measured points as text: the lines that measurements print, read back."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*): (?P<value>[0-9][0-9,]*(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)(?: (?P<unit>.*))?"
)


@dataclass(frozen=True)
class Point:
    """One line: its number, and the line itself."""

    value: float
    line: str


def read(text: str) -> dict[str, Point]:
    """Every line `name: number unit (note)` by its name; other lines are passed over, the last of a name counts."""
    found = {}
    for line in text.splitlines():
        if match := _LINE.fullmatch(line.strip()):
            found[match["name"]] = Point(float(match["value"].replace(",", "")), line.strip())
    return found

"""How a measurement is told: one line `name: value unit`, so that a person and a script read the same."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence


def say(name: str, value: float | int | str, unit: str = "", note: str = "") -> None:
    """Print one measured value. Numbers get as many digits as they deserve (three that count)."""
    text = value if isinstance(value, str) else number(value)
    print(" ".join(part for part in (f"{name}: {text}", unit, f"({note})" if note else "") if part), flush=True)


def number(value: float | int) -> str:
    """Three digits that count, thousands set apart: 1234567 -> 1,234,567; 0.012345 -> 0.0123."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def progress(text: str) -> None:
    """Tell a waiting person what is going on, apart from the results."""
    print(f"… {text}", file=sys.stderr, flush=True)


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest of `values` that at least a share `q` of them does not exceed (nearest rank)."""
    return sorted(values)[max(1, math.ceil(q * len(values))) - 1]


def spread(values: Sequence[float]) -> str:
    """Median, least and most, for a note beside a median."""
    return f"least {number(min(values))}, median {number(statistics.median(values))}, most {number(max(values))}"

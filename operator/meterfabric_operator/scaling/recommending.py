"""The number of relays that would be as busy as wanted: `ceil(relays * utilization / target)`.

As in Kubernetes' "Horizontal Pod Autoscaling", section "Algorithm details", for a resource metric; in whole numbers and
fractions, where Kubernetes uses binary floating point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

Standing = Literal["Reporting", "Missing", "Unready"]
"""Of a relay: it told how busy it is, or didn't, or isn't ready yet. One that ends is none."""

WHOLE: Final = 10_000
"""A utilization of 100 %."""


@dataclass(frozen=True)
class Told:
    """One relay. `used`: how busy, ten-thousandths, where it is reporting."""

    standing: Standing
    used: int = 0


@dataclass(frozen=True)
class Recommended:
    """How many relays, and how busy those are that told, ten-thousandths on average."""

    replicas: int
    utilization: int


class NoMetrics(Exception):
    """Nothing can be said of how busy relays are."""


def recommend(relays: Iterable[Told], current: int, target: int, tolerance: int) -> Recommended:
    """``current``: relays wanted now; ``target``: percent; ``tolerance``: thousandths.

    Raises:
        NoMetrics: no relay that is ready told.
    """
    told = list(relays)
    reporting = [relay.used for relay in told if relay.standing == "Reporting"]
    missing = sum(relay.standing == "Missing" for relay in told)
    unready = sum(relay.standing == "Unready" for relay in told)
    if not told:
        raise NoMetrics("there is no relay yet")
    if not reporting:
        raise NoMetrics(f"none of {len(told)} relays told how busy it is: {missing} silent, {unready} not ready")
    wanted, off = Fraction(target * WHOLE, 100), Fraction(tolerance, 1_000)
    mean = Fraction(sum(reporting), len(reporting))
    ratio = mean / wanted
    used = list(reporting)
    # Who doesn't tell must not speed up a change in either direction: taken as idle for growth, as full for shrinking.
    if ratio > 1:
        used += [0] * (missing + unready)
    elif ratio < 1:
        used += [WHOLE] * missing
    damped = Fraction(sum(used), len(used)) / wanted
    turned = (ratio < 1 < damped) or (ratio > 1 > damped)
    if turned or abs(damped - 1) <= off:
        return Recommended(current, round(mean))
    replicas = math.ceil(damped * len(used))
    if len(used) > len(reporting) and ((damped < 1 and replicas > current) or (damped > 1 and replicas < current)):
        # The number of relays that there are isn't the one wanted, and would turn the change around.
        replicas = current
    return Recommended(replicas, round(mean))

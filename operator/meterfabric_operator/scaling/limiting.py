"""How a recommended number is held back: stabilization windows and policies of `behavior` (autoscaling/v2).

As in Kubernetes' "Horizontal Pod Autoscaling", section "Configurable scaling behavior".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

from meterfabric_protocol.fabric_spec import Autoscaling, Behavior, ScaleDown, ScaleUp, ScalingPolicy

Timed: TypeAlias = tuple[tuple[float, int], ...]
"""(when, a number of relays) each; seconds of a clock that never steps back."""


@dataclass(frozen=True)
class History:
    """What was recommended, and by how much the number of relays was raised and lowered."""

    recommended: Timed = ()
    raised: Timed = ()
    lowered: Timed = ()

    def begun(self, current: int, now: float) -> History:
        """With a first recommendation: the number there is, so that nothing shrinks before the window has passed."""
        return self if self.recommended else replace(self, recommended=((now, current),))

    def scaled(self, before: int, after: int, now: float, behavior: Behavior) -> History:
        """The number was changed."""
        change = (now, abs(after - before))
        if after > before:
            return replace(self, raised=(*_within(self.raised, now, _longest(behavior.scale_up)), change))
        return replace(self, lowered=(*_within(self.lowered, now, _longest(behavior.scale_down)), change))


@dataclass(frozen=True)
class Limited:
    """A number that may be had now. `by`: what held it back, HPA's reason, empty where nothing did."""

    replicas: int
    by: str = ""


def stabilize(history: History, desired: int, current: int, behavior: Behavior, now: float) -> tuple[int, History]:
    """The number that no recommendation within the windows contradicts, and the history with this one."""
    up = behavior.scale_up.stabilization_window_seconds
    down = behavior.scale_down.stabilization_window_seconds
    least = min([desired, *(count for _, count in _within(history.recommended, now, up))])
    most = max([desired, *(count for _, count in _within(history.recommended, now, down))])
    kept = _within(history.recommended, now, max(up, down))
    return min(max(current, least), most), replace(history, recommended=(*kept, (now, desired)))


def limit(history: History, desired: int, current: int, scaling: Autoscaling, now: float) -> Limited:
    """What policies, minReplicas and maxReplicas leave of a change."""
    if desired > current:
        allowed = max(_highest(history, current, scaling.behavior.scale_up, now), current)
        most, by = allowed, "ScaleUpLimit"
        if scaling.max_replicas <= allowed:
            most, by = scaling.max_replicas, "TooManyReplicas"
        return Limited(most, by) if desired > most else Limited(desired)
    if desired < current:
        allowed = min(_lowest(history, current, scaling.behavior.scale_down, now), current)
        least, by = allowed, "ScaleDownLimit"
        if scaling.min_replicas >= allowed:
            least, by = scaling.min_replicas, "TooFewReplicas"
        return Limited(least, by) if desired < least else Limited(desired)
    return Limited(desired)


def _highest(history: History, current: int, rules: ScaleUp, now: float) -> int:
    """The most relays that the policies for growth allow."""
    if rules.select_policy == "Disabled":
        return current
    each = []
    for policy in rules.policies:
        start = _at_start(history, current, policy, now)
        # Rounded up: a percentage of few would otherwise never grow.
        grown = math.ceil(start * Fraction(100 + policy.value, 100))
        each.append(start + policy.value if policy.type == "Pods" else grown)
    return min(each) if rules.select_policy == "Min" else max(each)


def _lowest(history: History, current: int, rules: ScaleDown, now: float) -> int:
    """The fewest relays that the policies for shrinking allow."""
    if rules.select_policy == "Disabled":
        return current
    each = []
    for policy in rules.policies:
        start = _at_start(history, current, policy, now)
        shrunk = math.trunc(start * Fraction(100 - policy.value, 100))
        each.append(start - policy.value if policy.type == "Pods" else shrunk)
    return max(each) if rules.select_policy == "Min" else min(each)


def _at_start(history: History, current: int, policy: ScalingPolicy, now: float) -> int:
    """How many relays there were when the policy's period began."""
    raised = sum(change for _, change in _within(history.raised, now, policy.period_seconds))
    lowered = sum(change for _, change in _within(history.lowered, now, policy.period_seconds))
    return current - raised + lowered


def _within(timed: Iterable[tuple[float, int]], now: float, seconds: float) -> Timed:
    return tuple(each for each in timed if each[0] > now - seconds)


def _longest(rules: ScaleUp | ScaleDown) -> int:
    return max(policy.period_seconds for policy in rules.policies)

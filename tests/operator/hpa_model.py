"""HorizontalPodAutoscaler's algorithm, written down a second time and plainly, from Kubernetes' documentation
("Horizontal Pod Autoscaling": Algorithm details, Configurable scaling behavior): one metric, all pods alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from meterfabric_operator.scaling.recommending import Told
from meterfabric_protocol.fabric_spec import Autoscaling, ScalingPolicy
from meterfabric_protocol.notation import thousandths

FULL = 10_000


@dataclass
class Model:
    """Remembers everything for ever."""

    spec: Autoscaling
    recommendations: list[tuple[float, int]] = field(default_factory=list)
    changes: list[tuple[float, int]] = field(default_factory=list)
    """When, and by how many: above 0 up, below 0 down."""

    def sync(self, current: int, relays: list[Told], now: float) -> int:
        """The desired replicas; the caller scales, and says so by `scaled`."""
        if not self.recommendations:
            self.recommendations.append((now, current))
        if current > self.spec.max_replicas:
            return self.spec.max_replicas
        if current < self.spec.min_replicas:
            return self.spec.min_replicas
        by_metric = self.by_metric(current, relays)
        return current if by_metric is None else self.limited(current, self.stabilized(current, by_metric, now), now)

    def scaled(self, before: int, after: int, now: float) -> None:
        """It was done."""
        self.changes.append((now, after - before))

    def by_metric(self, current: int, relays: list[Told]) -> int | None:
        """Missing pods count 100 % on a scale-down, 0 % on a scale-up; not-yet-ready ones 0 % on a scale-up."""
        values = {number: relay.used for number, relay in enumerate(relays) if relay.standing == "Reporting"}
        lacking = [number for number, relay in enumerate(relays) if relay.standing == "Missing"]
        unready = [number for number, relay in enumerate(relays) if relay.standing == "Unready"]
        if not values:
            return None
        first = self.ratio(values)
        discounted = dict(values)
        if first < 1:
            discounted.update(dict.fromkeys(lacking, FULL))
        if first > 1:
            discounted.update(dict.fromkeys(lacking + unready, 0))
        second = self.ratio(discounted)
        tolerance = Fraction(thousandths(self.spec.tolerance), 1_000)
        if 1 - tolerance <= second <= 1 + tolerance:
            return current
        if (first < 1) != (second < 1):
            return current
        proposal = math.ceil(second * len(discounted))
        if discounted != values and ((second > 1 and proposal < current) or (second < 1 and proposal > current)):
            return current
        return proposal

    def ratio(self, values: dict[int, int]) -> Fraction:
        """Current metric value / desired metric value."""
        return Fraction(sum(values.values()) * 100, len(values) * self.spec.target_utilization * FULL)

    def stabilized(self, current: int, desired: int, now: float) -> int:
        """Within the window the smallest change ever recommended in each direction."""
        behavior = self.spec.behavior
        low = high = desired
        for at, count in self.recommendations:
            if now - at < behavior.scale_up.stabilization_window_seconds:
                low = min(low, count)
            if now - at < behavior.scale_down.stabilization_window_seconds:
                high = max(high, count)
        self.recommendations.append((now, desired))
        if current < low:
            return low
        return high if current > high else current

    def limited(self, current: int, desired: int, now: float) -> int:
        """By policies and bounds."""
        if desired > current:
            rules = self.spec.behavior.scale_up
            if rules.select_policy == "Disabled":
                return current
            caps = []
            for policy in rules.policies:
                start = self.at_start(current, policy, now)
                by = policy.value if policy.type == "Pods" else Fraction(start * policy.value, 100)
                caps.append(math.ceil(start + by))
            cap = min(caps) if rules.select_policy == "Min" else max(caps)
            return min(desired, max(cap, current), self.spec.max_replicas)
        if desired < current:
            down = self.spec.behavior.scale_down
            if down.select_policy == "Disabled":
                return current
            floors = []
            for policy in down.policies:
                start = self.at_start(current, policy, now)
                by = policy.value if policy.type == "Pods" else Fraction(start * policy.value, 100)
                floors.append(math.trunc(start - by))
            floor = max(floors) if down.select_policy == "Min" else min(floors)
            return max(desired, min(floor, current), self.spec.min_replicas)
        return desired

    def at_start(self, current: int, policy: ScalingPolicy, now: float) -> int:
        """Replicas when the policy's period began."""
        return current - sum(change for at, change in self.changes if now - at < policy.period_seconds)

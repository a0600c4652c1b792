"""What becomes of the number of relays now, and why; HPA's conditions and reasons (autoscaling/v2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from meterfabric_operator.scaling import limiting
from meterfabric_operator.scaling.limiting import History
from meterfabric_operator.scaling.recommending import NoMetrics, Told, recommend
from meterfabric_operator.status.conditions import Condition
from meterfabric_protocol.fabric_spec import Autoscaling
from meterfabric_protocol.notation import thousandths

_WHY: Final = {
    "ScaleUpLimit": "the desired number of relays is increasing faster than the maximum scale rate",
    "ScaleDownLimit": "the desired number of relays is decreasing faster than the maximum scale rate",
    "TooManyReplicas": "the desired number of relays is more than maxReplicas",
    "TooFewReplicas": "the desired number of relays is less than minReplicas",
}


@dataclass(frozen=True)
class Decision:
    """How many relays there are to be. `why`: of a change, for people. `utilization`: percent, None where unknown."""

    replicas: int
    why: str
    utilization: int | None
    conditions: tuple[Condition, ...]
    history: History


def decide(scaling: Autoscaling, current: int, relays: Iterable[Told], history: History, now: float) -> Decision:
    """``current``: `spec.relay.replicas`; ``now``: seconds of the history's clock. The history knows of changes only
    once it is told (`History.scaled`)."""
    history = history.begun(current, now)
    if current > scaling.max_replicas:
        why = "current number of relays above maxReplicas"
        return Decision(scaling.max_replicas, why, None, (_limited("TooManyReplicas"),), history)
    if current < scaling.min_replicas:
        why = "current number of relays below minReplicas"
        return Decision(scaling.min_replicas, why, None, (_limited("TooFewReplicas"),), history)
    try:
        found = recommend(relays, current, scaling.target_utilization, thousandths(scaling.tolerance))
    except NoMetrics as error:
        message = f"the number of relays can't be computed: {error}"
        inactive = Condition("ScalingActive", "False", "FailedGetPodsMetric", message)
        return Decision(current, "", None, (inactive,), history)
    stable, history = limiting.stabilize(history, found.replicas, current, scaling.behavior, now)
    limited = limiting.limit(history, stable, current, scaling, now)
    percent = round(found.utilization / 100)
    why = f"utilization of relays, {percent} %, is {'above' if limited.replicas > current else 'below'} target"
    active = Condition("ScalingActive", "True", "ValidMetricFound", "relays told how busy they are")
    conditions = (active, _able(found.replicas, stable, current), _limited(limited.by))
    return Decision(limited.replicas, why if limited.replicas != current else "", percent, conditions, history)


def _able(wanted: int, stable: int, current: int) -> Condition:
    kind = "AbleToScale"
    if wanted == stable:
        return Condition(kind, "True", "ReadyForNewScale", "recommended size matches current size")
    if wanted >= current:
        message = "recent recommendations were lower than the current one, the lowest recent one is applied"
        return Condition(kind, "True", "ScaleUpStabilized", message)
    message = "recent recommendations were higher than the current one, the highest recent one is applied"
    return Condition(kind, "True", "ScaleDownStabilized", message)


def _limited(by: str) -> Condition:
    if by:
        return Condition("ScalingLimited", "True", by, _WHY[by])
    message = "the desired number of relays is within the acceptable range"
    return Condition("ScalingLimited", "False", "DesiredWithinRange", message)

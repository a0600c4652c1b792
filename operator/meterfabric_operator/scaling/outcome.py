"""What the autoscaler last decided for a fabric, as its status and the metrics show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from meterfabric_operator.status.conditions import Condition

CONDITIONS: Final = ("AbleToScale", "ScalingActive", "ScalingLimited")
"""Those of a HorizontalPodAutoscaler. Only the second is told by an event of its own: changes of size are told."""


@dataclass(frozen=True)
class Outcome:
    """`current`: relays wanted when it was decided. `utilization`: percent, None where unknown. `scaled`: when the
    number was last changed, empty where it wasn't."""

    current: int
    desired: int
    utilization: int | None
    conditions: tuple[Condition, ...]
    scaled: str = ""

    @property
    def essence(self) -> tuple[object, ...]:
        """What a status tells of it: how busy relays are changes all the time, and stands in the metrics."""
        return self.desired, self.scaled, self.conditions

    def status(self) -> dict[str, Any]:
        """As a status holds it."""
        return {"desiredReplicas": self.desired} | ({"lastScaleTime": self.scaled} if self.scaled else {})


def shown(outcome: Outcome | None, status: Mapping[str, Any]) -> tuple[list[Condition], dict[str, Any] | None]:
    """Conditions and `autoscaling` for the status of a fabric that is scaled; while nothing was decided yet, what it
    says already."""
    if outcome is not None:
        return list(outcome.conditions), outcome.status()
    held = [each for each in status.get("conditions") or [] if each["type"] in CONDITIONS]
    kept = [Condition(each["type"], each["status"], each["reason"], each["message"]) for each in held]
    return kept, status.get("autoscaling")

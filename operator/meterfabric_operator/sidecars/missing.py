"""Pods without a sidecar are told so at the pods themselves: who owns them may not see the fabric's namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from meterfabric_operator.api.events import Events
from meterfabric_operator.objects import Object
from meterfabric_operator.watching.observed import MeteringPod

_TOLD: Final = 10
"""So many pods of a fabric are told by events of their own; the fabric's condition counts them all."""


class Missing:
    """Tells pods that they have no sidecar, each once."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._told: dict[str, set[str]] = {}

    async def tell(self, fabric: str, pods: Sequence[MeteringPod]) -> None:
        """``pods``: those without a sidecar."""
        told = self._told.get(fabric, set()) & {pod.uid for pod in pods}
        for pod in sorted(pods, key=lambda each: (each.namespace, each.name)):
            if len(told) == _TOLD:
                break
            if pod.uid not in told:
                told.add(pod.uid)
                metadata = {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}
                about: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
                note = f"asks MeteringFabric {fabric} for a sidecar and has none, so nothing is metered: {pod.why}"
                await self._events.tell(about, "Warning", "SidecarMissing", note)
        self._told[fabric] = told

"""Usage as CloudEvents: one per pod and scan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from kube_usage.usage import Usage

TYPE = "io.meterfabric.example.pod.usage"


class Event(msgspec.Struct, frozen=True):
    """The attributes of one CloudEvent (CloudEvents 1.0, section 3) that differ between pods and intervals."""

    id: str
    subject: str
    time: datetime
    data: dict[str, Any]
    type: str = TYPE


def source(node: str) -> str:
    """The source of all events of a node's agent, as a URI reference."""
    return f"//{node}/kubelet"


def event(usage: Usage, node: str, scan_ms: int) -> Event:
    """The event for one pod.

    Its id is made of the pod and the scan, and no two scans of an agent have the same time, so that sending an event
    again is recognised as the same event.
    """
    start, end = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (usage.start_ms, usage.end_ms))
    name = f"{usage.pod.namespace}/{usage.pod.name}"
    return Event(
        id=f"{name}@{scan_ms}",
        subject=name,
        time=end,
        data={
            "namespace": usage.pod.namespace,
            "pod": usage.pod.name,
            "node": node,
            "cpu_core_seconds": usage.cpu_core_ns / 1_000_000_000,
            "memory_byte_seconds": round(usage.memory_byte_ms / 1000),
            "interval_start": start.isoformat(timespec="milliseconds"),
            "interval_end": end.isoformat(timespec="milliseconds"),
        },
    )

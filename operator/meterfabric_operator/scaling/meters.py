"""Metrics of scaling: how many relays there are and are to be, how busy they are, and why."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from meterfabric_operator.watching.observed import Observed


class ScalingMeters(Collector):
    """Of the fabrics that are scaled."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now."""
        sizes = GaugeMetricFamily("meterfabric_operator_relays", "Relays, now and wanted.", labels=["fabric", "of"])
        busy = GaugeMetricFamily(
            "meterfabric_operator_relay_utilization", "How busy those that told are, 0 to 1, mean.", labels=["fabric"]
        )
        why = GaugeMetricFamily(
            "meterfabric_operator_scaling", "Conditions: 1 true, 0 not.", labels=["fabric", "type", "reason"]
        )
        for key, outcome in self._observed.scaling.items():
            fabric = f"{key.namespace}.{key.name}"
            sizes.add_metric([fabric, "current"], outcome.current)
            sizes.add_metric([fabric, "desired"], outcome.desired)
            if outcome.utilization is not None:
                busy.add_metric([fabric], outcome.utilization / 100)
            for each in outcome.conditions:
                why.add_metric([fabric, each.type, each.reason], float(each.status == "True"))
        yield from (sizes, busy, why)

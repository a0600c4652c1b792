"""The operator's metrics, read when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from meterfabric_operator.api.lease import Lease
from meterfabric_operator.objects import Key
from meterfabric_operator.reconciling.applying import Applier
from meterfabric_operator.sidecars.injection import Injection
from meterfabric_operator.sidecars.replacing import Replacer
from meterfabric_operator.status.books import FATES, of_sink
from meterfabric_operator.watching.handlers import Watching
from meterfabric_operator.watching.observed import Observed
from meterfabric_operator.watching.queue import Queue


class Meters(Collector):
    """Registered in a registry of its own."""

    def __init__(
        self,
        observed: Observed,
        watching: Watching,
        queue: Queue[Key],
        applier: Applier,
        lease: Lease,
        injection: Injection,
        replacer: Replacer,
    ) -> None:
        self._observed = observed
        self._watching = watching
        self._queue = queue
        self._applier = applier
        self._lease = lease
        self._injection = injection
        self._replacer = replacer
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.seconds = Histogram(
            "meterfabric_operator_reconcile_seconds",
            "How long looking at one object took.",
            ["kind"],
            registry=self.registry,
            buckets=(0.005, 0.02, 0.1, 0.5, 2.0, 10.0),
        )

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now."""
        yield _gauge("leader", "Whether this replica acts.", float(self._lease.held.is_set()))
        yield _gauge("queue", "Objects that wait to be looked at.", len(self._queue))
        yield _gauge("fabrics", "Fabrics.", len(self._observed.fabrics))
        yield _gauge("sinks", "Sinks.", len(self._observed.sinks))
        yield _gauge("children", "Objects that run for them and are watched.", len(self._observed.children))
        pods = GaugeMetricFamily(
            "meterfabric_operator_pods", "Pods that ask for a sidecar.", labels=["fabric", "injected"]
        )
        proven = GaugeMetricFamily(
            "meterfabric_operator_injection_proven",
            "Whether a pod made on trial got its sidecar.",
            labels=["fabric"],
        )
        replaced = CounterMetricFamily(
            "meterfabric_operator_replaced", "Pods evicted so that they get their sidecar.", labels=["fabric"]
        )
        for key in self._observed.fabrics:
            fabric = f"{key.namespace}.{key.name}"
            found = self._observed.pods(self._observed.namespaces(fabric))
            missing = sum(bool(pod.why) for pod in found)
            pods.add_metric([fabric, "true"], len(found) - missing)
            pods.add_metric([fabric, "false"], missing)
            proven.add_metric([fabric], float(self._injection.known(fabric).verdict == "Proven"))
            replaced.add_metric([fabric], self._replacer.evicted(fabric))
        yield from (pods, proven, replaced)
        yield from self._books()
        yield _counter("events", "Events taken from watches.", self._watching.events)
        yield _counter("applied", "Objects applied.", self._applier.applied)
        yield _counter("failures", "Looks that failed and were tried again.", self._queue.failed)

    def _books(self) -> Iterator[Metric]:
        where = ["fabric", "sink"]
        records = GaugeMetricFamily(
            "meterfabric_operator_records",
            "Records that sinks heard of, by what became of them.",
            labels=[*where, "fate"],
        )
        oldest = GaugeMetricFamily(
            "meterfabric_operator_oldest_pending_seconds", "Age of a sink's oldest pending record.", labels=where
        )
        for key, body in self._observed.sinks.items():
            if (books := of_sink(self._observed, key)) is not None:
                sink = [f"{key.namespace}.{body['spec']['fabric']}", key.name]
                oldest.add_metric(sink, books.oldest)
                for fate in FATES:
                    records.add_metric([*sink, fate], books.count(fate))
        yield records
        yield oldest


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"meterfabric_operator_{name}", what, value=value)


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(f"meterfabric_operator_{name}", what, value=value)

"""The relay's metrics, read from its state when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from meterfabric_protocol.delivery.relay import RelayCore
from meterfabric_relay.load import LoadMeter
from meterfabric_runtime.gate import Gate


class _Relay(Collector):
    def __init__(self, core: RelayCore, load: LoadMeter, gate: Gate) -> None:
        self._core = core
        self._load = load
        self._gate = gate

    def collect(self) -> Iterable[Metric]:
        core = self._core
        sessions = GaugeMetricFamily("meterfabric_relay_sessions", "Sessions that stand", labels=["role"])
        sessions.add_metric(["producer"], core.producers)
        sessions.add_metric(["worker"], core.sessions - core.producers)
        yield sessions
        limit = GaugeMetricFamily("meterfabric_relay_sessions_limit", "Sessions allowed")
        limit.add_metric([], core.settings.sessions)
        yield limit
        workers = GaugeMetricFamily("meterfabric_relay_workers", "Workers that take batches", labels=["sink"])
        for sink, count in core.workers.items():
            workers.add_metric([sink], count)
        yield workers
        held = GaugeMetricFamily("meterfabric_relay_credit_bytes", "Bytes held or promised", labels=["sink"])
        room = GaugeMetricFamily("meterfabric_relay_credit_limit_bytes", "Bytes that may be", labels=["sink"])
        for sink, (reserved, capacity) in core.reserved.items():
            held.add_metric([sink], reserved)
            room.add_metric([sink], capacity)
        yield held
        yield room
        yield CounterMetricFamily("meterfabric_relay_batches", "Batches forwarded to workers", core.forwarded)
        yield CounterMetricFamily("meterfabric_relay_bytes", "Bytes forwarded to workers", core.forwarded_bytes)
        yield CounterMetricFamily("meterfabric_relay_unanswered", "Messages that left without an answer", core.dropped)
        refused = CounterMetricFamily("meterfabric_relay_refused", "Sessions and messages refused", labels=["reason"])
        for reason, count in core.refused.items():
            refused.add_metric([reason], count)
        yield refused
        gate = self._gate
        connections = GaugeMetricFamily("meterfabric_relay_connections", "TCP connections, let in or not yet")
        connections.add_metric([], gate.open)
        yield connections
        most = GaugeMetricFamily("meterfabric_relay_connections_limit", "Connections let in at once at most")
        most.add_metric([], gate.bounds.connections)
        yield most
        yield CounterMetricFamily("meterfabric_relay_handshakes", "CURVE handshakes let in", gate.admitted)
        turned = CounterMetricFamily("meterfabric_relay_handshakes_refused", "Handshakes refused", labels=["reason"])
        for cause, times in gate.refused.items():
            turned.add_metric([cause], times)
        yield turned
        yield CounterMetricFamily("meterfabric_relay_connections_closed", "Connections that ended", gate.ended)
        shares = GaugeMetricFamily(
            "meterfabric_relay_load", "Share of what it can bear, 0 to 1, mean of 15 s", labels=["of"]
        )
        for name, share in self._load.shares.items():
            shares.add_metric([name], share)
        yield shares
        cores = GaugeMetricFamily("meterfabric_relay_cores", "Cores that may be used: the limit, or the machine's")
        cores.add_metric([], self._load.cores)
        yield cores


def registry(core: RelayCore, load: LoadMeter, gate: Gate) -> CollectorRegistry:
    """A registry that shows this relay."""
    made = CollectorRegistry()
    made.register(_Relay(core, load, gate))
    return made

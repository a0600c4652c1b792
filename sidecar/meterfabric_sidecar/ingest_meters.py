"""The metrics of the ways in, read from ingest's own counts when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from meterfabric_sidecar.ingest.http import HttpIngest
from meterfabric_sidecar.ingest.zeromq import ZeromqIngest


class IngestMeters(Collector):
    """Shows both ways in."""

    def __init__(self, http: HttpIngest, zeromq: ZeromqIngest) -> None:
        self._http = http
        self._zeromq = zeromq

    def collect(self) -> Iterable[Metric]:
        """What Prometheus is shown."""
        ways = (("http", self._http.tally), ("zeromq", self._zeromq.tally))
        messages = CounterMetricFamily("meterfabric_sidecar_ingest_messages", "Messages accepted", labels=["way"])
        records = CounterMetricFamily("meterfabric_sidecar_ingest_records", "Records accepted", labels=["way"])
        size = CounterMetricFamily("meterfabric_sidecar_ingest_bytes", "Bytes accepted", labels=["way"])
        refused = CounterMetricFamily(
            "meterfabric_sidecar_ingest_refused", "Messages refused, by HTTP status", labels=["way", "status"]
        )
        for way, tally in ways:
            messages.add_metric([way], tally.messages)
            records.add_metric([way], tally.records)
            size.add_metric([way], tally.bytes)
            for status, count in tally.refused.items():
                refused.add_metric([way, str(status)], count)
        yield from (messages, records, size, refused)
        memory = GaugeMetricFamily("meterfabric_sidecar_ingest_memory_bytes", "Bytes being answered", labels=["way"])
        memory.add_metric(["http"], self._http.bytes_in_use)
        memory.add_metric(["zeromq"], self._zeromq.bytes_in_use)
        yield memory
        clients = GaugeMetricFamily("meterfabric_sidecar_ingest_clients", "ZeroMQ clients that said HELLO")
        clients.add_metric([], self._zeromq.clients)
        yield clients
        credit = GaugeMetricFamily("meterfabric_sidecar_ingest_credit_bytes", "Bytes ZeroMQ clients hold or may send")
        credit.add_metric([], self._zeromq.bytes_claimed)
        yield credit
        yield CounterMetricFamily(
            "meterfabric_sidecar_ingest_connections_refused",
            "ZeroMQ connections dropped at the cap",
            self._zeromq.connections_refused,
        )
        yield CounterMetricFamily(
            "meterfabric_sidecar_ingest_connections_closed",
            "ZeroMQ connections that ended",
            self._zeromq.connections_ended,
        )

    def status(self) -> dict[str, Any]:
        """What /status shows."""
        return {
            way: {
                "messages": tally.messages,
                "records": tally.records,
                "bytes": tally.bytes,
                "refused": {str(status): count for status, count in tally.refused.items()},
            }
            for way, tally in (("http", self._http.tally), ("zeromq", self._zeromq.tally))
        }

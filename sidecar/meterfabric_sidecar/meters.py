"""The sidecar's metrics, and the page /status."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from meterfabric_protocol.delivery.effects import Progress
from meterfabric_protocol.delivery.producer import ProducerCore
from meterfabric_protocol.notice import Expired, LostBySink, Notice
from meterfabric_sidecar.spool import Spool
from meterfabric_sidecar.spool.rows import StoredBatch

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_SIZES = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536)


class Meters:
    """Counts since this process's start, gauges as of the last look."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.accepted = Counter(
            "meterfabric_sidecar_accepted_records", "Records durable in the spool", registry=registry
        )
        self.batch_records = Histogram(
            "meterfabric_sidecar_batch_records", "Records a batch", buckets=_SIZES, registry=registry
        )
        self.delivered = Counter(
            "meterfabric_sidecar_delivered_records", "Records receipted", ["sink"], registry=registry
        )
        self.passed = Counter(
            "meterfabric_sidecar_passed_records", "Records passed over as stubs", ["sink"], registry=registry
        )
        self.expired = Counter(
            "meterfabric_sidecar_expired_leaves",
            "Leaves given up for a sink, by notice",
            ["sink", "reason"],
            registry=registry,
        )
        self.lost = Counter(
            "meterfabric_sidecar_lost_leaves", "Leaves that a sink lost after its receipt", ["sink"], registry=registry
        )
        self.receipt_seconds = Histogram(
            "meterfabric_sidecar_receipt_seconds",
            "From sending to receipt",
            ["sink"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "meterfabric_sidecar_fsync_seconds",
            "Commit of a batch, fsync included",
            buckets=_SECONDS,
            registry=registry,
        )
        self.pending_records = Gauge(
            "meterfabric_sidecar_pending_records", "Records a sink does not have yet", ["sink"], registry=registry
        )
        self.pending_bytes = Gauge(
            "meterfabric_sidecar_pending_bytes", "Bytes a sink does not have yet", ["sink"], registry=registry
        )
        self.pending_age = Gauge(
            "meterfabric_sidecar_pending_oldest_seconds", "Age of the oldest of them", ["sink"], registry=registry
        )
        self.credit = Gauge(
            "meterfabric_sidecar_credit_bytes", "Bytes that may be sent", ["relay", "sink"], registry=registry
        )
        self.spool_bytes = Gauge("meterfabric_sidecar_spool_bytes", "Database, WAL and quarantine", registry=registry)
        self.spool_quota = Gauge("meterfabric_sidecar_spool_quota_bytes", "What they may take", registry=registry)
        self.certificate = Gauge(
            "meterfabric_sidecar_certificate_expiry_timestamp_seconds", "End of the certificate", registry=registry
        )
        self.alarms = Counter(
            "meterfabric_sidecar_alarms", "What a person should know of", ["alarm"], registry=registry
        )
        self._pending: dict[str, dict[str, float]] = {}
        self._counts: dict[str, dict[str, int]] = defaultdict(lambda: {"delivered": 0, "passed": 0})
        self._expired: dict[str, int] = defaultdict(int)
        self._accepted = 0
        self._started = time.time()

    def sealed(self, batch: StoredBatch) -> None:
        """A batch is durable."""
        if batch.records:
            self._accepted += batch.records
            self.accepted.inc(batch.records)
            self.batch_records.observe(batch.records)

    def progress(self, progress: Progress) -> None:
        """A sink answered."""
        count = progress.records
        if progress.received:
            self.delivered.labels(progress.sink).inc(count)
            self._counts[progress.sink]["delivered"] += count
            self.receipt_seconds.labels(progress.sink).observe(progress.seconds)
        else:
            self.passed.labels(progress.sink).inc(count)
            self._counts[progress.sink]["passed"] += count

    def noticed(self, notices: Iterable[Notice]) -> None:
        """Notices are durable."""
        for notice in notices:
            if isinstance(notice, Expired):
                count = sum(size - first for first, size in notice.ranges)
                self.expired.labels(notice.sink, notice.reason).inc(count)
                self._expired[notice.sink] += count
            elif isinstance(notice, LostBySink):
                self.lost.labels(notice.sink).inc(sum(size - first for first, size in notice.ranges))

    async def look(self, core: ProducerCore, spool: Spool, now: float) -> None:
        """Read the gauges."""
        pressure = spool.pressure()
        self.spool_bytes.set(pressure.used)
        self.spool_quota.set(pressure.quota)
        totals: dict[str, dict[str, float]] = {
            sink: {"records": 0, "bytes": 0, "oldest_seconds": 0.0} for sink in core.policies
        }
        for origin, log in list(core.logs.items()):
            for sink, cursor in list(log.cursors.items()):
                if cursor.acked >= log.end or sink not in totals:
                    continue
                pending = await spool.pending(origin, cursor.floor)
                totals[sink]["records"] += pending.records
                totals[sink]["bytes"] += pending.bytes
                totals[sink]["oldest_seconds"] = max(totals[sink]["oldest_seconds"], pending.oldest)
        self._pending = totals
        for sink, total in totals.items():
            self.pending_records.labels(sink).set(total["records"])
            self.pending_bytes.labels(sink).set(total["bytes"])
            self.pending_age.labels(sink).set(total["oldest_seconds"])
        self.credit.clear()
        for relay, link in core.links.items():
            for sink, credit in link.credit.items():
                self.credit.labels(relay, sink).set(credit.left)

    def status(self, core: ProducerCore, spool: Spool) -> dict[str, Any]:
        """The page /status."""
        pressure = spool.pressure()
        return {
            "since": self._started,
            "accepted": self._accepted,
            "spool": {"used": pressure.used, "quota": pressure.quota, "full": pressure.full, "failure": spool.failure},
            "sinks": {
                sink: {
                    **self._counts[sink],
                    "expired": self._expired[sink],
                    "pending": self._pending.get(sink, {"records": 0, "bytes": 0, "oldest_seconds": 0.0}),
                    "required": policy.required,
                }
                for sink, policy in core.policies.items()
            },
            "logs": [
                {
                    "origin": log.origin,
                    "active": log.active,
                    "size": log.size,
                    "dropped_to": log.dropped_to,
                    "superseded_at": log.superseded_at,
                    "sinks": {
                        sink: {
                            "acked": c.acked,
                            "sent": c.sent,
                            "epoch": c.epoch,
                            "relay": c.via,
                            "failures": c.failures,
                        }
                        for sink, c in log.cursors.items()
                    },
                }
                for log in core.logs.values()
            ],
            "relays": {
                relay: {"up": link.up, "draining": link.draining, "sinks": sorted(link.keys)}
                for relay, link in core.links.items()
            },
        }

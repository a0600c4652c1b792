"""The sink worker's metrics."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from meterfabric_protocol.delivery.answer import Answer
from meterfabric_protocol.delivery.stored import LogUpdate

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """Counts of one worker since its start."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leaves = Counter(
            "meterfabric_sink_leaves", "Leaves committed, by what became of them", ["kind"], registry=self.registry
        )
        self.batches = Counter("meterfabric_sink_batches", "Batches committed", registry=self.registry)
        self.bytes = Counter("meterfabric_sink_bytes", "Bytes of records committed", registry=self.registry)
        self.seconds = Histogram(
            "meterfabric_sink_commit_seconds", "Time of one commit", buckets=_SECONDS, registry=self.registry
        )
        self.answers = Counter(
            "meterfabric_sink_answers", "Answers, by kind and reason", ["kind", "reason"], registry=self.registry
        )
        self.equivocations = Counter(
            "meterfabric_sink_equivocations",
            "Pairs of checkpoints of which one log can hold one",
            registry=self.registry,
        )
        self.down = Counter(
            "meterfabric_sink_destination_down", "Times the destination could not be used", registry=self.registry
        )

        self.refused = Counter(
            "meterfabric_sink_destination_refused",
            "Messages that the destination refused for good, not answered with a receipt",
            registry=self.registry,
        )
        self.refused_logs = Gauge(
            "meterfabric_sink_refused_logs", "Logs that the destination refuses just now", registry=self.registry
        )

    def committed(self, updates: Iterable[LogUpdate], seconds: float) -> None:
        """A commit happened."""
        self.seconds.observe(seconds)
        for update in updates:
            for batch in update.batches:
                self.batches.inc()
                self.leaves.labels(batch.kind).inc(batch.size - batch.first)
                self.bytes.inc(len(batch.payload))
            if update.equivocation is not None:
                self.equivocations.inc()

    def answered(self, answer: Answer) -> None:
        """An answer leaves."""
        self.answers.labels(answer.kind, answer.reason).inc()

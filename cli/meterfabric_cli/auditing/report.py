"""An audit as a person reads it, and as a program does."""

from __future__ import annotations

from typing import Any

import msgspec

from meterfabric_cli.auditing.sink_audit import ProducerBooks, SinkAudit
from meterfabric_cli.table import Cell, table
from meterfabric_protocol.books import FATES

_ALWAYS = ("delivered", "expired", "damaged", "lost", "pending", "abandoned")
_RARE = tuple(fate for fate in FATES if fate not in _ALWAYS)
_MEANING = {
    "repeated": "held in an earlier log of the same pod",
    "unowed": "from before this sink joined or after it left",
    "missing": "gone with the sidecar's disk, as its next log says",
    "unexplained": "no notice says why",
}


def as_text(audit: SinkAudit, seconds: float) -> str:
    """A table of the books, then what is wrong, then the verdict in the last line."""
    logs = sum(len(producer.logs) for producer in audit.producers)
    held = sum(log.records for producer in audit.producers for log in producer.logs)
    name = ", ".join(audit.sinks) or "this sink"
    of = f"{_counted(logs, 'log')} of {_counted(len(audit.producers), 'producer')}"
    lines = [f"{name}: {of}, {_counted(held, 'record')} held, {seconds:.1f} s\n\n"]
    if audit.producers:
        lines.append(_books(audit))
        shown = [fate for fate in _RARE if any(producer.records(fate) for producer in audit.producers)]
        lines += [f"{fate}: {_MEANING[fate]}\n" for fate in shown]
        lines.append("\n")
    lines += [f"alert: {alert}\n" for alert in audit.alerts]
    if audit.problems and audit.producers:
        lines.append("the books are as receipts and notices say; what is stored doesn't bear them out:\n")
    lines += [f"wrong: {finding.where}: {finding.problem}\n" for finding in audit.findings]
    if audit.problems > len(audit.findings):
        lines.append(f"wrong: and {audit.problems - len(audit.findings):,} more\n")
    lines.append(
        "whole: every hash, signature and certificate verifies, every record is accounted for\n"
        if audit.whole
        else f"NOT WHOLE: {_counted(audit.problems, 'finding')}\n"
    )
    return "".join(lines)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _books(audit: SinkAudit) -> str:
    fates = [*_ALWAYS, *(fate for fate in _RARE if any(producer.records(fate) for producer in audit.producers))]
    rows: list[list[Cell]] = []
    for producer in audit.producers:
        counts: list[Cell] = [producer.records(fate) for fate in fates]
        rows.append([f"{producer.namespace}/{producer.pod}", len(producer.logs), *counts, producer.erased])
    if len(rows) > 1:
        totals: list[Cell] = [sum(int(row[column]) for row in rows) for column in range(1, len(rows[0]))]
        rows.append(["all", *totals])
    return table(["producer", "logs", *fates, "erased"], rows)


def as_json(audit: SinkAudit, seconds: float) -> str:
    """One object: `whole`, `findings`, `alerts` and the books per producer and log; counts are records."""
    content = {
        "whole": audit.whole,
        "sinks": audit.sinks,
        "seconds": round(seconds, 3),
        "problems": audit.problems,
        "findings": audit.findings,
        "alerts": audit.alerts,
        "producers": [_producer(producer) for producer in audit.producers],
    }
    return msgspec.json.format(msgspec.json.encode(content)).decode() + "\n"


def _producer(producer: ProducerBooks) -> dict[str, Any]:
    books = {each.origin: each for each in producer.books}
    return {
        "namespace": producer.namespace,
        "pod": producer.pod,
        "records": {**{fate: producer.records(fate) for fate in FATES}, "erased": producer.erased},
        "logs": [
            {
                "origin": log.origin,
                "size": log.held.size,
                "heard": log.held.head_size,
                "closed": log.held.closed,
                "receipts": log.receipts,
                "bytes": log.payload_bytes,
                "records": {**books[log.origin].records, "erased": log.erased},
            }
            for log in producer.logs
        ],
    }

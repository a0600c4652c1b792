"""How a sidecar starts: the real shell's own decision, asked in the real shell's own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from meterfabric_sidecar import keys as real
from meterfabric_sidecar.opening import Begin, decide
from meterfabric_sidecar.spool.rows import LogRow

from . import pki
from .disk import KeyFolder, SpoolLog

__all__ = ["Begin", "start_with"]


def start_with(keys: KeyFolder, logs: Sequence[SpoolLog]) -> Begin | None:
    """The new log to begin, None where the newest goes on."""
    head = None if keys.head is None else real.Head(keys.head.origin, keys.head.size, keys.head.root)
    held = None if keys.key is None else real.Held(pki.key(keys.key), head)
    log = next((log for log in logs if head is not None and log.origin == head.origin), None)
    decision = decide(held, head, [_row(log) for log in logs], log.root_at(head.size) if log and head else None)
    return decision if isinstance(decision, Begin) else None


def _row(log: SpoolLog) -> LogRow:
    values = {
        "origin": log.origin,
        "public_key": pki.public(log.key),
        "state": log.state,
        "frontier": log.frontier,
        "dropped_to": log.dropped_to,
        "superseded_at": log.superseded_at,
    }
    # What the decision does not look at is left empty.
    every: dict[str, Any] = {each.name: values.get(each.name) for each in fields(LogRow)}
    return LogRow(**every)

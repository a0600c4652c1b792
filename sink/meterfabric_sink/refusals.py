"""What the destination refuses for good, told to people once: a log line, a metric, the readiness page.

Waiting alone mends none of it (a privilege that is missing, a constraint, a damaged row); a person does. Its producers
ask again with growing pauses, so what is mended goes on by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from meterfabric_sink.meters import Meters

log = logging.getLogger(__name__)

_STANDS = 120.0
"""Seconds that a refusal is told of after it last happened: a producer that is still there asks again within 30."""
_MOST_LOGS = 10_000
_MOST_REASONS = 3
_MOST_TEXT = 500


@dataclass
class _Refusal:
    reason: str
    at: float


class Refusals:
    """Which logs are refused just now, and why."""

    def __init__(self, meters: Meters, clock: Callable[[], float] = time.monotonic) -> None:
        self._meters = meters
        self._clock = clock
        self._standing: dict[str, _Refusal] = {}
        meters.refused_logs.set_function(lambda: len(self._now()))

    def add(self, origin: str, error: Exception) -> None:
        """A message of this log was refused."""
        self._meters.refused.inc()
        reason = " ".join(str(error).split())[:_MOST_TEXT]
        standing = self._now()
        # A cause that is common to many logs is logged with the first of them.
        if all(each.reason != reason for each in standing.values()):
            log.error("the destination refuses what a log brings", extra={"origin": origin, "reason": reason})
        if origin in standing or len(standing) < _MOST_LOGS:
            self._standing[origin] = _Refusal(reason, self._clock())

    def over(self, origins: Iterable[str]) -> None:
        """Batches of these logs were committed."""
        if self._standing:
            for origin in origins:
                if self._standing.pop(origin, None) is not None and not self._standing:
                    log.info("the destination refuses nothing any more")

    def reasons(self) -> list[str]:
        """A sentence for each cause that stands, those of most logs first; empty where nothing is refused."""
        counts: dict[str, list[str]] = {}
        for origin, each in self._now().items():
            counts.setdefault(each.reason, []).append(origin)
        found = sorted(counts.items(), key=lambda each: -len(each[1]))
        told = [f"destination refuses {_named(origins)}: {reason}" for reason, origins in found[:_MOST_REASONS]]
        return told + ([f"and {len(found) - _MOST_REASONS} causes more"] if len(found) > _MOST_REASONS else [])

    def _now(self) -> dict[str, _Refusal]:
        oldest = self._clock() - _STANDS
        self._standing = {origin: each for origin, each in self._standing.items() if each.at >= oldest}
        return self._standing


def _named(origins: list[str]) -> str:
    return origins[0] if len(origins) == 1 else f"{len(origins):,} logs"

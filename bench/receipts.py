"""How long a receipt takes: from a record's sending to the sidecar knowing that the sink holds it, at a steady rate."""

from __future__ import annotations

import bisect
import threading
import time

from bench import fabric, load
from bench.events import Events
from bench.report import quantile, say

RATE = 10_000
PER_MESSAGE = 100
SECONDS = 15
_POLL_SECONDS = 0.004


def measure() -> None:
    """Print the median and the 99th percentile over all messages; the first second is left out."""
    messages = RATE * SECONDS // PER_MESSAGE
    sends: list[tuple[int, float]] = []
    with fabric.running() as ours:
        sender = threading.Thread(
            target=load.paced,
            args=(ours.ingest, Events(PER_MESSAGE, 300, stream=4), messages, RATE),
            kwargs={"sent": lambda records, when: sends.append((records, when))},
        )
        sender.start()
        seen = _watch(ours, messages * PER_MESSAGE)
        sender.join()
    counts = [records for records, _ in seen]
    waits = [seen[bisect.bisect_left(counts, records)][1] - when for records, when in sends[RATE // PER_MESSAGE :]]
    note = f"{RATE:,}/s for {SECONDS} s, watched every {_POLL_SECONDS * 1e3:.0f} ms"
    say("receipt_p50", quantile(waits, 0.50) * 1e3, "ms", note)
    say("receipt_p99", quantile(waits, 0.99) * 1e3, "ms")


def _watch(ours: fabric.Fabric, records: int) -> list[tuple[int, float]]:
    """(Records with receipts, when) each time that the number was seen to have grown, until it is `records`."""
    seen = [(0, time.monotonic())]
    deadline = time.monotonic() + SECONDS + 60
    while seen[-1][0] < records:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{seen[-1][0]} of {records} records had receipts in time")
        now = ours.delivered()
        if now > seen[-1][0]:
            seen.append((now, time.monotonic()))
        time.sleep(_POLL_SECONDS)
    return seen

"""How long a receipt takes: from a record's sending to the sidecar knowing that the sink holds it, at a steady rate."""

from __future__ import annotations

import bisect
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from bench import fabric, load
from bench.events import Events
from bench.report import quantile, say

RATE = 10_000
PER_MESSAGE = 100
SECONDS = 15
_POLL_SECONDS = 0.004
WATCHED = f"watched every {_POLL_SECONDS * 1e3:.0f} ms"


def measure() -> None:
    """Print the median and the 99th percentile over all messages; the first second is left out."""
    with fabric.running() as ours:
        begun = time.monotonic()
        waits = [wait for when, wait in paced(ours, SECONDS) if when >= begun + 1]
    say("receipt_p50", quantile(waits, 0.50) * 1e3, "ms", f"{RATE:,}/s for {SECONDS} s, {WATCHED}")
    say("receipt_p99", quantile(waits, 0.99) * 1e3, "ms")


def paced(ours: fabric.Fabric, seconds: float, over: threading.Event | None = None) -> list[tuple[float, float]]:
    """Send `RATE` records a second for so long, or until `over`; of each message when it was sent (CLOCK_MONOTONIC) and
    how many seconds its receipt took."""
    sends: list[tuple[int, float]] = [(0, time.monotonic())]
    seen = list(sends)
    deadline = seen[0][1] + seconds + 60
    with ThreadPoolExecutor(1, "sender") as threads:
        sending = threads.submit(
            load.paced,
            ours.ingest,
            Events(PER_MESSAGE, 300, stream=4),
            int(RATE * seconds) // PER_MESSAGE,
            RATE,
            sent=lambda records, when: sends.append((records, when)),
            over=over,
        )
        while not sending.done() or seen[-1][0] < sends[-1][0]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{seen[-1][0]} of {sends[-1][0]} records had receipts in time")
            now = ours.delivered()
            if now > seen[-1][0]:
                seen.append((now, time.monotonic()))
            time.sleep(_POLL_SECONDS)
        sending.result()
    counts = [records for records, _ in seen]
    return [(when, seen[bisect.bisect_left(counts, records)][1] - when) for records, when in sends[1:]]

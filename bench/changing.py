"""How long a receipt takes while relays change: the one that carries the log ends, and another takes its place.

What Kubernetes does when a fabric shrinks, is rolled or loses a node: SIGTERM, on which a relay drains; the one started
in its place takes the log back, as a relay that a growing fabric adds takes its share.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench import fabric, receipts
from bench.report import quantile, say

RELAYS = 3
STEADY = 20.0
CHANGES = 8
PATIENCE = 60.0
_POLL_SECONDS = 0.02


def measure() -> None:
    """Print the 99th percentile without and during changes, and how often the one is the other."""
    over = threading.Event()
    with fabric.running(RELAYS) as ours, ThreadPoolExecutor(1, "changer") as threads:
        begun = time.monotonic()
        changing = threads.submit(_change_all, ours, over)
        waits = receipts.paced(ours, STEADY + CHANGES * PATIENCE, over)
        changes = changing.result()
        ours.audit()
    steady = [wait for when, wait in waits if begun + 1 <= when < changes[0][0] - 1]
    during = [wait for when, wait in waits if any(first <= when <= last for first, last in changes)]
    lasted = sum(last - first for first, last in changes) / CHANGES
    say("steady_p99", quantile(steady, 0.99) * 1e3, "ms", f"{receipts.RATE:,}/s, {receipts.WATCHED}")
    say("changing_p50", quantile(during, 0.50) * 1e3, "ms")
    say(
        "changing_p99",
        quantile(during, 0.99) * 1e3,
        "ms",
        f"{CHANGES} changes of a relay of {RELAYS}, {lasted:.1f} s each",
    )
    say("changing_longest", max(during) * 1e3, "ms")
    say("ratio_changing", quantile(during, 0.99) / quantile(steady, 0.99))


def _change_all(ours: fabric.Fabric, over: threading.Event) -> list[tuple[float, float]]:
    """After a time without any, each change as `_change` has it; then it is `over`, whatever came of them."""
    try:
        time.sleep(STEADY)
        return [_change(ours) for _ in range(CHANGES)]
    finally:
        over.set()


def _change(ours: fabric.Fabric) -> tuple[float, float]:
    """When the log's relay was told to end, and when the log was with the one in its place."""
    name = ours.relay()
    before = ours.relay_pid(name)
    begun = time.monotonic()
    os.kill(before, signal.SIGTERM)
    _wait(lambda: ours.relay() not in ("", name))
    _wait(lambda: ours.relay_pid(name) not in (0, before) and ours.relay() == name)
    return begun, time.monotonic()


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("a relay's change wasn't over in time")
        time.sleep(_POLL_SECONDS)

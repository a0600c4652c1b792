"""The meter's loop: scan, compare with the scan before, send, wait for the next turn."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from machine_meter.events import Event, events
from machine_meter.proc import Scan, Units, scan
from machine_meter.usage import between
from meterfabric_client import BackPressure, Meter, MeterError


def main(argv: list[str]) -> int:
    """Run until the duration is over or a signal comes; returns the exit status."""
    options = _options(argv)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    units = Units.of_this_machine()
    try:
        with Meter(options.url, source=f"//{socket.gethostname()}/proc") as meter:
            sent = run(meter, lambda: scan(options.proc, units), units, stop, options.interval, options.duration)
    except MeterError as error:
        print(f"machine-meter: {error}", file=sys.stderr)
        return 1
    print(f"machine-meter: {sent} events accepted", file=sys.stderr)
    return 0


class Recorder(Protocol):
    """What the loop needs of a Meter."""

    def record(self, *, type: str, data: Any, subject: str, id: str, time: datetime) -> None:
        """Take one event; raises BackPressure where there is no room."""


def run(
    meter: Recorder,
    scrape: Callable[[], Scan],
    units: Units,
    stop: threading.Event,
    interval: float,
    duration: float | None,
) -> int:
    """Send usage every `interval` seconds for `duration` seconds, the last one shorter; returns the events sent.

    While the meter has no room no scrape is made. That loses nothing: the next interval is longer.
    """
    before: Scan | None = None
    waiting: deque[Event] = deque()
    sent = turn = 0
    begun = time.monotonic()
    while True:
        last = stop.is_set() or (duration is not None and time.monotonic() - begun >= duration)
        sent += _send(meter, waiting)
        if not waiting:
            try:
                after = scrape()
            except OSError as error:
                print(f"machine-meter: missed a scrape: {error}", file=sys.stderr)
            else:
                if before is not None:
                    waiting.extend(events(before, after, between(before, after, units), units))
                before = after
                sent += _send(meter, waiting)
        if last:
            return sent
        # Turns are counted from the beginning, so that slow scans don't add up; turns that are over are left out.
        turn = max(turn + 1, int((time.monotonic() - begun) / interval) + 1)
        due = begun + turn * interval
        if duration is not None:
            due = min(due, begun + duration)
        stop.wait(max(0.0, due - time.monotonic()))


def _send(meter: Recorder, waiting: deque[Event]) -> int:
    """Hand over what is waiting, in order, as far as there is room; returns how many went."""
    sent = 0
    while waiting:
        event = waiting[0]
        try:
            meter.record(type=event.type, data=event.data, subject=event.subject, id=event.id, time=event.time)
        except BackPressure as error:
            print(f"machine-meter: waiting: {error}", file=sys.stderr)
            break
        waiting.popleft()
        sent += 1
    return sent


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="machine-meter",
        description="Meters this machine: CPU and memory of every user's processes, sent as CloudEvents to a sidecar.",
        epilog="example: python examples/machine-meter --url http://127.0.0.1:8280 --interval 5",
    )
    parser.add_argument("--url", default="http://127.0.0.1:8280", help="the sidecar's ingest (default: %(default)s)")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between scrapes (default: %(default)s)")
    parser.add_argument("--duration", type=float, help="stop after so many seconds (default: when told to)")
    parser.add_argument("--proc", type=Path, default=Path("/proc"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)

"""The meter's loop: scan, compare with the scan before, send, wait for the next turn."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from machine_meter.events import events
from machine_meter.proc import Scan, Units, scan
from machine_meter.usage import between
from meterfabric_client import Meter


def main(argv: list[str]) -> int:
    """Run until the duration is over or a signal comes; returns the exit status."""
    options = _options(argv)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    source = f"//{socket.gethostname()}/proc"
    with Meter(options.url, source=source) as meter:
        sent = run(meter, options.proc, Units.of_this_machine(), stop, options.interval, options.duration)
    print(f"machine-meter: {sent} events accepted", file=sys.stderr)
    return 0


def run(meter: Meter, root: Path, units: Units, stop: threading.Event, interval: float, duration: float | None) -> int:
    """Send usage every `interval` seconds for `duration` seconds, the last one shorter; returns the events sent."""
    before: Scan | None = None
    sent = 0
    begun = time.monotonic()
    turn = 0
    while True:
        last = stop.is_set() or (duration is not None and time.monotonic() - begun >= duration)
        try:
            after = scan(root, units)
        except OSError as error:
            print(f"machine-meter: missed a scrape: {error}", file=sys.stderr)
        else:
            if before is not None:
                for event in events(before, after, between(before, after, units), units):
                    meter.record(id=event.id, type=event.type, subject=event.subject, time=event.time, data=event.data)
                    sent += 1
            before = after
        if last:
            return sent
        # Turns are counted from the beginning, so that slow scans don't add up; turns that are over are left out.
        turn = max(turn + 1, int((time.monotonic() - begun) / interval) + 1)
        due = begun + turn * interval
        if duration is not None:
            due = min(due, begun + duration)
        stop.wait(max(0.0, due - time.monotonic()))


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

"""`meterfabric send`: files of events into a sidecar."""

from __future__ import annotations

import argparse
import contextlib
import os
import time

from meterfabric_cli.arguments import EXIT_NOT, EXIT_WHOLE, Subparsers, command, duration
from meterfabric_cli.errors import CommandError
from meterfabric_cli.sending.lines import STDIN, Line, read_lines
from meterfabric_cli.sending.progress import watching
from meterfabric_cli.sending.sender import Counts, GaveUp, Sender
from meterfabric_client.over_http import HttpTransport
from meterfabric_client.over_zeromq import ZeromqTransport
from meterfabric_client.transport import Address, Transport

_BATCH_RECORDS = 1_000
_BATCH_BYTES = 1 << 20
_LINE_BYTES = _BATCH_BYTES - 1
_REQUEST_SECONDS = 10.0
_TOLD = 20
"""Refused lines that are told one by one; the rest is counted."""


def add(commands: Subparsers) -> None:
    """Register the command."""
    parser = command(
        commands,
        "send",
        "send CloudEvents, one JSON object a line, and wait until each is durable",
        "meterfabric send --url http://127.0.0.1:8280 usage.ndjson\n"
        "  zcat usage.ndjson.gz | meterfabric send --url tcp://127.0.0.1:8281 -",
        run,
    )
    parser.add_argument("--url", required=True, help="the sidecar: http://HOST:PORT or tcp://HOST:PORT (ZeroMQ)")
    parser.add_argument(
        "--rate", type=_rate, metavar="N", help="records a second at most (default: as many as it takes)"
    )
    parser.add_argument(
        "--timeout",
        type=duration,
        default="60s",
        metavar="DURATION",
        help="give up when nothing was answered for so long (default: %(default)s)",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="NDJSON; - is standard input")


def run(options: argparse.Namespace) -> int:
    """Send; 1 where something was refused or stayed unanswered."""
    for name in options.files:
        if name != STDIN and not os.access(name, os.R_OK):
            raise CommandError(f"{name}: can't be read")
    transport = _transport(options.url)
    told, gave_up = 0, False
    begun = time.monotonic()
    with contextlib.closing(transport), watching(_total(options.files)) as watcher:

        def refused(line: Line, reason: str) -> None:
            nonlocal told
            told += 1
            if told <= _TOLD:
                watcher.say(f"refused: {line.file}:{line.number}: {reason}")

        sender = Sender(
            transport,
            read_lines(options.files, _LINE_BYTES, watcher.read),
            batch_records=_BATCH_RECORDS,
            batch_bytes=_BATCH_BYTES,
            rate=options.rate,
            patience=options.timeout,
            on_refused=refused,
            on_progress=lambda counts: watcher.answered(counts.accepted, counts.refused),
        )
        try:
            sender.run()
        except GaveUp as error:
            gave_up = True
            watcher.say(f"gave up after {options.timeout:g} s without an answer from {options.url}: {error}")
        except CommandError:
            # What was sent before is durable, and whoever mends the file needs to know how much that is.
            watcher.say(_summary(sender.counts, time.monotonic() - begun))
            raise
    print(_summary(sender.counts, time.monotonic() - begun) + ("; what follows was not sent" if gave_up else ""))
    return EXIT_NOT if sender.counts.refused or gave_up else EXIT_WHOLE


def _summary(counts: Counts, seconds: float) -> str:
    rate = counts.accepted / seconds if seconds else 0.0
    text = f"{counts.accepted:,} records accepted in {seconds:.1f} s, {rate:,.0f} a second; {counts.refused:,} refused"
    return text + (f"; {counts.unanswered:,} unanswered" if counts.unanswered else "")


def _transport(url: str) -> Transport:
    try:
        address = Address.parse(url)
    except ValueError as error:
        raise CommandError(f"--url {error}") from error
    if address.scheme == "http":
        return HttpTransport(address, _REQUEST_SECONDS, _BATCH_BYTES)
    return ZeromqTransport(address, _REQUEST_SECONDS, _BATCH_BYTES)


def _total(files: list[str]) -> int | None:
    """Bytes of all files, None where one is a stream."""
    total = 0
    for name in files:
        try:
            total += os.stat(name).st_size
        except OSError:
            return None
        if name == STDIN:
            return None
    return total


def _rate(text: str) -> float:
    with contextlib.suppress(ValueError):
        if (rate := float(text)) > 0:
            return rate
    raise argparse.ArgumentTypeError(f"{text!r} is no number of records above 0")

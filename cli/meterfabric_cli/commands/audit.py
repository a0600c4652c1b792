"""`meterfabric audit`: is everything that a sink holds what the producers sent, and where is the rest?"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from meterfabric_cli.arguments import EXIT_NOT, EXIT_WHOLE, Subparsers, add_audit, add_sink, add_trust, command
from meterfabric_cli.auditing.log_audit import LogAudit
from meterfabric_cli.auditing.report import as_json, as_text
from meterfabric_cli.auditing.sink_audit import audit
from meterfabric_cli.inputs import read_trust, sink

_SHOW_EVERY = 0.2


def add(commands: Subparsers) -> None:
    """Register the command."""
    parser = command(
        commands,
        "audit",
        "verify every log in a sink from its stored bytes and print the books per producer",
        "meterfabric audit --sink sqlite:DIR/sinks/billing/records.db --trust DIR/trust.pem",
        run,
    )
    add_sink(parser)
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")
    add_audit(parser)


def run(options: argparse.Namespace) -> int:
    """Audit; 0 only where everything is whole."""
    trust = read_trust(Path(options.trust))
    now = time.time()

    def is_gone(log: LogAudit) -> bool:
        return bool(log.last_time) and now - log.last_time > options.abandoned_after

    begun = time.perf_counter()
    progress = _shown() if sys.stderr.isatty() else lambda leaves: None
    with sink(options.sink) as evidence:
        found = audit(evidence, trust, columns=options.columns, is_gone=is_gone, progress=progress)
    seconds = time.perf_counter() - begun
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    sys.stdout.write(as_json(found, seconds) if options.json else as_text(found, seconds))
    return EXIT_WHOLE if found.whole else EXIT_NOT


def _shown() -> Callable[[int], None]:
    verified, shown = 0, time.monotonic()

    def progress(leaves: int) -> None:
        nonlocal verified, shown
        verified += leaves
        if time.monotonic() - shown > _SHOW_EVERY:
            shown = time.monotonic()
            print(f"\r{verified:,} leaves verified", end="", file=sys.stderr, flush=True)

    return progress

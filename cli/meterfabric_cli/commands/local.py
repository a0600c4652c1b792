"""`meterfabric local`: a whole fabric on this machine, from the YAML that a cluster would take."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from meterfabric_cli.arguments import EXIT_WHOLE, Subparsers, command
from meterfabric_cli.local_fabric import ports
from meterfabric_cli.local_fabric.layout import Layout
from meterfabric_cli.local_fabric.live_line import LiveLine
from meterfabric_cli.local_fabric.objects import Objects, read_objects
from meterfabric_cli.local_fabric.running import LocalFabric
from meterfabric_cli.local_fabric.state import take_lock


def add(commands: Subparsers) -> None:
    """Register the command."""
    parser = command(
        commands,
        "local",
        "run a whole fabric on this machine: keys, sidecar, relays and sinks, restarted when they crash",
        "meterfabric local --fabric examples/fabric.yaml --dir /tmp/fabric",
        run,
    )
    parser.add_argument(
        "--fabric", required=True, type=Path, metavar="FILE", help="YAML with a MeteringFabric and its MeteringSinks"
    )
    parser.add_argument(
        "--dir", required=True, type=Path, metavar="DIR", help="where everything is kept; a second start goes on there"
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8280,
        help="the sidecar's for HTTP, the next one is ZeroMQ's; 0: any (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Run until Ctrl-C or SIGTERM."""
    objects = read_objects(options.fabric)
    layout = Layout(Path(os.path.abspath(options.dir)))
    lock = take_lock(layout)
    try:
        asyncio.run(_run(layout, objects, ports.choose(options.port)))
    finally:
        os.close(lock)
    return EXIT_WHOLE


async def _run(layout: Layout, objects: Objects, port: int) -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    await LocalFabric(layout, objects, port, LiveLine(sys.stdout)).run(stop, hurry)


def _port(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 <= (port := int(text)) <= 65_534:
            return port
    raise argparse.ArgumentTypeError(f"{text!r} is no port from 0 to 65534")

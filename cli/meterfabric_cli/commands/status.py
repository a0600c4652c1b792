"""`meterfabric status`: what a local fabric does just now."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from meterfabric_cli import pages
from meterfabric_cli.arguments import EXIT_NOT, EXIT_WHOLE, Subparsers, command
from meterfabric_cli.local_fabric.layout import Layout
from meterfabric_cli.local_fabric.state import ProcessState, State, is_running, read_state
from meterfabric_cli.table import Cell, table

_NOT_READY = "NOT READY"


def add(commands: Subparsers) -> None:
    """Register the command."""
    parser = command(
        commands,
        "status",
        "show what a local fabric runs, how much was accepted and how far each sink is",
        "meterfabric status --dir /tmp/fabric",
        run,
    )
    parser.add_argument("--dir", required=True, type=Path, metavar="DIR", help="the folder that `local` was given")
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Show it; 0 where everything is up, 1 where something isn't."""
    layout = Layout(Path(os.path.abspath(options.dir)))
    state = read_state(layout.state)
    running = is_running(layout)
    sidecar = _sidecar(state) if running else None
    health = {each.name: _health(each) if running else "stopped" for each in state.processes}
    if options.json:
        content = {"running": running, **msgspec.to_builtins(state), "health": health, "sidecar": sidecar}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(content)).decode() + "\n")
    else:
        sys.stdout.write(_as_text(state, running, health, sidecar))
    return EXIT_WHOLE if running and set(health.values()) == {pages.READY} else EXIT_NOT


def _sidecar(state: State) -> dict[str, Any] | None:
    for each in state.processes:
        if each.component == "sidecar" and each.http_port:
            found = pages.fetch(each.http_port, "/status")
            return found[1] if found is not None and isinstance(found[1], dict) else None
    return None


def _health(process: ProcessState) -> str:
    """What the process says of itself."""
    if not process.pid:
        return "ended"
    return pages.health(process.http_port) if process.http_port else "starting"


def _as_text(state: State, running: bool, health: dict[str, str], sidecar: dict[str, Any] | None) -> str:
    if not running:
        sinks = "".join(f"  {sink.name}: {sink.url}\n" for sink in state.sinks)
        return f"fabric {state.fabric} is stopped; its sinks can be audited:\n{sinks}"
    now = time.time()
    rows: list[list[Cell]] = [
        [each.name, str(each.pid or "-"), _word(health[each.name]), _age(now - each.since), each.restarts]
        for each in state.processes
    ]
    text = f"fabric {state.fabric}, send to {state.http} or {state.zeromq}\n\n"
    text += table(["process", "pid", "health", "up", "restarts"], rows)
    told = [f"{name}: {said}\n" for name, said in health.items() if _word(said) != said]
    text += "\n" + "".join(told) if told else ""
    if sidecar is not None:
        spool = sidecar["spool"]
        share = 100 * spool["used"] / spool["quota"]
        text += (
            f"\naccepted {sidecar['accepted']:,} records since the sidecar's start; spool {share:.1f} % of its quota\n"
        )
        if sidecar.get("enrolment"):
            text += f"no certificate: {sidecar['enrolment']}\n"
        text += "\n" + table(["sink", "delivered", "pending", "oldest", "expired", "at"], _sinks(state, sidecar))
    return text


def _word(health: str) -> str:
    """What fits into a column; a reason of several words is told below it."""
    return health if len(health) <= len(_NOT_READY) else _NOT_READY


def _sinks(state: State, sidecar: dict[str, Any]) -> list[list[Cell]]:
    urls = {sink.name: sink.url for sink in state.sinks}
    return [
        [
            name,
            int(sink["delivered"]),
            int(sink["pending"]["records"]),
            _age(sink["pending"]["oldest_seconds"]),
            int(sink["expired"]),
            urls.get(name, ""),
        ]
        for name, sink in sidecar["sinks"].items()
    ]


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"

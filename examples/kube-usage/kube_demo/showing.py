"""What there is to see: usage arrives, a relay dies, nothing is missing, and all of it can be proved."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from kube_demo import seen
from kube_demo.installing import AGENTS, EXAMPLES, METERING, pods, short
from kube_demo.terminal import Commands, DemoFailed

ARRIVED_SECONDS = 180
PSQL = ("kubectl", "exec", "--namespace", METERING, "deployment/database", "--", "psql")
USAGE = "FROM meterfabric.records WHERE type = 'io.meterfabric.example.pod.usage'"
COUNT = f"SELECT count(*) {USAGE}"
"""Records, of all agents and times."""
LATEST = f"SELECT source, id {USAGE} AND subject = 'shop/checkout' ORDER BY time DESC LIMIT 1"
_PAGES = 8290


def show(commands: Commands, folder: Path) -> None:
    """Show it. Raises DemoFailed, also where the books aren't whole or the proof doesn't hold."""
    commands.say("Usage arrives: each pod's, every few seconds, as its node's kubelet tells it")
    _await_more(commands, 0, "usage in PostgreSQL")
    kill_a_relay(commands)
    commands.say("Does anything wait? Every sidecar is asked")
    commands.run("kubectl", "meterfabric", "producers", printed=True)
    commands.say(
        "Did every record arrive once, unaltered, from whom it says? The auditor's answer, from the sink's bytes"
    )
    commands.run("kubectl", "meterfabric", "audit", f"{METERING}/billing", printed=True)
    commands.say("A proof of one of them, for whoever doubts it, verified on this machine")
    source, _, event = _rows(commands, LATEST).partition("|")
    commands.run(
        *("kubectl", "meterfabric", "prove", f"{METERING}/billing", "--source", source, "--id", event),
        *("--out", short(folder / "proof")),
        printed=True,
    )
    commands.say("The bill, from PostgreSQL")
    query = (EXAMPLES / "kube-usage" / "usage.sql").read_text()
    print(
        commands.run(
            *PSQL, "--command", query, spoken=f'{" ".join(PSQL)} --command "$(cat examples/kube-usage/usage.sql)"'
        )
    )


def kill_a_relay(commands: Commands) -> None:
    """Delete the relay that an agent's records go through, without time to hand anything over, and see them go on."""
    agent = pods(commands, AGENTS)[0]["metadata"]["name"]
    relays = f"meterfabric.io/fabric={METERING}.main,app.kubernetes.io/component=relay"

    def through() -> str | None:
        address = seen.relay_in_use(_status(commands, agent))
        return seen.pod_at(pods(commands, METERING, relays), address) if address else None

    used: list[str] = []

    def known() -> tuple[bool, str]:
        used[:] = [name for name in (through(),) if name]
        return bool(used), "no relay is in use"

    commands.wait("a relay", ARRIVED_SECONDS, known)
    before = _count(commands)
    commands.say(f"A relay dies: {used[0]}, the one that the records go through")
    commands.run(
        "kubectl", "delete", "pod", "--namespace", METERING, used[0], "--grace-period=0", "--force", quiet=True
    )
    begun = time.monotonic()

    def moved() -> tuple[bool, str]:
        address = seen.relay_in_use(_status(commands, agent))
        name = seen.pod_at(pods(commands, METERING, relays), address) if address else None
        used.append(name or used[-1])
        return name not in (None, used[0]), "not yet"

    commands.wait("another way", ARRIVED_SECONDS, moved)
    commands.tell(f"{time.monotonic() - begun:.1f} s later the records go through {used[-1]}")
    _await_more(commands, before, "usage through it")


def _await_more(commands: Commands, before: int, what: str) -> None:
    now = [before]

    def more() -> tuple[bool, str]:
        now[0] = _count(commands)
        return now[0] > before, f"{now[0]} records"

    commands.wait(what, ARRIVED_SECONDS, more)
    commands.tell(f"{now[0]} records are in PostgreSQL" + f", {now[0] - before} of them since" * bool(before))


def _count(commands: Commands) -> int:
    said = _rows(commands, "SELECT to_regclass('meterfabric.records')")
    return int(_rows(commands, COUNT)) if said else 0


def _rows(commands: Commands, query: str) -> str:
    return commands.ask(*PSQL, "--tuples-only", "--no-align", "--command", query).strip()


def _status(commands: Commands, pod: str) -> Any:
    path = f"/api/v1/namespaces/{AGENTS}/pods/{pod}:{_PAGES}/proxy/status"
    try:
        return json.loads(commands.ask("kubectl", "get", "--raw", path))
    except DemoFailed:
        # A sidecar that just starts isn't asked in vain for long.
        return {"logs": []}
